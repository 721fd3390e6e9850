"""Bytes that are meant to be text: where they may be cut, and what they look like to a reader who wants UTF-8."""

from __future__ import annotations

NEAR = 3  # a border is moved back by at most this much to keep a UTF-8 sequence whole


def whole(data: bytes, end: int) -> int:
    """``end``, or the beginning of the UTF-8 sequence that the bytes before ``end`` leave unfinished."""
    tail = data[max(0, end - NEAR) : end]
    for back in range(1, len(tail) + 1):
        byte = tail[-back]
        if byte < 0x80:
            return end
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4 if byte < 0xF8 else 0
            return end - back if length > back else end
    return end


def is_utf8(data: bytes) -> bool:
    """Whether ``data`` is valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
