"""What ``shipper dashboards preview`` makes of its options: boards, times, values of variables, and lines from an archive."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from shipper.cli.archives import readable_archive
from shipper.contracts import Signal, StreamKind
from shipper.dashboards.preview.board import Records
from shipper.dashboards.preview.variables import Window
from shipper.fleet.archive import Archive, Damage
from shipper.fleet.lines import line
from shipper.fleet.records import Selection, pieces, select
from shipper.otlp import decode
from shipper.otlp.decode import Record
from shipper.sources.file.severity import tells_of_errors

MOST_LINES = 50
ERROR = 17  # the severity number of ERROR, https://opentelemetry.io/docs/specs/otel/logs/data-model/
SPAN_FAILED = 2  # a span's status ERROR
_RELATIVE = re.compile(r"^now-(\d+)([smhdw])$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def chosen(boards: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[Mapping[str, Any]]:
    """The boards with these names, all without any; ``triage`` is short for ``shipper-triage``. Raises click.UsageError."""
    known = {str(board["uid"]): board for board in boards.values()}
    wanted = [name if name in known else f"shipper-{name}" for name in names]
    for name in wanted:
        if name not in known:
            raise click.UsageError(f"no board {name.removeprefix('shipper-')!r}; there are {', '.join(known)}")
    return [known[name] for name in wanted] if wanted else list(known.values())


def given_values(given: Sequence[str], boards: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """``--var NAME=VALUE`` as a dict. Raises click.UsageError, also for a name that no board has."""
    known = sorted({str(variable["name"]) for board in boards for variable in board["templating"]["list"]})
    values: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise click.UsageError(f"--var {one!r} is not NAME=VALUE")
        if name not in known:
            raise click.UsageError(f"there is no variable {name!r}; these boards have {', '.join(known)}")
        values[name] = value
    return values


def windows(since: int | None, until: int | None) -> Callable[[Mapping[str, Any]], Window]:
    """The time to show of a board: from its own default where none is given. Raises click.UsageError."""
    end = time.time() if until is None else until / 1e9

    def window(board: Mapping[str, Any]) -> Window:
        match = _RELATIVE.match(str((board.get("time") or {}).get("from", "")))
        usual = int(match[1]) * _SECONDS[match[2]] if match else 7200
        start = end - usual if since is None else since / 1e9
        if start >= end:
            raise click.UsageError("--from is not before --to")
        return Window(start, end)

    return window


def records_of(archive: str) -> Records:
    """The newest failing log records, or spans, in an archive, by a board's service, environment and generation if it has one."""
    with readable_archive():
        archived = Archive.open(archive)
        index = archived.index()
    known: dict[tuple[str, ...], Sequence[str]] = {}

    def records(values: Mapping[str, str], window: Window, source: str) -> Sequence[str]:
        signal = Signal.TRACES if source == "tempo" else Signal.LOGS
        named = tuple(values.get(name, "") for name in ("service", "env", "generation"))
        if (signal, *named) not in known:
            known[signal, *named] = read(signal, named, window)
        return known[signal, *named]

    def read(signal: Signal, named: tuple[str, ...], window: Window) -> Sequence[str]:
        service, env, generation = named
        wanted = Selection(
            service=service,
            environment=env,
            generation=generation,
            since_ns=round(window.start * 1e9),
            until_ns=round(window.end * 1e9),
            signal=signal,
        )
        newest: list[tuple[int, str]] = []
        with readable_archive():
            for piece in pieces(archived, index, wanted, kinds=[StreamKind.DATA], damaged=_passed_over):
                payload = select(signal, piece.payload, wanted, piece.entry.life)
                found = decode.records(signal, payload) if payload else iter(())
                newest += [(one.time_ns or one.observed_ns, line(one)) for one in found if _failed(one)]
                newest = sorted(newest, reverse=True)[:MOST_LINES]
        return [text for _, text in newest]

    return records


def _passed_over(_: Damage) -> None:
    """What is damaged shows no line here; `shipper fleet` and `shipper audit` tell of it."""


def _failed(record: Record) -> bool:
    """By its severity or status; a line that nobody has given a severity by its words."""
    if record.severity or record.status:
        return record.severity >= ERROR or record.status == SPAN_FAILED
    return isinstance(record.body, str) and tells_of_errors(record.body.encode(errors="replace"))
