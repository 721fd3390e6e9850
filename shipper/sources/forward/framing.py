"""Where one message of the forward protocol ends and the next begins: MessagePack has no frames around its values.

Bytes are walked over, not decoded, until a message is complete: nothing that a client declares (a list of a billion entries)
takes memory before it is there, and what is remembered of an unfinished message is its bytes alone.
"""

from __future__ import annotations

from collections.abc import Generator

import msgpack

from shipper.errors import ShipperError
from shipper.sources.forward.values import BROKEN

_LARGE = 1 << 20  # a walker that held this much is replaced: it does not give memory back


class BrokenMessage(ShipperError):
    """What a client sent is no message of the forward protocol. ``cause`` is a fixed word, a metric label."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class Framer:
    """Cuts the bytes of one connection into messages of at most ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._walker = walker()
        self._begun = 0  # where, in all that the walker was fed, the held bytes begin
        self._most = 0

    @property
    def held(self) -> int:
        """Bytes of an unfinished message."""
        return len(self._held)

    def feed(self, data: bytes) -> None:
        """More bytes came."""
        self._held += data
        self._walker.feed(data)
        self._most = max(self._most, len(self._held))

    def messages(self) -> Generator[bytes]:
        """The messages that are complete. Raises `BrokenMessage` for bytes that are no MessagePack, or too many.

        Close it before `held` is asked for: only then the bytes of what was given are let go of.
        """
        taken = 0
        try:
            while taken < len(self._held):
                self._walker.skip()
                end = self._walker.tell() - self._begun
                self._check(end - taken)
                begin, taken = taken, end
                yield bytes(memoryview(self._held)[begin:end])
        except msgpack.OutOfData:
            self._check(len(self._held) - taken)
        except BROKEN as error:
            raise BrokenMessage("malformed", f"what came is no MessagePack: {said(error)}") from error
        finally:
            del self._held[:taken]
            self._begun += taken
        if not self._held and self._most > _LARGE:
            self._walker, self._begun, self._most = walker(), 0, 0

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise BrokenMessage("too_large", f"a message is larger than {self._limit} bytes")


def walker() -> msgpack.Unpacker:
    """Walks over values. Whoever feeds it sees to it that it is not fed too much."""
    return msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=(1 << 31) - 1)


def said(error: Exception) -> str:
    """What the library says, or the name of what it raises without a word."""
    return str(error)[:200] or type(error).__name__
