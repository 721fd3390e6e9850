"""Log records as HEC events: a JSON object a line, its text, its time to the nanosecond, and its fields.

A run of plain lines is encoded at once: joined by a byte that no line has and JSON leaves alone, escaped in one call, and
that byte replaced by all that stands between two texts, which is the same for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import msgspec

from shipper.otlp.encode import AttributeValue
from shipper.otlp.forms import FLOAT
from shipper.otlp.rows import Envelope, LogBlock, LogRow, Table, log_blocks
from shipper_exporters._jsoncolumns import FIELDS, KINDS, split_times
from shipper_exporters._splunk.fields import Head, Placement
from shipper_exporters._stencil import OBSERVED, TIME, Stencils

_HEADS = 1024
_AT_A_TIME = 256  # what is made of so many stays in the processor's cache, which is twice as fast
_SEPARATORS = ("\x7f", "\ufdd0", "\ufdd1")  # JSON escapes none of them; the last two are no characters at all
_encode = msgspec.json.encode


class LogEvents:
    """Makes events of log records; may be used from several threads."""

    def __init__(self, placement: Placement) -> None:
        @lru_cache(_HEADS)
        def head(envelope: Envelope) -> Head:
            scope = {"otel.scope.name": envelope.scope, "otel.scope.version": envelope.scope_version}
            extra = {key: value for key, value in scope.items() if value}
            return Head.of(envelope.resource, {**envelope.scope_attributes, **extra}, placement)

        self._head = head
        self._stencils = Stencils(KINDS, _FIELDS, _steady)

    def encode(self, payloads: Iterable[bytes]) -> Iterator[bytes]:
        """The events of Export requests, each with a line feed behind it, some at a time. Raises `MalformedOtlp`."""
        for payload in payloads:
            for block in log_blocks(payload):
                yield from self._block(block)

    def _block(self, block: LogBlock) -> Iterator[bytes]:
        head, lines = self._head(block.envelope), block.lines
        if lines is None:
            for some in block.some():
                yield b"".join(self._stencils.write(some, block.envelope, lambda row, _: _row(head, row)))
            return
        for at in range(0, len(lines), _AT_A_TIME):
            yield _lines(head, lines[at : at + _AT_A_TIME], block.observed_ns)


def _lines(head: Head, lines: list[bytes], observed_ns: int) -> bytes:
    opening = head.opening(observed_ns)
    if not all(map(bytes.strip, lines)):
        return b"".join([opening + text(str(line, "utf-8")) + b"}\n" for line in lines])
    for separator in _SEPARATORS:
        mark = separator.encode()
        joined = mark.join(lines)
        if joined.count(mark) == len(lines) - 1:
            between = b'"}\n' + opening + b'"'
            return opening + _encode(str(joined, "utf-8")).replace(mark, between) + b"}\n"
    return b"".join([opening + _encode(str(line, "utf-8")) + b"}\n" for line in lines])


def _steady(table: Table) -> bool:
    """Whether these are written alike: numbers that are none become texts, and what is blank an object."""
    floats = (column.values for column in table.attributes if column.kind == FLOAT)
    return all(map(bytes.strip, table.bodies or ())) and all(all(map(math.isfinite, values)) for values in floats)


def _row(head: Head, row: LogRow) -> bytes:
    own: dict[str, AttributeValue] = {}
    if row.severity:
        own["otel.log.severity.number"] = row.severity
    if row.severity_text:
        own["otel.log.severity.text"] = row.severity_text
    if row.trace_id:
        own["trace_id"] = row.trace_id
    if row.span_id:
        own["span_id"] = row.span_id
    if row.event_name:
        own["otel.log.name"] = row.event_name
    if row.attributes:
        own.update(row.attributes)
    body = row.body if row.body is not None else row.event_name or None
    return head.event(row.time_ns or row.observed_ns, own, text(body))


def _seconds(times: Sequence[int]) -> list[bytes]:
    """Times in ns as seconds, with all nine decimals."""
    return list(map(b".".join, zip(*split_times(times), strict=True)))


_FIELDS = (
    *FIELDS,
    (_seconds([TIME])[0], lambda table: _seconds(table.times)),
    (_seconds([OBSERVED])[0], lambda table: _seconds(table.observed)),
)


def text(body: AttributeValue) -> bytes:
    """The JSON of an event's text. HEC takes no event whose text is blank (code 13), so that is put into an object."""
    if body is None or body == b"" or (isinstance(body, str) and not body.strip()):
        return _encode({"body": body})
    return _encode(body)
