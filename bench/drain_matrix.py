"""``python -m bench drain-matrix``: platform x backlog x sink, real processes, and what came of each as a Markdown table."""

from __future__ import annotations

import argparse
import asyncio
import sys

from bench.drains.cell import SINKS, Result, run_cell
from bench.drains.platforms import PLATFORMS

MB = 1_000_000
HEAD = (
    "| platform | MB | sink | written | arrived | fallback | left | errors | last 64 KiB | outcome | exit | first word ms "
    "| first request ms | after services ms | took s | audit | wrong |"
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench drain-matrix", description=__doc__)
    parser.add_argument("--platform", action="append", choices=list(PLATFORMS))
    parser.add_argument("--backlog", action="append", type=float, metavar="MB", help="default: 0, 50 and 300")
    parser.add_argument("--sink", action="append", choices=SINKS)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="show what the sidecar said where something is wrong")
    chosen = parser.parse_args(arguments)
    print(HEAD, "|---" * (HEAD.count("|") - 1) + "|", sep="\n", flush=True)
    wrong = 0
    for name in chosen.platform or PLATFORMS:
        if reason := PLATFORMS[name].why_not():
            print(f"| {name} | | {reason} " + "| " * 14 + "|", flush=True)
            continue
        for backlog in chosen.backlog or (0, 50, 300):
            for sink in chosen.sink or SINKS:
                for _ in range(chosen.runs):
                    result = asyncio.run(run_cell(name, int(backlog * MB), sink))
                    print(row(result), flush=True)
                    wrong += bool(result.wrong)
                    if result.wrong and chosen.verbose:
                        print(result.said, file=sys.stderr)
    return 1 if wrong else 0


def row(one: Result) -> str:
    """One line of the table."""
    cells = [
        one.platform,
        f"{one.backlog / MB:g}",
        one.sink,
        f"{one.written:,}",
        f"{one.arrived:,}" + (f" (+{one.twice} twice)" if one.twice else ""),
        f"{one.in_fallback:,}",
        f"{one.left:,}",
        "{}/{}".format(*one.errors),
        "{}/{}".format(*one.last),
        one.outcome or "none",
        "killed" if one.ending.killed else str(one.ending.status),
        _ms(one.first_word),
        _ms(one.first_request),
        _ms(one.after_services),
        f"{one.took:.1f}",
        one.audit + (f"; {one.ending.note}" if one.ending.note else ""),
        "; ".join(one.wrong),
    ]
    return f"| {' | '.join(cells)} |"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f}"
