"""The log records of a request, as those want them who write them down in another form: exporters of other protocols.

What records share (resource and scope) is decoded once and is the same object wherever it comes again, so that an exporter
can keep its own encoding of it. A run of plain lines, which is what most files hold, is given as lines: nothing is made for
each record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.columns import LogRow, Table
from shipper.otlp.decode import attributes_of
from shipper.otlp.encode import AttributeValue
from shipper.otlp.messages import parse
from shipper.otlp.rowwalk import row_of
from shipper.otlp.scan import LINES
from shipper.otlp.some import SOME, Forms, Some, walk
from shipper.otlp.wire import LENGTH, expect, fields, read_tag, skip, utf8
from shipper.otlp.wire import field as wire_field

__all__ = ["SOME", "Envelope", "LogBlock", "LogRow", "Some", "Table", "log_blocks"]

_ENVELOPES = 1024  # resources and scopes kept decoded: a gateway sees as many hosts at a time
_ORIGINS = 64  # envelopes of which it is known what forms their records have


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """What log records share. One object for equal contents while they are in use, so it can be the key of a cache."""

    resource: Mapping[str, AttributeValue]
    scope: str = ""
    scope_version: str = ""
    scope_attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    complete: bool = True
    """Whether this is all that is said of the resource and the scope (it may be that attributes were dropped, for one)."""


class LogBlock:
    """Log records in a row that share their envelope: either plain lines, or any others."""

    __slots__ = ("_borders", "_data", "_messages", "complete", "envelope", "lines", "observed_ns")

    def __init__(
        self,
        envelope: Envelope,
        *,
        lines: list[bytes] | None = None,
        observed_ns: int = 0,
        records: tuple[bytes, Sequence[int], Sequence[int]] = (b"", (), ()),
        messages: Sequence[Any] = (),
        complete: bool = True,
    ) -> None:
        """``records``: bytes, and where in them each record begins and ends; or ``messages``, which are LogRecords."""
        self.envelope = envelope
        self.complete = complete and envelope.complete and not messages
        """Whether the request says no more of these records than the envelope and they themselves do (no schema, for one)."""
        self.lines = lines
        """The bodies, UTF-8, when nothing else is known of any record but when it was observed."""
        self.observed_ns = observed_ns
        """When the lines were observed, all of them."""
        self._data, self._borders = records[0], records[1:]
        self._messages = messages

    def __len__(self) -> int:
        return len(self._borders[0]) + len(self._messages) if self.lines is None else len(self.lines)

    def rows(self) -> Iterator[LogRow]:
        """Each record by itself, in order, read when it is asked for.

        Raises `MalformedOtlp` when it comes to a record in which something is broken.
        """
        return chain.from_iterable(self.rows_by_some())

    def rows_by_some(self) -> Iterator[list[LogRow]]:
        """The same, some at a time: what is done with these before the next are asked for is done in the processor's cache."""
        return (some.in_order(Table.rows, lambda _, row: row) for some in self.some())

    def some(self) -> Iterator[Some]:
        """The same, and those by column that have the same fields."""
        if self.lines is not None:
            for at in range(0, len(self.lines), SOME):
                rows = self._plain_rows(at)
                yield Some(len(rows), (), dict(enumerate(rows)))
        elif self._messages:
            yield Some(len(self._messages), (), dict(enumerate(map(row_of, self._messages))))
        else:
            yield from walk(self._data, self._borders, _forms(self.envelope))

    def _plain_rows(self, at: int) -> list[LogRow]:
        nothing: Mapping[str, AttributeValue] = {}
        return [
            LogRow(0, self.observed_ns, 0, "", str(line, "utf-8"), nothing, "", "", "", 0)
            for line in (self.lines or ())[at : at + SOME]
        ]


def log_blocks(data: bytes) -> list[LogBlock]:
    """The records of an ExportLogsServiceRequest, in order.

    Raises `MalformedOtlp` when an envelope is broken; of records that are no plain lines only the borders were looked at then.
    """
    blocks: list[LogBlock] = []
    for number, wire, at, value, stop in fields(data, 0, len(data)):
        if number == 1:
            expect(wire, LENGTH, "ResourceLogs", at)
            _resource_logs(data, value, stop, blocks)
    return blocks


