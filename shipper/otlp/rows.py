"""The log records of a request, as those want them who write them down in another form: exporters of other protocols.

What records share (resource and scope) is decoded once and is the same object wherever it comes again, so that an exporter
can keep its own encoding of it. A run of plain lines, which is what most files hold, is given as lines: nothing is made for
each record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.decode import attributes_of, value_of
from shipper.otlp.encode import AttributeValue
from shipper.otlp.messages import parse
from shipper.otlp.scan import LINES
from shipper.otlp.wire import LENGTH, expect, fields
from shipper.otlp.wire import field as wire_field

_ENVELOPES = 1024  # resources and scopes kept decoded: a gateway sees as many hosts at a time


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """What log records share. One object for equal contents while they are in use, so it can be the key of a cache."""

    resource: Mapping[str, AttributeValue]
    scope: str = ""
    scope_version: str = ""
    scope_attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


class LogRow(NamedTuple):
    """One log record. Times in ns since the epoch, 0 for unknown; ids in hex, "" for none; severity is a SeverityNumber."""

    time_ns: int
    observed_ns: int
    severity: int
    severity_text: str
    body: AttributeValue
    attributes: Mapping[str, AttributeValue]
    event_name: str
    trace_id: str
    span_id: str
    flags: int


class LogBlock:
    """Log records in a row that share their envelope: either plain lines, or any others."""

    __slots__ = ("_records", "envelope", "lines", "observed_ns")

    def __init__(
        self, envelope: Envelope, records: Sequence[Any] = (), lines: list[bytes] | None = None, observed_ns: int = 0
    ) -> None:
        self.envelope = envelope
        self.lines = lines
        """The bodies, UTF-8, when nothing else is known of any record but when it was observed."""
        self.observed_ns = observed_ns
        """When the lines were observed, all of them."""
        self._records = records

    def __len__(self) -> int:
        return len(self._records) if self.lines is None else len(self.lines)

    def rows(self) -> list[LogRow]:
        """Each record by itself, in order."""
        if self.lines is not None:
            nothing: Mapping[str, AttributeValue] = {}
            return [
                LogRow(0, self.observed_ns, 0, "", str(line, "utf-8"), nothing, "", "", "", 0) for line in self.lines
            ]
        return [
            LogRow(
                log.time_unix_nano,
                log.observed_time_unix_nano,
                log.severity_number,
                log.severity_text,
                (body := log.body).string_value or value_of(body),
                attributes_of(log.attributes),
                log.event_name,
                log.trace_id.hex(),
                log.span_id.hex(),
                log.flags,
            )
            for log in self._records
        ]


def log_blocks(data: bytes) -> list[LogBlock]:
    """The records of an ExportLogsServiceRequest, in order. Raises `MalformedOtlp`."""
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
    for number, wire, start, value, stop in inner:
        if number == 2:
            expect(wire, LENGTH, "ScopeLogs", start)
            blocks.extend(_scope_logs(data, value, stop, resource))


def _scope_logs(data: bytes, at: int, end: int, resource: bytes) -> list[LogBlock]:
    scope, first = b"", at
    if at < end and data[at] == 0x0A:
        _, _, _, value, first = next(fields(data, at, end))
        scope = data[value:first]
    found = _plain(data, first, end) if first < end else None
    if found is not None:
        return [LogBlock(_envelope(resource, scope), lines=found[0], observed_ns=found[1])]
    message = parse(Signal.LOGS, wire_field(1, wire_field(2, data[at:end]))).resource_logs[0].scope_logs[0]
    if not message.log_records:
        return []
    return [LogBlock(_envelope(resource, message.scope.SerializeToString(deterministic=True)), message.log_records)]


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
    return Envelope(attributes_of(found.resource.attributes), one.name, one.version, attributes_of(one.attributes))
