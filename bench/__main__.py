"""``python -m bench [--runs N] [--size MB] [CASE ...]``: run cases, print a Markdown table with the median and the spread.

``python -m bench drain-matrix``, ``fleet-page``, ``fleet-series`` and ``verdict`` are tables of their own:
`bench.drain_matrix`, `bench.fleet_page`, `bench.fleet_series`, `bench.verdict`.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import platform
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from bench import drain_matrix, fleet_page, fleet_series, verdict
from bench.cases import CASES


def main() -> None:
    if sys.argv[1:2] == ["drain-matrix"]:
        sys.exit(drain_matrix.main(sys.argv[2:]))
    if sys.argv[1:2] == ["fleet-page"]:
        sys.exit(fleet_page.main(sys.argv[2:]))
    if sys.argv[1:2] == ["fleet-series"]:
        sys.exit(fleet_series.main(sys.argv[2:]))
    if sys.argv[1:2] == ["verdict"]:
        sys.exit(verdict.main(sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("cases", nargs="*", default=["*"], help="names or patterns; all by default")
    parser.add_argument("--runs", type=int, default=3, help="runs of each case (default 3)")
    parser.add_argument("--size", type=int, default=300, help="backlog in MB (default 300)")
    arguments = parser.parse_args()
    chosen = [name for name in CASES if any(fnmatch.fnmatch(name, pattern) for pattern in arguments.cases)]
    print(f"{machine()}; {arguments.runs} runs; median (lowest to highest)\n")
    print("| case | figure | median | lowest to highest | unit |\n|---|---|---|---|---|")
    for name in chosen:
        values: dict[tuple[str, str], list[float]] = defaultdict(list)
        for _ in range(arguments.runs):
            for row in CASES[name](arguments.size * 1_000_000):
                values[(row.figure, row.unit)].append(row.value)
        for (figure, unit), got in values.items():
            print(
                f"| {name} | {figure} | {number(statistics.median(got))} | {number(min(got))} to {number(max(got))} | {unit} |"
            )
        sys.stdout.flush()


def machine() -> str:
    """What this was measured on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "?",
    )
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, Python {platform.python_version()}"
    )


def number(value: float) -> str:
    """Three digits that matter."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


if __name__ == "__main__":
    main()
