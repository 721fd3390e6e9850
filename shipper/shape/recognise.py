"""What fields mean: time, severity, trace and message are taken out of them, the others become attributes if they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from shipper.otlp.wire import text
from shipper.shape import context, severity
from shipper.shape.attributes import column
from shipper.shape.columns import ABSENT, Found, Table, scatter
from shipper.shape.names import DOUBTFUL, Role, roles
from shipper.shape.severity import NONE, Levels
from shipper.shape.timestamps import TimeReader


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
        self._context(table, meaning, found)
        if self._message_body:
            self._message(table, meaning.get("message", []), found)
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
        known: list[int] = []
        wrong: set[int] = set()
        for name in names:
            values = table.columns[name]
            times = self._times.column(values, observed_ns)
            if 0 in times and name not in DOUBTFUL:
                wrong.update(i for i, at in enumerate(times) if not at and values[i] is not ABSENT)
            table.use(name, [at > 0 for at in times] if 0 in times else [True])
            known = [one or other for one, other in zip(known, times, strict=True)] if known else times
            if 0 not in known:
                break
        if not known:
            return
        found.fail("time", sum(not known[i] for i in wrong))
        if 0 in known and any(found.times):  # what carries the lines may know better than nothing
            known = [at or found.times[row] for at, row in zip(known, table.rows, strict=True)]
        scatter(found.times, table.rows, known)

    def _severity(self, table: Table, names: Sequence[str], found: Found) -> None:
        known: list[severity.Severity] = []
        for name in names:
            levels = self._levels.get(name)
            if levels is None:
                levels = self._levels[name] = Levels(name)
            severities = levels.column(table.columns[name])
            table.use(name, [one is not NONE for one in severities] if NONE in severities else [True])
            known = [b if a is NONE else a for a, b in zip(known, severities, strict=True)] if known else severities
            if NONE not in known:
                break
        if known:
            scatter(found.severities, table.rows, known)

    def _context(self, table: Table, meaning: dict[Role, list[str]], found: Found) -> None:
        traces: list[bytes] = []
        contexts: list[bytes] = []
        if (name := next(iter(meaning.get("trace", [])), None)) is not None:
            traces = context.ids(table.columns[name], context.TRACE_BYTES)
            spans = self._spans(table, meaning, traces)
            contexts = self._flags(table, meaning, context.encoded(traces, spans))
            table.use(name, list(map(bool, traces)))
        elif (name := next(iter(meaning.get("parent", [])), None)) is not None:
            pairs = context.parents(table.columns[name])
            traces, contexts = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            table.use(name, list(map(bool, traces)))
        if traces:
            scatter(found.traces, table.rows, traces)
            scatter(found.contexts, table.rows, contexts)

    def _spans(self, table: Table, meaning: dict[Role, list[str]], traces: Sequence[bytes]) -> list[bytes]:
        name = next(iter(meaning.get("span", [])), None)
        if name is None:
            return [b""] * len(traces)
        spans = context.ids(table.columns[name], context.SPAN_BYTES)
        table.use(name, [bool(span and trace) for span, trace in zip(spans, traces, strict=True)])
        return spans

    def _flags(self, table: Table, meaning: dict[Role, list[str]], contexts: list[bytes]) -> list[bytes]:
        name = next(iter(meaning.get("flags", [])), None)
        if name is None:
            return contexts
        flags = [context.flags(value) if one else b"" for value, one in zip(table.columns[name], contexts, strict=True)]
        table.use(name, list(map(bool, flags)))
        return [one + more for one, more in zip(contexts, flags, strict=True)]

    def _message(self, table: Table, names: Sequence[str], found: Found) -> None:
        wanting = [True] * len(table.rows)
        for name in names:
            values = table.columns[name]
            used = [want and isinstance(value, str | bytes) for want, value in zip(wanting, values, strict=True)]
            for row, value in compress(zip(table.rows, values, strict=True), used):
                found.bodies[row] = value if isinstance(value, bytes) else text(value)
            wanting = [want and not use for want, use in zip(wanting, used, strict=True)]
            table.use(name, used)
            if not any(wanting):
                return

    def _attributes(self, table: Table, found: Found) -> None:
        names = [name for name in sorted(table.columns) if self._wanted(name)]
        if names:
            columns = [column(name, table.columns[name]) for name in names]
            scatter(found.attributes, table.rows, list(map(b"".join, zip(*columns, strict=True))))

    def _wanted(self, name: str) -> bool:
        return self._fields is None or name in self._fields