def _resource_logs(data: bytes, at: int, end: int, blocks: list[LogBlock]) -> None:
    inner = list(fields(data, at, end))
    # As in any parser, the parts of a message that comes twice are merged; joined they are the same to the library.
    resource = b"".join(data[value:stop] for number, wire, _, value, stop in inner if number == 1 and wire == LENGTH)
    complete = all(number in (1, 2) for number, *_ in inner)
    for number, wire, start, value, stop in inner:
        if number == 2:
            expect(wire, LENGTH, "ScopeLogs", start)
            blocks.extend(_scope_logs(data, value, stop, resource, complete))


def _scope_logs(data: bytes, at: int, end: int, resource: bytes, complete: bool) -> list[LogBlock]:
    scope, first = b"", at
    if at < end and data[at] == 0x0A:
        _, _, _, value, first = next(fields(data, at, end))
        scope = data[value:first]
    found = _plain(data, first, end) if first < end else None
    if found is not None:
        return [LogBlock(_envelope(resource, scope), lines=found[0], observed_ns=found[1], complete=complete)]
    starts, stops, bare = _borders(data, first, end)
    if starts is None or stops is None:
        return _library_blocks(data[at:end], resource)
    if not starts:
        return []
    return [LogBlock(_envelope(resource, scope), records=(data, starts, stops), complete=complete and bare)]


def _borders(data: bytes, at: int, end: int) -> tuple[list[int], list[int], bool] | tuple[None, None, bool]:
    """Where the records of ScopeLogs begin and end, and whether nothing else is there; None when its scope stands among them.

    Raises `MalformedOtlp`.
    """
    starts: list[int] = []
    stops: list[int] = []
    bare = True
    while at < end:
        if data[at] == 0x12 and at + 3 <= end and (size := data[at + 1]) < 0x80:
            value, stop = at + 2, at + 2 + size
        elif data[at] == 0x12 and at + 3 <= end and data[at + 2] < 0x80:
            value, stop = at + 3, at + 3 + (size & 0x7F | data[at + 2] << 7)
        else:
            number, wire, behind = read_tag(data, at, end)
            value, stop = skip(data, wire, behind, end)
            if number == 1:
                return None, None, False
            if number != 2:
                bare = False
                if number == 3:
                    expect(wire, LENGTH, "a schema URL", at)
                    utf8(data, value, stop, "a schema URL")
                at = stop
                continue
            expect(wire, LENGTH, "a record", at)
        starts.append(value)
        stops.append(stop)
        at = stop
    if at != end:
        raise MalformedOtlp("a length reaches beyond the end", end)
    return starts, stops, bare


def _library_blocks(content: bytes, resource: bytes) -> list[LogBlock]:
    message = parse(Signal.LOGS, wire_field(1, wire_field(2, content))).resource_logs[0].scope_logs[0]
    if not message.log_records:
        return []
    scope = message.scope.SerializeToString(deterministic=True)
    return [LogBlock(_envelope(resource, scope), messages=message.log_records)]


def _plain(data: bytes, at: int, end: int) -> tuple[list[bytes], int] | None:
    """The lines in ``data`` and when they were observed; None unless all are lines as `LineEncoder` makes them."""
    lines: list[bytes] = []
    observed = b""
    while at < end:
        size, head = LINES[data[at : at + 3]]
        stop = at + size
        if stop > end or not data.startswith(head, at):
            return None
        if not data.startswith(observed, stop - 9) or not observed:
            seen = data[stop - 9 : stop]
            if observed or seen[0] != 0x59:
                return None
            observed = seen
        lines.append(data[at + len(head) : stop - 9])
        at = stop
    try:
        str(b"\n".join(lines), "utf-8")
    except UnicodeDecodeError:
        return None
    return lines, int.from_bytes(observed[1:], "little")


@lru_cache(_ENVELOPES)
def _envelope(resource: bytes, scope: bytes) -> Envelope:
    wrapped = wire_field(1, wire_field(1, resource) + wire_field(2, wire_field(1, scope)))
    found = parse(Signal.LOGS, wrapped).resource_logs[0]
    if not found.scope_logs:
        raise MalformedOtlp("a scope that is none")
    one = found.scope_logs[0].scope
    attributes, own = attributes_of(found.resource.attributes), attributes_of(one.attributes)
    complete = _numbers(resource) <= {1} and _numbers(scope) <= {1, 2, 3}
    return Envelope(attributes, one.name, one.version, own, complete)


@lru_cache(_ORIGINS)
def _forms(_: Envelope) -> Forms:
    """Those of the records of an envelope: mostly they are the same in the next request."""
    return Forms()


def _numbers(message: bytes) -> set[int]:
    return {number for number, *_ in fields(message, 0, len(message))}
