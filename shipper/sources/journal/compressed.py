"""Fields that journald compressed: bounded, because a few bytes may claim to be gigabytes."""

from __future__ import annotations

import lzma
import struct

XZ, LZ4, ZSTD = 1, 2, 4
"""Flags of a data object."""

_SIZE = struct.Struct("<Q")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class TooMuch(Exception):
    """It would be larger than asked for; ``size``: how large, 0 where that is not said."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes")
        self.size = size


def decompressed(payload: bytes, flags: int, limit: int) -> bytes:
    """What a payload holds. Raises `TooMuch` beyond ``limit`` bytes, ValueError for what cannot be decompressed."""
    try:
        if flags & ZSTD:
            return _zstd(payload, limit)
        if flags & LZ4:
            return _lz4(payload, limit)
        return _xz(payload, limit)
    except (lzma.LZMAError, struct.error, OSError) as problem:
        raise ValueError(str(problem)) from problem


def _xz(payload: bytes, limit: int) -> bytes:
    reader = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    out = reader.decompress(payload, limit)
    if not reader.eof and len(out) >= limit:
        raise TooMuch(0)
    if not reader.eof:
        raise ValueError("it ends too early")
    return out


def _lz4(payload: bytes, limit: int) -> bytes:
    import cramjam

    (size,) = _SIZE.unpack_from(payload)
    if size > limit:
        raise TooMuch(size)
    try:
        return bytes(cramjam.lz4.decompress_block(payload[_SIZE.size :], output_len=size))
    except cramjam.DecompressionError as problem:
        raise ValueError(str(problem)) from problem


def _zstd(payload: bytes, limit: int) -> bytes:
    import cramjam

    size = zstd_size(payload)
    if size > limit:
        raise TooMuch(size)
    out = bytearray(size)
    try:
        written = cramjam.zstd.decompress_into(payload, out)
    except cramjam.DecompressionError as problem:
        raise ValueError(str(problem)) from problem
    return bytes(out[:written])


def zstd_size(frame: bytes) -> int:
    """How large the content of a frame is, as its header says (RFC 8878, 3.1.1). Raises ValueError where it does not say it."""
    if not frame.startswith(_ZSTD_MAGIC) or len(frame) < 14:
        raise ValueError("it is no zstd frame")
    descriptor = frame[4]
    single = bool(descriptor & 0x20)
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    length = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    if not length:
        raise ValueError("its size is not said")
    return int.from_bytes(frame[at : at + length], "little") + (256 if length == 2 else 0)
