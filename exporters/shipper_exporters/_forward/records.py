"""Log records as entries of the forward protocol: MessagePack ``[EventTime, map]``, flat where people filter.

The map is the one that Shipper's SDK sends to a Fluentd by itself (`shipper.sdk.ways.forward_records`): labels under short
names, the text, then what else is known. Of a block of plain lines everything but the text is the same bytes, made once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from operator import add
from typing import Any

import msgpack

from shipper.otlp.encode import AttributeValue
from shipper.otlp.forms import FLOAT, INTEGER, TEXT
from shipper.otlp.rows import Envelope, LogBlock, LogRow
from shipper_exporters._stencil import BODY, OBSERVED, SPAN_ID, TIME, TRACE_ID, Kinds, Stencils

_LABELS = {
    "service.name": "service",
    "service.version": "release",
    "shipper.generation": "generation",
    "deployment.environment.name": "environment",
    "shipper.host": "host",
    "shipper.life.id": "life",
    "service.instance.id": "instance",
}
"""Resource attributes, and the key that each has in a record."""

_IMAGES = ("container.image.repo_digests", "oci.manifest.digest", "container.image.name", "host.image.id")
"""Where the image is looked for; all of them stay in ``resource`` beside it."""

RESERVED = frozenset(
    {
        *_LABELS.values(),
        "image",
        "logger",
        "logger_version",
        "scope",
        "resource",
        "severity",
        "severity_number",
        "event",
    }
    | {"trace_id", "span_id", "trace_flags", "attributes"}
)
"""Keys that mean something else than a text or an id."""

_SEVERITIES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_SECOND = 1_000_000_000
_TIME = struct.Struct(">BBII").pack  # fixext 8, type 0 (EventTime), seconds, nanoseconds
_DOUBLE = struct.Struct(">Bd").pack
_EVENT_TIME = (0xD7, 0x00)
_LAST_SECOND = (1 << 32) - 1
_PAIR = b"\x92"
_SOME = 128  # entries joined at a time, so that all of them stay in the processor's cache (see `shipper.otlp.encode`)
_LARGE = 1 << 19  # bytes of such a few, beyond which each goes by itself: they are to fit a message

Number = Callable[[int], str]
"""The id of the record with that number in its batch."""


class Fields:
    """Makes the fields of records, as MessagePack. ``message_key``: of the text. ``id_key``: of the id; empty for none."""

    def __init__(self, message_key: str, id_key: str) -> None:
        self._id_key = packed(id_key) if id_key else b""
        self._message_name = message_key
        self._message_key = packed(message_key)
        self._own = lru_cache(1024)(self._common)  # an envelope is the same object while it is in use
        self._stencils = Stencils(_KINDS, _FIELDS)

    def entries(self, block: LogBlock, first: int, identify: Number) -> Iterator[tuple[bytes, int]]:
        """The entries of a block, some at a time, and how many; ``first``: the number of its first record in its batch."""
        if block.lines is None:
            return self._rows(block, first, identify)
        return self._named_lines(block, first, identify) if self._id_key else self._lines(block)

    def _lines(self, block: LogBlock) -> Iterator[tuple[bytes, int]]:
        """Of plain lines nothing differs in front of a text but its length, so all is done by passes that run in C."""
        assert block.lines is not None
        count, common = self._own(block.envelope)
        heads = _Heads(_PAIR + event_time(block.observed_ns) + map_head(count + 1) + common + self._message_key)
        for lines in _few(block.lines):
            parts = [b""] * (2 * len(lines))
            parts[::2] = map(heads.__getitem__, map(len, lines))
            parts[1::2] = lines
            yield b"".join(parts), len(lines)

    def _named_lines(self, block: LogBlock, first: int, identify: Number) -> Iterator[tuple[bytes, int]]:
        assert block.lines is not None
        count, common = self._own(block.envelope)
        head = _PAIR + event_time(block.observed_ns) + map_head(count + 2) + common + self._id_key
        for lines in _few(block.lines):
            entries = [
                b"".join((head, packed(identify(number)), self._message_key, text_head(len(line)), line))
                for number, line in enumerate(lines, first)
            ]
            first += len(lines)
            yield b"".join(entries), len(lines)

    def _rows(self, block: LogBlock, first: int, identify: Number) -> Iterator[tuple[bytes, int]]:
        pack = msgpack.Packer(use_bin_type=True).pack  # one of its own: it is not to be shared between threads
        count, common = self._own(block.envelope)

        def named(number: int) -> bytes:
            return packed(identify(number))

        def write(row: LogRow, number: int) -> bytes:
            return self._row(row, count, common, pack, named(number) if self._id_key else b"")

        for some in block.some():
            entries = self._stencils.write(some, block.envelope, write, first, named if self._id_key else None)
            first += some.count
            for few in _few(entries):
                yield b"".join(few), len(few)

    def _row(self, row: LogRow, count: int, common: bytes, pack: Callable[[Any], bytes], identity: bytes) -> bytes:
        own: dict[str, Any] = {self._message_name: row.body}
        if row.severity:
            own["severity"] = row.severity_text or _severity(row.severity)
            own["severity_number"] = row.severity
        elif row.severity_text:
            own["severity"] = row.severity_text
        if row.event_name:
            own["event"] = row.event_name
        if row.trace_id:
            own["trace_id"] = row.trace_id
        if row.span_id:
            own["span_id"] = row.span_id
        if row.flags:
            own["trace_flags"] = row.flags
        if row.attributes:
            own["attributes"] = row.attributes
        body = pack(own)[1:]  # its head is one byte: there are never more than 15
        fields, more = count + len(own), b""
        if identity:
            fields, more = fields + 1, self._id_key + identity
        when = event_time(row.time_ns or row.observed_ns)
        return b"".join((_PAIR, when, map_head(fields), common, more, body))

    def _common(self, envelope: Envelope) -> tuple[int, bytes]:
        """What all records of an envelope carry: how many fields, and those."""
        fields = labels(envelope.resource)
        if envelope.scope:
            fields["logger"] = envelope.scope
        if envelope.scope_version:
            fields["logger_version"] = envelope.scope_version
        if envelope.scope_attributes:
            fields["scope"] = dict(envelope.scope_attributes)
        rest = {key: value for key, value in envelope.resource.items() if key not in _LABELS}
        if rest:
            fields["resource"] = rest
        return len(fields), b"".join(packed(key) + packed(value) for key, value in fields.items())


def _few(texts: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """All of them, a few at a time; where they are long, fewer."""
    for at in range(0, len(texts), _SOME):
        few = texts[at : at + _SOME]
        if sum(map(len, few)) <= _LARGE:
            yield few
        else:
            yield from ([text] for text in few)


class _Heads(dict[int, bytes]):
    """All of an entry in front of its text, by the length of the text."""

    __slots__ = ("_before",)

    def __init__(self, before: bytes) -> None:
        self._before = before

    def __missing__(self, length: int) -> bytes:
        head = self[length] = self._before + text_head(length)
        return head


def labels(resource: Mapping[str, AttributeValue]) -> dict[str, Any]:
    """The identity under its short names; what is not known is left out."""
    found: dict[str, Any] = {name: resource[key] for key, name in _LABELS.items() if key in resource}
    for key in _IMAGES:
        image = resource.get(key)
        if isinstance(image, list):
            image = image[0] if image else None
        if isinstance(image, str) and image:
            found["image"] = image
            break
    return found


def event_time(nanoseconds: int) -> bytes:
    """An EventTime (forward protocol v1, "EventTime"): it ends with the year 2105, and what is later stays there."""
    seconds, fraction = divmod(nanoseconds, _SECOND)
    if seconds > _LAST_SECOND:
        seconds, fraction = _LAST_SECOND, _SECOND - 1
    return _TIME(*_EVENT_TIME, seconds, fraction)


def event_times(times: Sequence[int]) -> list[bytes]:
    """The same for each of these."""
    if max(times) // _SECOND > _LAST_SECOND:
        return list(map(event_time, times))
    seconds = [time_ns // _SECOND for time_ns in times]
    rests = [time_ns % _SECOND for time_ns in times]
    return list(map(_TIME, repeat(_EVENT_TIME[0]), repeat(_EVENT_TIME[1]), seconds, rests))


def text_head(length: int) -> bytes:
    """What stands in front of a text of so many bytes."""
    if length < 32:
        return bytes((0xA0 | length,))
    if length < 1 << 8:
        return bytes((0xD9, length))
    if length < 1 << 16:
        return b"\xda" + length.to_bytes(2, "big")
    return b"\xdb" + length.to_bytes(4, "big")


def map_head(count: int) -> bytes:
    """What stands in front of a map of so many fields."""
    return bytes((0x80 | count,)) if count < 16 else b"\xde" + count.to_bytes(2, "big")


def packed(value: Any) -> bytes:
    """A value as MessagePack."""
    return bytes(msgpack.packb(value, use_bin_type=True))


def _texts(values: Sequence[bytes]) -> list[bytes]:
    heads = {length: text_head(length) for length in set(map(len, values))}
    return list(map(add, map(heads.__getitem__, map(len, values)), values))


def _integers(values: Sequence[int]) -> list[bytes]:
    known = {value: packed(value) for value in set(values)}
    return list(map(known.__getitem__, values))


def _ids(values: Sequence[str]) -> list[bytes]:
    return _texts([*map(str.encode, values)])


_KINDS = Kinds(
    packed, {TEXT: _texts, INTEGER: _integers, FLOAT: lambda values: list(map(_DOUBLE, repeat(0xCB), values))}
)
_FIELDS = (
    (packed(BODY), lambda table: _texts(table.bodies or ())),
    (packed(TRACE_ID), lambda table: _ids(table.trace_ids)),
    (packed(SPAN_ID), lambda table: _ids(table.span_ids)),
    (event_time(TIME), lambda table: event_times(table.times)),
    (event_time(OBSERVED), lambda table: event_times(table.observed)),
)


def _severity(number: int) -> str:
    """The name of a SeverityNumber: INFO, INFO2, ..."""
    if not 1 <= number <= 24:
        return str(number)
    name, step = _SEVERITIES[(number - 1) // 4], (number - 1) % 4
    return f"{name}{step + 1}" if step else name
