"""Making OTLP log requests without the protobuf library.

The hot path of Shipper is `LineEncoder`: a chunk of plain lines becomes one request by a few passes that run in C, with no
Python bytecode per line. It works because all that differs between two records in front of the line is made of lengths.
Field numbers: opentelemetry-proto ``logs/v1/logs.proto``, ``common/v1/common.proto``, ``resource/v1/resource.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import TypeAlias

from shipper.otlp.wire import FIXED64, double_field, field, fixed32_field, fixed64_field, text, varint, varint_field

AttributeValue: TypeAlias = (
    "str | bool | int | float | bytes | Sequence[AttributeValue] | Mapping[str, AttributeValue] | None"
)
"""What an OTLP AnyValue can hold. None is the empty AnyValue."""

MAX_DEPTH = 24
"""Levels of lists and maps in one attribute. Parsers stop at 100 nested messages, and a level of a map takes three."""

_CACHED_LENGTHS = 4096
_OBSERVED_BYTES = 9
_BLOCK = 128
"""Lines joined at a time. ``bytes.join`` keeps 80 bytes of state for each piece: in small blocks that and the copies stay
in the processor's cache and below the size at which malloc asks the kernel for fresh pages (measured: 2 to 4 times faster)."""


def any_value(value: AttributeValue, depth: int = MAX_DEPTH) -> bytes:
    """The content of an AnyValue. An int outside 64 bits becomes its decimal text, so that no digit is lost.

    Raises ValueError when lists and maps nest deeper than ``depth``, TypeError for anything that is no `AttributeValue`.
    """
    if isinstance(value, str):
        return field(1, text(value))
    if isinstance(value, bool):
        return varint_field(2, value)
    if isinstance(value, int):
        return varint_field(3, value) if -(1 << 63) <= value < 1 << 63 else field(1, str(value).encode())
    if isinstance(value, float):
        return double_field(4, value)
    if isinstance(value, bytes | bytearray | memoryview):
        return field(7, bytes(value))
    if value is None:
        return b""
    if depth <= 0:
        raise ValueError(f"an attribute nests more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return field(6, b"".join(field(1, key_value(key, item, depth - 1)) for key, item in value.items()))
    if isinstance(value, Sequence):
        return field(5, b"".join(field(1, any_value(item, depth - 1)) for item in value))
    raise TypeError(f"{type(value).__name__} is no attribute value")


def key_value(key: str, value: AttributeValue, depth: int = MAX_DEPTH) -> bytes:
    """The content of a KeyValue. Raises as `any_value`."""
    name = _key(key) if len(key) <= 100 else field(1, text(key))
    return name + field(2, any_value(value, depth))


@lru_cache(1024)  # the same few keys are on all records
def _key(key: str) -> bytes:
    return field(1, text(key))


def _attributes(number: int, attributes: Mapping[str, AttributeValue]) -> bytes:
    return b"".join([field(number, key_value(key, value)) for key, value in attributes.items()])


def resource(attributes: Mapping[str, AttributeValue]) -> bytes:
    """The content of a Resource message. Raises as `any_value`."""
    return _attributes(1, attributes)


def scope(name: str, version: str = "", attributes: Mapping[str, AttributeValue] | None = None) -> bytes:
    """The content of an InstrumentationScope message. Raises as `any_value`."""
    out = field(1, text(name)) if name else b""
    if version:
        out += field(2, text(version))
    return out + _attributes(3, attributes or {})


def log_attribute(key: str, value: AttributeValue) -> bytes:
    """One attribute as an encoded field of a LogRecord, for ``LineEncoder.encode(extra=...)``. Raises as `any_value`."""
    return field(6, key_value(key, value))


def log_record(
    *,
    time_ns: int,
    observed_ns: int,
    body: AttributeValue,
    severity: int = 0,
    severity_text: str = "",
    attributes: Mapping[str, AttributeValue] | None = None,
    event_name: str = "",
    trace_id: bytes = b"",
    span_id: bytes = b"",
    flags: int = 0,
) -> bytes:
    """The content of one LogRecord. Times in nanoseconds since the epoch, 0 for unknown; ids of 16 and 8 bytes, or none.

    ``severity`` is the SeverityNumber (DEBUG 5, INFO 9, WARN 13, ERROR 17, FATAL 21). Raises as `any_value`.
    """
    out = [fixed64_field(1, time_ns)] if time_ns else []
    if severity:
        out.append(varint_field(2, severity))
    if severity_text:
        out.append(field(3, text(severity_text)))
    if body is not None:
        out.append(field(5, any_value(body)))
    if attributes:
        out.append(_attributes(6, attributes))
    if flags:
        out.append(fixed32_field(8, flags))
    if trace_id:
        out.append(field(9, trace_id))
    if span_id:
        out.append(field(10, span_id))
    if observed_ns:
        out.append(fixed64_field(11, observed_ns))
    if event_name:
        out.append(field(12, text(event_name)))
    return b"".join(out)


def export_logs(resource: bytes, scope: bytes, records: Sequence[bytes]) -> bytes:
    """An ExportLogsServiceRequest of one resource and one scope, from the contents of its messages."""
    scope_logs = field(1, scope) + b"".join(field(2, record) for record in records)
    return field(1, field(1, resource) + field(2, scope_logs))


@lru_cache(_CACHED_LENGTHS)
def line_head(length: int, more: int = 0) -> bytes:
    """What stands in front of a line of ``length`` bytes: the lengths of LogRecord, body and string.

    ``more`` is the size of the further fields, without the observed time, that follow the line.
    """
    size = varint(length)
    body = varint(1 + len(size) + length)
    record = 3 + len(body) + len(size) + length + more + _OBSERVED_BYTES - 1
    return b"".join((b"\x12", varint(record), b"\x2a", body, b"\x0a", size))


class _Heads(dict[int, bytes]):
    """Heads by line length. Emptied when full, because a stream of long lines of ever new lengths would fill memory."""

    def __missing__(self, length: int) -> bytes:
        if len(self) >= _CACHED_LENGTHS:
            self.clear()
        head = self[length] = line_head(length)
        return head


class _TimedHeads(_Heads):
    """The same in front of lines whose records have a time besides."""

    def __missing__(self, length: int) -> bytes:
        if len(self) >= _CACHED_LENGTHS:
            self.clear()
        head = self[length] = line_head(length, _TIME_BYTES)
        return head


_HEADS, _TIMED_HEADS = _Heads(), _TimedHeads()  # the same for every stream
_TIME_BYTES = 9
_TIMED = struct.Struct("<9sBQ").pack  # observed time, tag of time_unix_nano, time
_TIME_TAG = 1 << 3 | FIXED64


class LineEncoder:
    """Makes requests of plain lines that share a resource and a scope (contents of those messages)."""

    def __init__(self, resource: bytes, scope: bytes) -> None:
        self._resource = field(1, resource)
        self._scope = field(1, scope)

    def encode(
        self,
        lines: Sequence[bytes],
        observed_ns: int,
        extra: Mapping[int, bytes] | None = None,
        times: Sequence[int] | None = None,
    ) -> bytes:
        """One ExportLogsServiceRequest with a LogRecord for each line: string body and observed time.

        Lines must be valid UTF-8 and come without their line end. ``extra[i]`` holds already encoded further fields of
        the LogRecord of line ``i`` (see `log_attribute`); ``times[i]`` is its time in nanoseconds since the epoch, 0 for
        unknown. Raises IndexError for an ``i`` that is no line.
        """
        observed = fixed64_field(11, observed_ns)
        timed = times is not None and all(times)
        if times is not None and not timed:
            extra = _with_times(times, extra or {})
        marked = _by_block(extra, len(lines)) if extra else {}
        blocks = [b""]
        out = [observed] * (3 * _BLOCK)
        for at in range(0, len(lines), _BLOCK):
            block = lines[at : at + _BLOCK]
            if len(block) < _BLOCK:
                out = [observed] * (3 * len(block))
            out[0::3] = map((_TIMED_HEADS if timed else _HEADS).__getitem__, map(len, block))
            out[1::3] = block
            if timed and times is not None:
                out[2::3] = map(_TIMED, repeat(observed), repeat(_TIME_TAG), times[at : at + _BLOCK])
            if extra and at in marked:
                blocks.append(_with_extra(out.copy(), block, {index - at: extra[index] for index in marked[at]}))
            else:
                blocks.append(b"".join(out))
        size = len(self._scope) + sum(map(len, blocks))
        scope_head = b"\x12" + varint(size)
        blocks[0] = b"".join(
            (b"\x0a", varint(len(self._resource) + len(scope_head) + size), self._resource, scope_head, self._scope)
        )
        return b"".join(blocks)


def _with_times(times: Sequence[int], extra: Mapping[int, bytes]) -> dict[int, bytes]:
    """``extra`` with the field time_unix_nano (1) of each record whose time is known."""
    found = dict(extra)
    for index, at in enumerate(times):
        if at:
            found[index] = fixed64_field(1, at) + found.get(index, b"")
    return found


def _by_block(extra: Mapping[int, bytes], lines: int) -> dict[int, list[int]]:
    """The line numbers in ``extra`` by the block they fall into."""
    blocks: dict[int, list[int]] = {}
    for index in extra:
        if not 0 <= index < lines:
            raise IndexError(f"extra fields for line {index} of {lines}")
        blocks.setdefault(index - index % _BLOCK, []).append(index)
    return blocks


def _with_extra(out: list[bytes], block: Sequence[bytes], extra: Mapping[int, bytes]) -> bytes:
    """A block in which some records go on behind their observed time; ``out`` holds three pieces for each record."""
    for index, more in extra.items():
        tail = out[3 * index + 2] + more
        out[3 * index] = line_head(len(block[index]), len(tail) - _OBSERVED_BYTES)
        out[3 * index + 2] = tail
    return b"".join(out)
