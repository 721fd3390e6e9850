"""Messages in a stream of bytes: RFC 6587, both ways of it, found out anew for each message.

Octet counting: ``34 <13>...``, the length first. Otherwise a message ends at a line feed, or at the zero byte that glibc and
Python put there. A message that is too long is given in parts: so nothing larger is held, and nothing is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from shipper.shape.text import whole

_COUNT = re.compile(rb"([1-9]\d{0,8}) <")
_MAY_BE_COUNT = re.compile(rb"[1-9]\d{0,8} ?")
_END = re.compile(rb"[\n\0]")
_ENDS = b"\r\n\0"


class Piece(NamedTuple):
    """A message, or a part of one: ``part`` counts from 1, and is 0 for a message in one piece."""

    data: bytes
    part: int = 0
    last: bool = True
    cut_off: bool = False  # it ended before it was complete


class Framer:
    """Cuts the bytes of one connection. ``limit``: bytes of a piece."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = b""
        self._looked = 0  # held bytes in which there is no end
        self._left = -1  # bytes of a counted message that are still to come; -1: this one is not counted
        self._part = 0  # parts given of the message that goes on

    @property
    def held(self) -> int:
        """Bytes of an unfinished message."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """What is complete with ``data``."""
        data = self._held + data if self._held else data
        at, size = 0, len(data)
        looked, self._looked = self._looked, 0
        while at < size:
            if self._left < 0 and not self._part:
                if match := _COUNT.match(data, at):
                    self._left, at = int(match[1]), match.end() - 1
                elif _MAY_BE_COUNT.fullmatch(data, at):
                    break
            end = self._counted(at, data) if self._left >= 0 else self._ended(max(at, looked), at, data)
            if end < 0:
                self._looked = size - at
                break
            begin, at = at, end
            if (self._left < 0 and data[end - 1 : end] in (b"\n", b"\0")) or self._left == 0:
                self._left = -1
                piece = data[begin:end].rstrip(_ENDS)
                if piece or self._part:
                    yield self._piece(piece, last=True)
            else:
                yield self._piece(data[begin:end], last=False)
        self._held = data[at:]

    def finish(self) -> Iterator[Piece]:
        """The connection is over: a message without its line end is one all the same."""
        data, self._held = self._held.rstrip(_ENDS), b""
        cut_off, self._left = self._left > 0, -1
        if data or cut_off:
            yield self._piece(data, last=True, cut_off=cut_off)
        self._part = 0

    def _counted(self, at: int, data: bytes) -> int:
        """Where the next piece of a counted message ends; -1 when that has not come."""
        end = at + min(self._left, self._limit)
        if end > len(data):
            return -1
        if end - at < self._left:
            end = whole(data, end)
        self._left -= end - at
        return end

    def _ended(self, looked: int, at: int, data: bytes) -> int:
        """Where the next piece of a message with an end ends, with it; -1 when that has not come."""
        match = _END.search(data, looked, at + self._limit + 1)
        if match is not None:
            return match.end()
        return whole(data, at + self._limit) if len(data) - at > self._limit else -1

    def _piece(self, data: bytes, *, last: bool, cut_off: bool = False) -> Piece:
        part = self._part + 1 if self._part or not last else 0
        self._part = 0 if last else part
        return Piece(data, part, last, cut_off)


def pieces(data: bytes, limit: int, *, cut_off: bool) -> Iterator[Piece]:
    """A datagram, which is one message, in pieces of at most ``limit`` bytes."""
    data = data.rstrip(_ENDS)
    if len(data) <= limit:
        yield Piece(data, cut_off=cut_off)
        return
    at = part = 0
    while at < len(data):
        end = len(data) if len(data) - at <= limit else whole(data, at + limit)
        part += 1
        yield Piece(data[at:end], part, end == len(data), cut_off and end == len(data))
        at = end
