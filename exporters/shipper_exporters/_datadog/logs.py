"""Log records as entries of Datadog's logs intake: JSON objects with its reserved attributes, and all else as attributes.

https://docs.datadoghq.com/logs/log_configuration/attributes_naming_convention/#reserved-attributes ; trace ids as
https://docs.datadoghq.com/tracing/other_telemetry/connect_logs_and_traces/opentelemetry/ has them, 64 bit and decimal, and
beside them OpenTelemetry's own. Names of the rest are those of the Collector's Datadog exporter.

The intake cuts off what an entry has beyond 1 MB. A longer text goes as several entries, which say so.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import msgspec

from shipper.otlp.encode import AttributeValue
from shipper.otlp.forms import FLOAT
from shipper.otlp.rows import Envelope, LogBlock, LogRow, Some, Table, log_blocks
from shipper_exporters._datadog.tags import Tagging, remaining
from shipper_exporters._jsoncolumns import FIELDS, KINDS, digits
from shipper_exporters._stencil import OBSERVED, SPAN_ID, TIME, TRACE_ID, Stencils

MAX_ENTRIES = 1000
PIECE = 900_000
"""Bytes of JSON of a text in one entry; together with tags and attributes it must stay below 1 MB."""

PART = "shipper.part"
"""Which piece of a longer text an entry is, and of how many: an audit counts those without, and the first."""

RESERVED = frozenset(
    {
        "message",
        "status",
        "service",
        "hostname",
        "host",
        "ddsource",
        "ddtags",
        "source",
        "timestamp",
        "date",
        "@timestamp",
    }
)

_STATUS = ("", *(name for name in ("trace", "debug", "info", "warn", "error", "critical") for _ in range(4)))
_SEPARATORS = ("\x7f", "\ufdd0", "\ufdd1")  # JSON escapes none of them
_ENVELOPES = 1024
_FEW = 125  # entries that are not parted: a body has room for a multiple of them
_encode = msgspec.json.encode

Entries = tuple[bytes, int]
"""Entries with commas between them, and how many."""


class LogEntries:
    """Makes entries of log records; may be used from several threads."""

    def __init__(self, tagging: Tagging) -> None:
        @lru_cache(_ENVELOPES)
        def head(envelope: Envelope) -> tuple[bytes, frozenset[str]]:
            named = {"otel.scope.name": envelope.scope, "otel.scope.version": envelope.scope_version}
            own = {**remaining(envelope.resource), **envelope.scope_attributes}
            own.update((key, value) for key, value in named.items() if value)
            fields = {**_safe(own), **tagging.reserved(envelope.resource)}
            return _encode(fields)[1:-1], frozenset(fields)

        self._head = head
        self._stencils = Stencils(KINDS, _FIELDS, _steady)

    def encode(self, payloads: Iterable[bytes]) -> Iterator[Entries]:
        """The entries of Export requests, in pieces of at most `MAX_ENTRIES`. Raises `MalformedOtlp`."""
        for payload in payloads:
            for block in log_blocks(payload):
                yield from self._block(block)

    def _block(self, block: LogBlock) -> Iterator[Entries]:
        head, keys = self._head(block.envelope)
        lines = block.lines
        if lines is None or _are_long(lines):
            for some in block.some():
                yield from self._some(some, block.envelope, head, keys)
            return
        for at in range(0, len(lines), MAX_ENTRIES):
            entries = lines[at : at + MAX_ENTRIES]
            yield _lines(head, entries, block.observed_ns), len(entries)

    def _some(self, some: Some, envelope: Envelope, head: bytes, keys: frozenset[str]) -> Iterator[Entries]:
        more = 0

        def write(row: LogRow, _: int) -> bytes:
            nonlocal more
            pieces = list(_row(head, keys, row))
            more += len(pieces) - 1
            return b",".join(pieces)

        entries = self._stencils.write(some, envelope, write)
        if more:
            yield b",".join(entries), len(entries) + more
            return
        for at in range(0, len(entries), _FEW):
            few = entries[at : at + _FEW]
            yield b",".join(few), len(few)


def _are_long(texts: Sequence[bytes]) -> bool:
    """Whether one of these may need several entries."""
    return len(max(texts, key=len, default=b"")) > PIECE // 6  # six bytes for one, at worst


def _steady(table: Table) -> bool:
    """Whether these are written alike: numbers that are none become texts."""
    floats = (column.values for column in table.attributes if column.kind == FLOAT)
    return all(all(map(math.isfinite, values)) for values in floats) and not _are_long(table.bodies or ())


def _lines(head: bytes, lines: list[bytes], observed_ns: int) -> bytes:
    opening = b"{%b,%b" % (head, _times(observed_ns))
    for separator in _SEPARATORS:
        mark = separator.encode()
        joined = mark.join(lines)
        if joined.count(mark) == len(lines) - 1:
            between = b'"},' + opening + b'"message":"'
            text = _encode(str(joined, "utf-8")).replace(mark, between)
            return b"".join((opening, b'"message":', text, b"}"))
    return b",".join([b'%b"message":%b}' % (opening, _encode(str(line, "utf-8"))) for line in lines])


def _row(head: bytes, keys: frozenset[str], row: LogRow) -> Iterator[bytes]:
    """The entries of a record: more than one where its text is long."""
    own = _own(row)
    if not keys.isdisjoint(own):  # the record's own word counts
        head = _encode({key: value for key, value in msgspec.json.decode(b"{%b}" % head).items() if key not in own})[
            1:-1
        ]
    inside = _encode(own)[1:-1]
    comma = b"," if inside else b""
    opening = b"".join((b"{", head, b",", _times(row.time_ns or row.observed_ns), inside, comma))
    body = row.body if row.body is not None else row.event_name
    text = body if isinstance(body, str) else _encode(_jsonable(body)).decode()
    message = _encode(text)
    if len(message) <= PIECE:
        yield b'%b"message":%b}' % (opening, message)
        return
    pieces = list(_pieces(text))
    for number, piece in enumerate(pieces, 1):
        part = _encode({PART: number, f"{PART}s": len(pieces)})[1:-1]
        yield b'%b%b,"message":%b}' % (opening, part, _encode(piece))


def _own(row: LogRow) -> dict[str, AttributeValue]:
    own: dict[str, AttributeValue] = dict(_safe(row.attributes)) if row.attributes else {}
    status = _STATUS[row.severity] if 0 < row.severity < len(_STATUS) else row.severity_text.lower()
    if status:
        own["status"] = status
    if row.severity:
        own["otel.severity_number"] = row.severity
    if row.severity_text:
        own["otel.severity_text"] = row.severity_text
    if row.trace_id:
        own["dd.trace_id"] = str(int(row.trace_id[-16:], 16))
        own["otel.trace_id"] = row.trace_id
    if row.span_id:
        own["dd.span_id"] = str(int(row.span_id, 16))
        own["otel.span_id"] = row.span_id
    if row.event_name:
        own["otel.event_name"] = row.event_name
    return own


def _times(time_ns: int) -> bytes:
    """Datadog keeps milliseconds; the rest stays readable beside them."""
    return b'"timestamp":%d,"otel.timestamp":"%d",' % (time_ns // 1_000_000, time_ns) if time_ns else b""


def _halves(ids: Sequence[str]) -> Sequence[bytes]:
    """The lower 64 bits of each id, decimal, as Datadog has them."""
    return digits(struct.unpack(f">{len(ids)}Q", bytes.fromhex("".join([one[-16:] for one in ids]))))


def _milliseconds(times: Sequence[int]) -> list[bytes]:
    return [one[:-6] or b"0" for one in digits(times)]


_FIELDS = (
    *FIELDS,
    (digits([TIME])[0], lambda table: digits(table.times)),
    (digits([OBSERVED])[0], lambda table: digits(table.observed)),
    (_milliseconds([TIME])[0], lambda table: _milliseconds(table.times)),
    (_milliseconds([OBSERVED])[0], lambda table: _milliseconds(table.observed)),
    (_halves([TRACE_ID])[0], lambda table: _halves(table.trace_ids)),
    (_halves([SPAN_ID])[0], lambda table: _halves(table.span_ids)),
)


def _safe(attributes: Mapping[str, AttributeValue]) -> Mapping[str, AttributeValue]:
    """Attributes that take no reserved attribute's place, and have a form in JSON."""
    if RESERVED.isdisjoint(attributes) and float not in map(type, attributes.values()):
        return attributes
    return {f"attribute.{key}" if key in RESERVED else key: _jsonable(value) for key, value in attributes.items()}


def _jsonable(value: AttributeValue) -> AttributeValue:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _pieces(text: str) -> Iterator[str]:
    """``text`` in pieces whose JSON is not larger than `PIECE`."""
    at, size = 0, PIECE
    while at < len(text):
        while len(_encode(text[at : at + size])) > PIECE:
            size = size * 3 // 4
        yield text[at : at + size]
        at += size
