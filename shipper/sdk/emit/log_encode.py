"""The bytes of a log record: what `LogEncoder` makes of an SDK record is, decoded, what ``encode_logs`` gives.

A body of more than 1 MiB becomes several records, marked as the sidecar marks the parts of a long line.
Field numbers: opentelemetry-proto ``logs/v1/logs.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from shipper.otlp.encode import log_attribute
from shipper.otlp.wire import field, fixed32_field, text, varint, varint_field
from shipper.sdk.emit.attributes import Attributes
from shipper.sdk.emit.exceptions import MESSAGE, STACK, TYPE
from shipper.sdk.emit.fingerprint import FINGERPRINT, fingerprint
from shipper.sdk.emit.redact import Texts, cut
from shipper.sdk.emit.span_encode import members_of
from shipper.sdk.emit.values import any_value, as_text

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord

MAX_PART = 1 << 20
"""Bytes of text in one record; a longer body is split."""
MAX_PARTS = 64
MAX_ATTRIBUTES = 1 << 20
"""Bytes of the attributes of one record; where they would be more, their texts are cut short."""
PART = "shipper.line.part"
LAST = "shipper.line.last"
_TIGHT = 1024
_LONG_HEAD = 4096
_TIGHT_ROOM = 4096
_NAME = 1024
_EMPTY_BODY = b"\x2a\x00"
_TIME = struct.Struct("<BQ").pack
_TRACE = struct.Struct(">2sQQ2sQ").pack
_LOW = (1 << 64) - 1
_SEVERITIES = tuple(varint_field(2, number) for number in range(25))
_FLAGS = tuple(fixed32_field(8, flags) if flags else b"" for flags in range(256))


class Bodies(dict[int, bytes]):
    """By length of a text: what stands before it in a LogRecord's body."""

    def __missing__(self, size: int) -> bytes:
        length = b"\x0a" + varint(size)
        head = b"\x2a" + varint(len(length) + size) + length
        if size < _LONG_HEAD:
            self[size] = head
        return head


class LogEncoder:
    """Makes the content of LogRecord messages. ``texts`` redacts bodies and the texts in attributes.

    ``limit``: characters of one attribute's text (None: `MAX_TEXT`).
    """

    def __init__(self, texts: Texts | None = None, limit: int | None = None) -> None:
        self.texts = texts or Texts()
        self.attributes = Attributes(6, self.texts, limit)
        self.bodies = Bodies()
        self._tight = Attributes(6, self.texts, _TIGHT, _TIGHT_ROOM)

    def encode(self, record: ReadableLogRecord | ReadWriteLogRecord) -> list[bytes]:
        """The contents of the LogRecord messages of an SDK record: one, or the parts of a very long one."""
        log = record.log_record
        out: list[bytes] = []
        put = out.append
        if log.timestamp:
            put(_TIME(0x09, log.timestamp))
        if log.observed_timestamp:
            put(_TIME(0x59, log.observed_timestamp))
        severity = log.severity_number
        if severity is not None and severity._value_:  # `value` is a property written in Python
            put(_SEVERITIES[severity._value_])
        if log.severity_text:
            put(field(3, text(log.severity_text)))
        if log.trace_id or log.span_id or log.trace_flags:
            put(trace(log.trace_id or 0, log.span_id or 0, int(log.trace_flags or 0)))
        if log.event_name:
            put(event_name(log.event_name))
        members, dropped = members_of(log.attributes)
        if members:
            put(self.members(members))
        if dropped:
            put(varint_field(7, dropped))
        body = log.body
        if type(body) is str and self.texts.redact is None and body.isascii() and len(body) <= MAX_PART:
            data = body.encode()
            put(self.bodies[len(data)])
            put(data)
            return [b"".join(out)]
        return list(self.with_body(b"".join(out), body))

    def members(self, members: Mapping[str, Any]) -> bytes:
        """Attributes as fields, with the fingerprint of the exception that is in them. Names must be texts."""
        mark = b""
        if TYPE in members or STACK in members:
            kind, stack, message = (as_text(members.get(key, "")) for key in (TYPE, STACK, MESSAGE))
            found = as_text(members.get(FINGERPRINT) or fingerprint(kind, stack, message))
            mark = self.attributes.raw(FINGERPRINT, found[:_NAME])
            members = {name: value for name, value in members.items() if name != FINGERPRINT}
        out: list[bytes] = []
        self.attributes.put(out.append, members.items())
        encoded = b"".join(out)
        if len(encoded) > MAX_ATTRIBUTES:
            out = []
            self._tight.put(out.append, members.items())
            encoded = b"".join(out)
        return encoded + mark

    def with_body(self, head: bytes, body: Any) -> Iterator[bytes]:
        """Whole messages from everything else in ``head`` and the body: as many as a very long text needs."""
        if type(body) is not str:
            yield head + (_EMPTY_BODY if body is None else field(5, any_value(body, self.texts)))
            return
        cleaned = self.texts.clean(body)
        try:
            data = cleaned.encode()
        except UnicodeEncodeError:
            data = text(cleaned)
        if len(data) <= MAX_PART:
            yield head + field(5, field(1, data))
            return
        parts = list(split(data))
        for number, part in enumerate(parts):
            mark = log_attribute(PART, number) + log_attribute(LAST, number == len(parts) - 1)
            yield b"".join((head, field(5, field(1, part)), mark))


def split(data: bytes) -> Iterator[bytes]:
    """Parts of at most `MAX_PART` bytes, each valid UTF-8; behind `MAX_PARTS` of them a mark of how much is left out."""
    at = 0
    for _ in range(MAX_PARTS):
        end = min(len(data), at + MAX_PART)
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        yield data[at:end]
        at = end
        if at == len(data):
            return
    yield f"…[{len(data) - at} more bytes]".encode()


def trace(trace_id: int, span_id: int, flags: int) -> bytes:
    """Ids and flags as fields; what is zero is left out."""
    out = _FLAGS[flags & 0xFF]
    if trace_id:
        out += field(9, trace_id.to_bytes(16, "big"))
    if span_id:
        out += field(10, span_id.to_bytes(8, "big"))
    return out


def event_name(name: object) -> bytes:
    """The field of the event's name; it identifies a kind of event, so that it is not redacted."""
    return field(12, text(cut(as_text(name), _NAME)))


def encode_log(record: ReadableLogRecord | ReadWriteLogRecord, encoder: LogEncoder | None = None) -> list[bytes]:
    """The contents of the LogRecord messages of ``record``; more than one only for a body of more than 1 MiB."""
    return (encoder or _DEFAULT).encode(record)


_DEFAULT = LogEncoder()
