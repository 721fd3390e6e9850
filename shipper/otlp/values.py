"""Attributes read out of encoded bytes, for those who ask for a few of them and would not load the protobuf library for it.

What is not a plain value (bytes, maps) is None here: nobody asks for its text.
"""

from __future__ import annotations

import struct

from shipper.otlp.encode import AttributeValue
from shipper.otlp.wire import FIXED64, LENGTH, VARINT, expect, fields, read_varint, utf8

_NESTED = 8  # lists in lists; who nests deeper is not asked about
_DOUBLE = struct.Struct("<d").unpack_from


def plain_value(data: bytes, at: int, end: int, depth: int = _NESTED) -> AttributeValue:
    """The AnyValue in ``data[at:end]``: a text, switch or number, or a list of them. Raises `MalformedOtlp`."""
    found: AttributeValue = None
    for number, wire, start, value, stop in fields(data, at, end):  # of several, the last one counts
        if number == 1:
            expect(wire, LENGTH, "a text", start)
            found = utf8(data, value, stop, "a text")
        elif number == 2:
            expect(wire, VARINT, "a switch", start)
            found = read_varint(data, value, stop)[0] != 0
        elif number == 3:
            expect(wire, VARINT, "a whole number", start)
            unsigned = read_varint(data, value, stop)[0]
            found = unsigned - (1 << 64) if unsigned >> 63 else unsigned
        elif number == 4:
            expect(wire, FIXED64, "a number", start)
            found = _DOUBLE(data, value)[0]
        elif number == 5 and depth > 0:
            expect(wire, LENGTH, "a list", start)
            found = [
                plain_value(data, a, b, depth - 1)
                for n, w, _, a, b in fields(data, value, stop)
                if (n, w) == (1, LENGTH)
            ]
        else:
            found = None
    return found


def key_value_at(data: bytes, at: int, end: int) -> tuple[str, AttributeValue]:
    """The KeyValue in ``data[at:end]``. Raises `MalformedOtlp`."""
    key, found = "", None
    for number, wire, start, value, stop in fields(data, at, end):
        if number == 1:
            expect(wire, LENGTH, "a key", start)
            key = utf8(data, value, stop, "a key")
        elif number == 2:
            expect(wire, LENGTH, "a value", start)
            found = plain_value(data, value, stop)
    return key, found


def attributes_in(data: bytes, number: int = 1) -> dict[str, AttributeValue]:
    """The attributes of a message in which they are the fields of that number, by key. Raises `MalformedOtlp`."""
    pairs: dict[str, AttributeValue] = {}
    for found, wire, start, value, stop in fields(data, 0, len(data)):
        if found == number:
            expect(wire, LENGTH, "an attribute", start)
            key, one = key_value_at(data, value, stop)
            pairs[key] = one
    return pairs


def text_in(data: bytes, number: int) -> str:
    """The text that is the field of that number of a message; empty when it is not there. Raises `MalformedOtlp`."""
    for found, wire, start, value, stop in fields(data, 0, len(data)):
        if found == number:
            expect(wire, LENGTH, "a text", start)
            return utf8(data, value, stop, "a text")
    return ""
