"""What fields mean: time, severity, trace and message are taken out of them, the others become attributes if they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, TypeVar

from shipper.otlp.wire import text
from shipper.shape import context, severity
from shipper.shape.attributes import column
from shipper.shape.columns import ABSENT, Found, Table, scatter
from shipper.shape.names import DOUBTFUL, Role, roles
from shipper.shape.severity import NONE, Levels
from shipper.shape.timestamps import TimeReader

T = TypeVar("T")
_NAMES = 64  # of severities, in one log: it could write one name in ever new ways


class Recogniser:
    """Turns fields into what a LogRecord has a place for. ``fields``: those that become attributes, None for all."""

    def __init__(self, times: TimeReader, fields: Sequence[str] | None, *, message_body: bool) -> None:
        self._times = times
        self._fields = None if fields is None else frozenset(fields)
        self._message_body = message_body
        self._levels: dict[str, Levels] = {}

    def table(self, table: Table, found: Found, observed_ns: int) -> None:
        """Put what ``table`` says into ``found``."""
        meaning = roles(table.columns)
        self._time(table, meaning.get("time", []), found, observed_ns)
        self._severity(table, meaning.get("severity", []), found)
        _context(table, meaning, found)
        if self._message_body:
            messages = _fill(table, meaning.get("message", []), b"", lambda _, values: list(map(_message, values)))
            for row, message in compress(zip(table.rows, messages, strict=False), messages):
                found.bodies[row] = message
        self._attributes(table, found)

    def plain(self, rows: Sequence[int], texts: Sequence[bytes], found: Found, observed_ns: int) -> None:
        """Put what plain texts say by themselves into ``found``."""
        if len(rows) < len(texts):
            texts = [texts[row] for row in rows]
        scatter(found.severities, rows, severity.in_plain(texts))
        times = self._times.leading(texts, observed_ns)
        for row, at in compress(zip(rows, times, strict=True), times):
            found.times[row] = at
        for index, trace, encoded in context.in_plain(texts):
            found.traces[rows[index]], found.contexts[rows[index]] = trace, encoded

    def _time(self, table: Table, names: Sequence[str], found: Found, observed_ns: int) -> None:
        wrong: set[int] = set()

        def read(name: str, values: Sequence[Any]) -> list[int]:
            times = self._times.column(values, observed_ns)
            if 0 in times and name not in DOUBTFUL:
                wrong.update(i for i, at in enumerate(times) if not at and values[i] not in (ABSENT, None))
            return times

        times = _fill(table, names, 0, read)
        found.fail("time", sum(not times[i] for i in wrong))
        if 0 in times and any(found.times):  # what carries the lines may know better than nothing
            times = [at or found.times[row] for at, row in zip(times, table.rows, strict=True)]
        if times:
            scatter(found.times, table.rows, times)

    def _severity(self, table: Table, names: Sequence[str], found: Found) -> None:
        def read(name: str, values: Sequence[Any]) -> list[severity.Severity]:
            levels = self._levels.get(name)
            if levels is None:
                if len(self._levels) >= _NAMES:
                    self._levels.clear()
                levels = self._levels[name] = Levels(name)
            return levels.column(values)

        severities = _fill(table, names, NONE, read)
        if severities:
            scatter(found.severities, table.rows, severities)

    def _attributes(self, table: Table, found: Found) -> None:
        names = [name for name in sorted(table.columns) if self._wanted(name)]
        if names:
            columns = [column(name, table.columns[name]) for name in names]
            scatter(found.attributes, table.rows, list(map(b"".join, zip(*columns, strict=True))))

    def _wanted(self, name: str) -> bool:
        return self._fields is None or name in self._fields


def _fill(table: Table, names: Sequence[str], nothing: T, read: Callable[[str, list[Any]], list[T]]) -> list[T]:
    """What the columns called ``names`` say, the first that says something for each text; empty where there is no column.

    ``read`` gives what each value says, ``nothing`` where that is nothing. What was used is taken out of ``table``, by text,
    so that it does not matter what the columns say for other texts.
    """
    known: list[T] = []
    for name in names:
        said = read(name, table.columns[name])
        if not known:
            if nothing not in said:
                table.use(name, ())
                return said
            table.use(name, [one != nothing for one in said])
            known = said
        else:
            table.use(name, [a == nothing != b for a, b in zip(known, said, strict=True)])
            known = [b if a == nothing else a for a, b in zip(known, said, strict=True)]
            if nothing not in known:
                break
    return known


def _context(table: Table, meaning: dict[Role, list[str]], found: Found) -> None:
    """Trace, span and flags; a traceparent for texts that do not name their trace by itself."""
    names, parents = meaning.get("trace", []), meaning.get("parent", [])
    if not names and not parents:
        return
    traces = _fill(table, names, b"", lambda _, values: context.ids(values, context.TRACE_BYTES)) or [b""] * len(
        table.rows
    )

    def spans_of(_: str, values: Sequence[Any]) -> list[bytes]:
        spans = context.ids(values, context.SPAN_BYTES)
        return spans if all(traces) else [span if trace else b"" for span, trace in zip(spans, traces, strict=True)]

    def flags_of(_: str, values: Sequence[Any]) -> list[bytes]:
        return [context.flags(value) if trace else b"" for value, trace in zip(values, traces, strict=True)]

    def parents_of(_: str, values: Sequence[Any]) -> list[tuple[bytes, bytes] | None]:
        read = context.parents(values)
        return [None if trace else parent for parent, trace in zip(read, traces, strict=True)]

    contexts = context.encoded(traces, _fill(table, meaning.get("span", []), b"", spans_of) or [b""] * len(traces))
    flags = _fill(table, meaning.get("flags", []), b"", flags_of)
    if flags:
        contexts = list(map(bytes.__add__, contexts, flags))
    for index, parent in enumerate(_fill(table, parents, None, parents_of)):
        if parent is not None:
            traces[index], contexts[index] = parent
    scatter(found.traces, table.rows, traces)
    scatter(found.contexts, table.rows, contexts)


def _message(value: Any) -> bytes:
    return value if isinstance(value, bytes) else text(value) if isinstance(value, str) else b""
