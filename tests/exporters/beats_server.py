"""A server of the lumberjack protocol, version 2, that takes nothing which Logstash would not take, and that can misbehave.

Written after ``PROTOCOL.md`` and the parser of logstash-input-beats, and after the server in elastic/go-lumber, whichever of
them is the stricter in a point.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import struct
import zlib
from collections.abc import Callable
from typing import Any

from shipper.testing.contract import Fault
from tests.exporters.stream_server import FaultyStreamServer, finish, speak_http

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
Document = dict[str, Any]
Act = Callable[["BeatsServer", list[Document], asyncio.StreamWriter], bool]
"""What becomes of a window: stores, answers, and says whether the connection goes on."""


def ack(count: int) -> bytes:
    """The acknowledgement of so many documents."""
    return b"2A" + struct.pack(">I", count)


def take(server: BeatsServer, documents: list[Document], writer: asyncio.StreamWriter) -> bool:
    """As Logstash does it."""
    server.taken.append(documents)
    writer.write(ack(len(documents)))
    return True


def part(count: int) -> Act:
    """Store and acknowledge so many documents of the window, then close."""

    def act(server: BeatsServer, documents: list[Document], writer: asyncio.StreamWriter) -> bool:
        server.taken.append(documents[:count])
        writer.write(ack(min(count, len(documents))))
        return False

    return act


def say(data: bytes, *, go_on: bool = True) -> Act:
    """Store nothing, and answer this."""

    def act(_server: BeatsServer, _documents: list[Document], writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        return go_on

    return act


def slowly(*before: int) -> Act:
    """Store all, and acknowledge these counts before the whole; 0 is a sign of life."""

    def act(server: BeatsServer, documents: list[Document], writer: asyncio.StreamWriter) -> bool:
        writer.write(b"".join(map(ack, before)))
        return take(server, documents, writer)

    return act


def lose(server: BeatsServer, documents: list[Document], _writer: asyncio.StreamWriter) -> bool:
    """Store all, and close without a word."""
    server.taken.append(documents)
    return False


class BeatsServer(FaultyStreamServer):
    """Listens on loopback. ``script``: what becomes of the next windows, by number from 0; others are taken."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.script: dict[int, Act] = {}
        self.taken: list[list[Document]] = []
        self.windows = 0
        self.waiting = 0  # windows that came in and are held

    @property
    def messages(self) -> list[str]:
        """The texts of all that was stored."""
        return [document["message"] for documents in self.taken for document in documents]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `StreamServer.talk`."""
        if self.fault is Fault.STRANGER:
            await speak_http(reader, writer)
            return
        while True:
            documents = await window(reader)
            number, self.windows = self.windows, self.windows + 1
            if not self._act(number, documents, writer, await self._held()):
                break
            await writer.drain()
        await writer.drain()
        if self.tls is None:  # what is still on its way is read: else the kernel would reset, and what was said be lost
            writer.write_eof()
            await reader.read()
        await finish(writer)

    async def _held(self) -> Fault | None:
        """The fault that stood when a window came; waits as long as that means waiting."""
        fault = self.fault
        if fault in (Fault.STUCK, Fault.SLOW):
            self.waiting += 1
            await self._released.wait()
        return fault

    def _act(self, number: int, documents: list[Document], writer: asyncio.StreamWriter, fault: Fault | None) -> bool:
        whole = ack(len(documents))
        match fault:
            case Fault.STUCK:
                return False
            case Fault.BROKEN:
                return say(whole[:3], go_on=False)(self, documents, writer)
            case Fault.LYING:
                return say(whole)(self, documents, writer)
        return self.script.get(number, take)(self, documents, writer)


async def window(reader: asyncio.StreamReader) -> list[Document]:
    """The next window; fails for one that is not as it is to be."""
    head = await reader.readexactly(6)
    assert head[:2] == b"2W", head
    count = int.from_bytes(head[2:], "big")
    assert 0 < count <= 2048, "Logstash's memory is laid out for what Beats send"
    frames = await reader.readexactly(2)
    if frames == b"2C":
        size = int.from_bytes(await reader.readexactly(4), "big")
        unpack = zlib.decompressobj()
        data = unpack.decompress(await reader.readexactly(size))
        assert unpack.eof, "a compressed frame is one whole zlib stream"
        assert not unpack.unused_data
        assert len(data) < 4 << 20, "more than a piece of Netty's memory"
        inner = asyncio.StreamReader(limit=1 << 30)
        inner.feed_data(data)
        inner.feed_eof()
        documents = [await _document(inner, number) for number in range(1, count + 1)]
        assert not await inner.read(1), "nothing but whole frames"
        return documents
    return [await _document(reader, 1, frames)] + [await _document(reader, number) for number in range(2, count + 1)]


async def _document(reader: asyncio.StreamReader, number: int, kind: bytes = b"") -> Document:
    kind = kind or await reader.readexactly(2)
    assert kind == b"2J", kind
    sequence, size = struct.unpack(">II", await reader.readexactly(8))
    assert sequence == number
    document = json.loads(await reader.readexactly(size))
    assert isinstance(document, dict)
    assert TIME.fullmatch(document["@timestamp"])
    assert isinstance(document["message"], str)
    assert {"_id", "beat", "type", "version"} == document["@metadata"].keys()
    return document
