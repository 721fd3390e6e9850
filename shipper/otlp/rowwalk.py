"""Reading log records one by one, where they have too little in common to be read by column.

The protobuf library is asked about each attribute by itself, and each answer is a new object. So the attributes of a record are
expected to be those of the record before: one look into a dictionary then tells that they are (key, kind, and all three lengths
at once) and where the value ends. What is not as expected is read by the library, and what stood in front of it is remembered.
The library alone decides what is sound and what it means.
"""

from __future__ import annotations

import struct
from typing import Any, TypeAlias

from shipper.errors import MalformedOtlp
from shipper.otlp.columns import LogRow, row_of_parts
from shipper.otlp.decode import attributes_of, value_of
from shipper.otlp.encode import AttributeValue
from shipper.otlp.forms import FLOAT, INTEGER, OTHER, TAGS, TEXT, TRUTH, kind_of
from shipper.otlp.messages import parse_part
from shipper.otlp.wire import field, read_length, read_varint, varint

_COLUMNS_KEPT = 256
_HEADS_KEPT = 512  # of one key, and of bodies
_MOST_COLUMNS = 256  # of a record that the next one is expected to have, too
_DOUBLE = struct.Struct("<d").unpack_from
_TIME = struct.Struct("<Q").unpack_from

Expected: TypeAlias = "tuple[str, int, int, dict[str, int]]"
"""An attribute as it is expected: its key, its kind, how many bytes stand in front of the value, and for each such bytes
(as Latin-1) how many the value has."""


class _Unusual(Exception):
    """A record that is better read by the library."""


def row_at(part: bytes, text: str, start: int, stop: int, layout: list[Expected]) -> LogRow:
    """The record ``part[start:stop]``; behind it is at least a byte more. ``text``: the same bytes as Latin-1.

    ``layout``: the attributes of the record before, none at first; it is changed. Raises `MalformedOtlp`.
    """
    try:
        return _row(part, text, start, stop, layout)
    except (_Unusual, IndexError, struct.error, UnicodeDecodeError):
        return row_of(parse_part("LogRecord", part[start:stop]))


