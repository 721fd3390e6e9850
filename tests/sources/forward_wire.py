"""Bytes of the forward protocol as its specification writes them, and a bare client that sends them."""

from __future__ import annotations

import asyncio
import gzip
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgpack

SECOND = 10**9


def pack(value: Any) -> bytes:
    """A value as MessagePack."""
    return bytes(msgpack.packb(value, use_bin_type=True))


def event_time(nanoseconds: int) -> msgpack.ExtType:
    """An EventTime: extension type 0, seconds and nanoseconds."""
    return msgpack.ExtType(0, struct.pack(">II", *divmod(nanoseconds, SECOND)))


Entry = list[Any]


def message(tag: str, when: Any, record: Any, option: Mapping[str, Any] | None = None) -> bytes:
    """Message mode."""
    return pack([tag, when, record] + ([dict(option)] if option is not None else []))


def forward_mode(tag: str, entries: Iterable[Entry], option: Mapping[str, Any] | None = None) -> bytes:
    """Forward mode."""
    return pack([tag, list(entries)] + ([dict(option)] if option is not None else []))


def packed(tag: str, entries: Iterable[Entry], option: Mapping[str, Any] | None = None) -> bytes:
    """PackedForward mode."""
    return pack([tag, b"".join(map(pack, entries))] + ([dict(option)] if option is not None else []))


def compressed(tag: str, members: Iterable[Iterable[Entry]], option: Mapping[str, Any] | None = None) -> bytes:
    """CompressedPackedForward mode: each of ``members`` is a gzip member of its own, one behind the other."""
    data = b"".join(gzip.compress(b"".join(map(pack, entries))) for entries in members)
    return pack([tag, data, {"compressed": "gzip", **(option or {})}])


@dataclass
class Client:
    """A connection, and what has come back on it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __post_init__(self) -> None:
        self._unpacker = msgpack.Unpacker()

    async def send(self, *data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(b"".join(data))
        await self.writer.drain()

    async def answer(self) -> Any:
        """The next answer; None when the server closed the connection."""
        async with asyncio.timeout(20):
            while True:
                for value in self._unpacker:
                    return value
                try:
                    data = await self.reader.read(1 << 16)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._unpacker.feed(data)

    async def ack(self, *data: bytes) -> Any:
        """Send, and return the chunk that is acknowledged."""
        await self.send(*data)
        answer = await self.answer()
        return None if answer is None else answer["ack"]


@asynccontextmanager
async def client(host: str, port: int, **options: Any) -> AsyncIterator[Client]:
    """A connection to a forward receiver; port 0: ``host`` is the path of a unix socket."""
    if port:
        reader, writer = await asyncio.open_connection(host, port, **options)
    else:
        reader, writer = await asyncio.open_unix_connection(host)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
