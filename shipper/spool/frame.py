"""The bytes of one frame, and finding frames again in bytes that were damaged. FORMAT.md says why they look like this."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from shipper.spool.checksum import crc32

MAGIC = b"\xf5SHP"  # starts with a byte that no UTF-8 text contains, so text payloads rarely look like a frame
VERSION = 1
_FIELDS = struct.Struct("<4sBBHIIQ")  # magic, version, flags, zero, header length, payload length, position
_CHECKS = struct.Struct("<II")  # CRC32 of fields, header and payload; CRC32 of the fields alone
FIXED = _FIELDS.size + _CHECKS.size  # bytes before a frame's header
MAX_PART = (1 << 32) - 1  # the longest header or payload that the length fields can say


@dataclass(frozen=True, slots=True)
class Frame:
    """One intact frame: its logical positions ``[start, end)``, and the two parts its writer gave.

    ``content`` is the payload where it was read, together with others: not copied, as it often becomes part of something else.
    """

    start: int
    end: int
    header: bytes = field(repr=False)
    content: bytes | memoryview = field(repr=False)

    @property
    def payload(self) -> bytes:
        """A copy of the content."""
        return bytes(self.content)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a frame lies and how long its parts are, as its fixed part says."""

    start: int
    header_length: int
    payload_length: int
    checksum: int

    @property
    def length(self) -> int:
        """Bytes of the whole frame."""
        return FIXED + self.header_length + self.payload_length

    @property
    def end(self) -> int:
        """The position behind the frame."""
        return self.start + self.length


def encode(position: int, header: bytes, payload: bytes) -> tuple[bytes, bytes, bytes]:
    """The frame that starts at ``position``, as the pieces for one ``writev``. Raises ValueError when a part is too long."""
    if len(header) > MAX_PART or len(payload) > MAX_PART:
        raise ValueError("a frame's header and payload are shorter than 4 GiB each")
    fields = _FIELDS.pack(MAGIC, VERSION, 0, 0, len(header), len(payload), position)
    head_check = zlib.crc32(fields)
    check = crc32(payload, zlib.crc32(header, head_check))
    return fields + _CHECKS.pack(check, head_check), header, payload


def read_extent(data: bytes | memoryview, offset: int, position: int) -> Extent | None:
    """The fixed part at ``offset``, or None when what is there is not the fixed part of a frame at ``position``.

    It has a checksum of its own, so its lengths can be trusted before the rest is read, or if the rest is not there.
    """
    if len(data) - offset < FIXED:
        return None
    magic, version, flags, zero, header, payload, stated = _FIELDS.unpack_from(data, offset)
    if magic != MAGIC or version != VERSION or flags or zero or stated != position:
        return None
    check, head_check = _CHECKS.unpack_from(data, offset + _FIELDS.size)
    if zlib.crc32(memoryview(data)[offset : offset + _FIELDS.size]) != head_check:
        return None
    return Extent(position, header, payload, check)


def intact(data: bytes | memoryview, offset: int, extent: Extent) -> bool:
    """True when the whole frame lies in ``data`` at ``offset`` and its checksum is right."""
    if len(data) - offset < extent.length:
        return False
    view = memoryview(data)
    start = zlib.crc32(view[offset : offset + _FIELDS.size])
    return crc32(view[offset + FIXED : offset + extent.length], start) == extent.checksum


def cut_out(data: bytes, offset: int, extent: Extent) -> Frame:
    """The frame at ``offset``, which was found `intact`."""
    body = offset + FIXED
    border = body + extent.header_length
    return Frame(extent.start, extent.end, data[body:border], memoryview(data)[border : offset + extent.length])


def find_next(data: bytes, offset: int, base: int) -> int | None:
    """The offset of the first intact frame at or after ``offset`` in a segment's bytes whose first position is ``base``.

    A frame states its own position, so frames that lie inside a payload (somebody shipped a spool) are not mistaken.
    """
    at = data.find(MAGIC, offset)
    while at >= 0:
        extent = read_extent(data, at, base + at)
        if extent is not None and intact(data, at, extent):
            return at
        at = data.find(MAGIC, at + 1)
    return None


def walk(data: bytes, base: int) -> Iterator[tuple[int, Extent | None]]:
    """Every frame of a segment in order as (offset, extent), and each damaged stretch as (offset, None).

    A damaged stretch reaches to the next item, or to the end of ``data``.
    """
    at = 0
    while at < len(data):
        extent = read_extent(data, at, base + at)
        if extent is not None and intact(data, at, extent):
            yield at, extent
            at += extent.length
            continue
        yield at, None
        found = find_next(data, at + 1, base)
        at = len(data) if found is None else found