def row_of(log: Any) -> LogRow:
    """A LogRecord message as a row."""
    return LogRow(
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


def _row(part: bytes, text: str, at: int, end: int, layout: list[Expected]) -> LogRow:
    """The record in ``part[at:end]``; behind ``part`` is a byte of no meaning.

    One test for each field, in the order in which our own encoders write them: another order takes another round.
    """
    time_ns = observed_ns = severity = flags = 0
    severity_text = event_name = trace_id = span_id = ""
    body: AttributeValue = None
    attributes: dict[str, AttributeValue] = {}
    embodied = False
    while at < end:
        before = at
        if part[at] == 0x2A and not embodied:
            embodied = True
            size = _BODIES.get(text[at : at + _BODY_HEAD])
            if size is not None:
                start, at = at + _BODY_HEAD, at + _BODY_HEAD + size
                body = line = text[start:at]
                if not line.isascii():
                    body = str(part[start:at], "utf-8")
            else:
                body, at = _body(part, text, at)
        if part[at] == 0x09:
            (time_ns,) = _TIME(part, at + 1)
            at += 9
        if part[at] == 0x10 and part[at + 1] < 0x80:
            severity = part[at + 1]
            at += 2
        if part[at] == 0x1A:
            start, at = _length(part, at + 1)
            severity_text = _string(part, text, start, at)
        if part[at] == 0x4A:
            start, at = _length(part, at + 1)
            trace_id = part[start:at].hex()
        if part[at] == 0x52:
            start, at = _length(part, at + 1)
            span_id = part[start:at].hex()
        if part[at] == 0x32:
            at = _attributes(part, text, at, end, layout, attributes)
        if part[at] == 0x45:
            flags = int.from_bytes(part[at + 1 : at + 5], "little")
            at += 5
        if part[at] == 0x59:
            (observed_ns,) = _TIME(part, at + 1)
            at += 9
        if part[at] == 0x62:
            start, at = _length(part, at + 1)
            event_name = _string(part, text, start, at)
        if at == before:
            raise _Unusual
    if at != end:
        raise _Unusual
    return row_of_parts(
        (time_ns, observed_ns, severity, severity_text, body, attributes, event_name, trace_id, span_id, flags)
    )


def _attributes(
    part: bytes, text: str, at: int, end: int, layout: list[Expected], found: dict[str, AttributeValue]
) -> int:
    """Add the attributes from ``at`` on to those ``found``; where they end."""
    for column in layout:
        name, kind, size, heads = column
        start = at + size
        try:
            at = start + heads[text[at:start]]
        except KeyError:
            return _unexpected(part, text, at, end, layout, layout.index(column), found)
        if kind == TEXT:
            value = text[start:at]
            found[name] = value if value.isascii() else str(part[start:at], "utf-8")
        elif kind == FLOAT:
            (found[name],) = _DOUBLE(part, start)
        elif kind == INTEGER and at - start == 2 and part[start] >= 0x80 > part[start + 1]:
            found[name] = part[start] & 0x7F | part[start + 1] << 7
        else:
            found[name] = _scalar(part, kind, start, at)
    if at < end and part[at] == 0x32:
        at = _unexpected(part, text, at, end, layout, len(layout), found)
    return at


def _unexpected(
    part: bytes,
    text: str,
    at: int,
    end: int,
    layout: list[Expected],
    count: int,
    found: dict[str, AttributeValue],
) -> int:
    """Read attributes of which the first is not the one expected behind ``count`` others, and expect these from now on."""
    columns = layout[:count]
    while at < end and part[at] == 0x32:
        length = part[at + 3]
        column = _SHORT.get(text[at + 3 : at + 5 + length] + text[at + 6 + length])
        if column is not None:
            name, kind, size, heads = column
            start = at + size
            more = heads.get(text[at:start])
            if more is not None:
                at = start + more
                found[name] = _string(part, text, start, at) if kind == TEXT else _scalar(part, kind, start, at)
                columns.append(column)
                continue
        start, stop = _length(part, at + 1)
        pair = parse_part("KeyValue", part[start:stop])
        value = value_of(pair.value)
        found[pair.key] = value
        columns.append(_learned(pair.key, value, part[at:stop]))
        at = stop
    layout[:] = columns[:_MOST_COLUMNS]
    return at


_COLUMNS: dict[tuple[str, int, int], Expected] = {}
_SHORT: dict[str, Expected] = {}  # by what stands around the key, for the attributes with lengths of one byte


def _learned(name: str, value: AttributeValue, encoded: bytes) -> Expected:
    """What to expect in front of a value like this one. ``encoded``: the attribute, as a field of a LogRecord."""
    kind = kind_of(value)
    if kind == OTHER:
        return name, kind, 0, {}
    size = _size(value)
    string = TAGS[kind] + (varint(size) if kind == TEXT else b"")
    inside = b"\x12" + varint(len(string) + size) + string
    key = field(1, name.encode())
    head = b"".join((b"\x32", varint(len(key) + len(inside) + size), key, inside))
    if not encoded.startswith(head) or len(head) + size != len(encoded):
        return name, OTHER, 0, {}  # some other encoder's, which takes more bytes than it needs
    known = name, kind, len(head)
    if known not in _COLUMNS:
        if len(_COLUMNS) >= _COLUMNS_KEPT:
            _COLUMNS.clear()
            _SHORT.clear()
        column: Expected = (name, kind, len(head), {})
        _COLUMNS[known] = column
        if len(encoded) < 0x80:
            _SHORT[str(key[1:] + b"\x12" + TAGS[kind], "latin-1")] = column
    column = _COLUMNS[known]
    if len(column[3]) < _HEADS_KEPT:
        column[3][str(head, "latin-1")] = size
    return column


def _size(value: AttributeValue) -> int:
    """How many bytes hold a text, a number or a truth value."""
    if isinstance(value, str):
        return len(value.encode())
    return len(varint(value)) if isinstance(value, int) else 8


def _scalar(part: bytes, kind: int, start: int, stop: int) -> AttributeValue:
    """The number or truth value in ``part[start:stop]``."""
    if kind == FLOAT:
        number: float = _DOUBLE(part, start)[0]
        return number
    value = part[start]
    if stop - start > 1 or value >= 0x80:
        value, behind = read_varint(part, start, stop)
        if behind != stop:
            raise _Unusual
    if kind == TRUTH:
        return value != 0
    return value if value < 1 << 63 else value - (1 << 64)


_BODY_HEAD = 6
_BODIES: dict[str, int] = {}
"""What stands in front of a text that is a body (as Latin-1), and how long the text is: those of 128 to 16,380 bytes."""


def _body(part: bytes, text: str, tag: int) -> tuple[AttributeValue, int]:
    """The body whose tag is at ``tag``, and where it ends."""
    start, stop = _length(part, tag + 1)
    if start < stop and part[start] == 0x0A:
        at, end = _length(part, start + 1)
        if end == stop:
            if at == tag + _BODY_HEAD:
                if len(_BODIES) >= _HEADS_KEPT:
                    _BODIES.clear()
                _BODIES[text[tag:at]] = stop - at
            return _string(part, text, at, stop), stop
    return value_of(parse_part("AnyValue", part[start:stop])), stop


def _string(part: bytes, text: str, start: int, stop: int) -> str:
    value = text[start:stop]
    return value if value.isascii() else str(part[start:stop], "utf-8")


def _length(part: bytes, at: int) -> tuple[int, int]:
    """Where what the length at ``at`` belongs to begins and ends."""
    length = part[at]
    if length < 0x80:
        return at + 1, at + 1 + length
    if part[at + 1] < 0x80:
        return at + 2, at + 2 + (length & 0x7F | part[at + 1] << 7)
    try:
        return read_length(part, at, len(part))
    except MalformedOtlp:
        raise _Unusual from None
