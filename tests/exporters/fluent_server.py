"""A server of the Fluent forward protocol that takes nothing which Fluentd or Fluent Bit would not take, and that can misbehave.

What it insists on is what the specification says (Fluentd wiki, "Forward Protocol Specification v1") and what Fluent Bit's
``in_forward`` checks beyond: a chunk that is text, a payload of 6,144,000 bytes at most, gzip that is one.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import ssl
import struct
from dataclasses import dataclass
from typing import Any

import msgpack

from shipper.testing.contract import Fault
from tests.exporters.stream_server import FaultyStreamServer, finish, speak_http

MOST = 6_144_000
KEY = "correct horse battery staple"
Extension = msgpack.ExtType


@dataclass(frozen=True)
class Taken:
    """A message that was stored."""

    tag: str
    chunk: str
    entries: list[tuple[int, dict[str, Any]]]  # nanoseconds, record
    compressed: bool

    def texts(self, key: str = "message") -> tuple[Any, ...]:
        return tuple(record[key] for _, record in self.entries)


class FluentServer(FaultyStreamServer):
    """Listens on loopback. ``key``: empty for a server without security; ``users``: with passwords."""

    def __init__(
        self, *, key: str = "", users: dict[str, str] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(tls=tls)
        self.key = key
        self.users = users or {}
        self.script: dict[int, str | bytes] = {}
        self.taken: list[Taken] = []
        self.messages = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `StreamServer.talk`."""
        unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=64 << 20)
        if self.fault is Fault.STRANGER:
            await speak_http(reader, writer)
            return
        if (self.key or self.fault is Fault.MISCONFIGURED) and not await self._let_in(reader, writer, unpacker):
            return
        while True:
            message = await _next(reader, unpacker)
            taken = check(message)
            number, self.messages = self.messages, self.messages + 1
            if not await self._answer(taken, self.script.get(number, ""), writer):
                return

    async def _answer(self, taken: Taken, step: str | bytes, writer: asyncio.StreamWriter) -> bool:
        fault = self.fault
        if fault in (Fault.STUCK, Fault.SLOW):
            await self._released.wait()
        if step == "drop" or fault is Fault.STUCK:
            return False
        if fault not in (Fault.LYING, Fault.BROKEN):
            self.taken.append(taken)
        if step in ("lose", "mute"):
            return step == "mute"
        ack = step if isinstance(step, bytes) else msgpack.packb({"ack": taken.chunk})
        assert isinstance(ack, bytes)
        if fault is Fault.BROKEN:
            writer.write(ack[: len(ack) // 2])
            await finish(writer)
            return False
        writer.write(ack)
        await writer.drain()
        return True

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, unpacker: Any) -> bool:
        key = (self.key + ("" if self.fault is not Fault.MISCONFIGURED else " changed")).encode()
        nonce, auth = os.urandom(16), os.urandom(16) if self.users else b""
        writer.write(msgpack.packb(["HELO", {"nonce": nonce, "auth": auth, "keepalive": True}]))
        if not self.key:  # whoever has no key sends what it came to send, and is not answered
            await reader.read()
            return False
        said = await _next(reader, unpacker)
        assert len(said) == 6
        assert said[0] == "PING", said
        _, host, salt, digest, user, password = said
        reason = ""
        if digest != _digest(salt.encode(), host.encode(), nonce, key):
            reason = "shared_key mismatch"
        elif self.users and password != _digest(auth, user.encode(), self.users.get(user, "?").encode()):
            reason = "username/password mismatch"
        if reason:
            writer.write(msgpack.packb(["PONG", False, reason, "", ""]))
            await finish(writer)
            return False
        writer.write(msgpack.packb(["PONG", True, "", "fake", _digest(salt.encode(), b"fake", nonce, key)]))
        return True


async def _next(reader: asyncio.StreamReader, unpacker: Any) -> Any:
    while True:
        try:
            return unpacker.unpack()
        except msgpack.OutOfData:
            data = await reader.read(1 << 16)
            if not data:
                raise ConnectionResetError from None
            unpacker.feed(data)


def check(message: Any) -> Taken:
    """A message as it is to be; fails for any other."""
    assert isinstance(message, list)
    assert len(message) == 3
    tag, packed, option = message
    assert isinstance(tag, str)
    assert tag
    assert isinstance(packed, bytes), "entries of PackedForward are bin"
    assert len(packed) <= MOST, "more than Fluent Bit takes"
    assert set(option) <= {"chunk", "size", "compressed"}
    assert isinstance(option["chunk"], str)
    compressed = "compressed" in option
    if compressed:
        assert option["compressed"] == "gzip"
        packed = gzip.decompress(packed)
    entries = list(msgpack.Unpacker(_fed(packed), strict_map_key=True, max_buffer_size=1 << 30))
    assert option["size"] == len(entries), "size is the number of entries"
    return Taken(tag, option["chunk"], [_entry(entry) for entry in entries], compressed)


class _fed:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data


def _entry(entry: Any) -> tuple[int, dict[str, Any]]:
    assert isinstance(entry, list)
    assert len(entry) == 2
    when, record = entry
    assert isinstance(when, Extension)
    assert when.code == 0
    seconds, nanoseconds = struct.unpack(">II", when.data)
    assert nanoseconds < 10**9
    assert isinstance(record, dict)
    assert all(isinstance(key, str) for key in record)
    return seconds * 10**9 + nanoseconds, record


def _digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()
