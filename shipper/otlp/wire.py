"""The protobuf wire format, as little of it as OTLP needs (https://protobuf.dev/programming-guides/encoding/).

Written here and not taken from the protobuf library because everything but decoding works on undecoded bytes. Reading is
as strict as the library's own parser (upb) or stricter: what `fields` walks without complaint, upb walks too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from shipper.errors import MalformedOtlp

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types. 3 and 4 are the groups of proto2, which OTLP never had; they are refused."""

_TAG_BYTES = 5  # tags and lengths are 32 bit numbers: upb refuses longer ones even when padded with zeros
_VARINT_BYTES = 10
_U64 = (1 << 64) - 1
_FIXED64 = struct.Struct("<Q").pack
_FIXED = {FIXED64: 8, FIXED32: 4}

Field = tuple[int, int, int, int, int]
"""Number, wire type, offset of the tag, offset of the value (behind its length), offset behind the field."""


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


_SMALL = tuple(_varint(n) for n in range(2048))  # every tag of OTLP and most lengths


def varint(n: int) -> bytes:
    """``n`` as a base-128 varint; negative numbers as their 64 bit two's complement (ten bytes)."""
    return _SMALL[n] if 0 <= n < 2048 else _varint(n & _U64)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field: a string, bytes, or a nested message."""
    size = len(payload)
    if size < 2048 and number < 256:
        return _SMALL[number << 3 | 2] + _SMALL[size] + payload
    return b"".join((varint(number << 3 | LENGTH), varint(size), payload))


def varint_field(number: int, value: int) -> bytes:
    """A field of an integer, boolean or enum type."""
    return varint(number << 3 | VARINT) + varint(value)


def fixed64_field(number: int, value: int) -> bytes:
    """A fixed64 field, which is what OTLP keeps times in (nanoseconds since the epoch)."""
    return varint(number << 3 | FIXED64) + _FIXED64(value & _U64)


def fixed32_field(number: int, value: int) -> bytes:
    """A fixed32 field (trace flags)."""
    return varint(number << 3 | FIXED32) + (value & 0xFFFFFFFF).to_bytes(4, "little")


def double_field(number: int, value: float) -> bytes:
    """A double field."""
    return varint(number << 3 | FIXED64) + struct.pack("<d", value)


def text(value: str) -> bytes:
    """UTF-8, always valid: what cannot be encoded (half of a surrogate pair) stays readable as its escape."""
    return value.encode("utf-8", "backslashreplace")


def read_varint(data: bytes, at: int, end: int, most: int = _VARINT_BYTES) -> tuple[int, int]:
    """The varint at ``at`` and the offset behind it; at most ``most`` bytes. Raises `MalformedOtlp`."""
    value = shift = 0
    start = at
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > _U64:
                raise MalformedOtlp("a varint of more than 64 bits", start)
            return value, at
        shift += 7
        if at - start == most:
            raise MalformedOtlp(f"a varint of more than {most} bytes", start)
    raise MalformedOtlp("the data end inside a varint", start)


def read_tag(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Field number, wire type and the offset behind the tag at ``at``. Raises `MalformedOtlp`."""
    if at < end and 8 <= data[at] < 0x80:  # by far the most
        return data[at] >> 3, data[at] & 7, at + 1
    tag, behind = read_varint(data, at, end, _TAG_BYTES)
    if tag >> 32 or not tag >> 3:
        raise MalformedOtlp("a field number out of range", at)
    return tag >> 3, tag & 7, behind


def read_length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the length-delimited value whose length is at ``at`` begins and ends. Raises `MalformedOtlp`."""
    length, behind = read_varint(data, at, end, _TAG_BYTES)
    if length > end - behind:
        raise MalformedOtlp(f"a length of {length} reaches beyond the end", at)
    return behind, behind + length


def skip(data: bytes, wire: int, at: int, end: int) -> tuple[int, int]:
    """Where the value of wire type ``wire`` whose tag ends at ``at`` begins and ends. Raises `MalformedOtlp`."""
    if wire == LENGTH:
        return read_length(data, at, end)
    if wire == VARINT:
        return at, read_varint(data, at, end)[1]
    size = _FIXED.get(wire)
    if size is None:
        raise MalformedOtlp(f"wire type {wire}", at - 1)
    if size > end - at:
        raise MalformedOtlp("the data end inside a fixed-size value", at)
    return at, at + size


def fields(data: bytes, at: int, end: int) -> Iterator[Field]:
    """The fields of the message in ``data[at:end]``, not looking into them. Raises `MalformedOtlp` on the way."""
    while at < end:
        number, wire, behind = read_tag(data, at, end)
        value, stop = skip(data, wire, behind, end)
        yield number, wire, at, value, stop
        at = stop


def expect(wire: int, wanted: int, what: str, at: int) -> None:
    """Raise `MalformedOtlp` unless a known field has the wire type it must have."""
    if wire != wanted:
        raise MalformedOtlp(f"{what} has wire type {wire}", at)


def utf8(data: bytes, at: int, end: int, what: str) -> str:
    """The string ``data[at:end]``. Raises `MalformedOtlp` when it is not valid UTF-8."""
    try:
        return data[at:end].decode()
    except UnicodeDecodeError as error:
        raise MalformedOtlp(f"{what} is not valid UTF-8", at + error.start) from None
