"""Destinations that take everything at once: what an exporter costs is measured against these, each in its own protocol.

``python -m bench.null PORT_FILE [SECONDS]`` serves HTTP, forward, lumberjack and Kafka (librdkafka's broker for tests) on four ports
until it is ended. Answers are those of a server that stored everything; nothing is kept. After SECONDS (0) Splunk's indexer
acknowledges what it took.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import struct
import sys
import time
import zlib
from collections.abc import Callable

import msgpack
from confluent_kafka import Producer

from bench.requests import Requests

_JSON = b"application/json"
_ACK = struct.Struct(">2sI").pack
_U32 = struct.Struct(">I")


class Http(Requests):
    """What is answered depends on the path."""

    def take(self, method: bytes, path: bytes, head: dict[bytes, bytes], body: bytes) -> None:
        status, kind, answer = _answer(method, path, body)
        self._transport.write(
            b"HTTP/1.1 %d X\r\nContent-Type: %s\r\nX-Elastic-Product: Elasticsearch\r\nContent-Length: %d\r\n\r\n%s"
            % (status, kind, len(answer), answer)
        )


def _answer(method: bytes, path: bytes, body: bytes) -> tuple[int, bytes, bytes]:
    """Status, content type and body."""
    if path.endswith(b"/_bulk"):
        return 200, _JSON, _bulk(body)
    if path.endswith((b"/loki/api/v1/push", b"/api/v1/write")):
        return 204, b"text/plain", b""
    if path.endswith(b"/services/collector/ack"):
        return 200, _JSON, _INDEXER.acknowledged(json.loads(unpacked(body))["acks"])
    if path.endswith(b"/services/collector/health"):
        return 200, _JSON, b'{"text":"HEC is healthy","code":17}'
    if b"/services/collector" in path:
        return 200, _JSON, b'{"text":"Success","code":0,"ackId":%d}' % _INDEXER.took()
    if path.endswith(b"/api/v2/logs"):
        return 202, _JSON, b"{}"
    if path.startswith(b"/metrics/job"):
        return 200, b"text/plain", b""
    if b"/v1/" in path and method == b"POST":
        return 200, b"application/x-protobuf", b""
    if path == b"/":
        return 200, _JSON, b'{"version":{"number":"8.15.0"},"tagline":"You Know, for Search"}'
    return 404, b"text/plain", b""


class Indexer:
    """Splunk's: what it took is indexed ``after`` so many seconds."""

    def __init__(self) -> None:
        self.after = 0.0
        self._indexed: list[float] = []  # when, by id

    def took(self) -> int:
        """The id to ask by."""
        self._indexed.append(time.monotonic() + self.after)
        return len(self._indexed) - 1

    def acknowledged(self, asked: list[int]) -> bytes:
        """The answer to a question."""
        now, count = time.monotonic(), len(self._indexed)
        return json.dumps({"acks": {str(one): one < count and self._indexed[one] <= now for one in asked}}).encode()


_INDEXER = Indexer()
_ID = re.compile(rb'"_id":"([^"]+)"')


def _bulk(body: bytes) -> bytes:
    items = b"},".join(
        b'{"create":{"_id":"%s","status":201,"result":"created"}' % id_ for id_ in _ID.findall(unpacked(body))
    )
    return b'{"took":1,"errors":false,"items":[%s}]}' % items


def unpacked(body: bytes) -> bytes:
    """A body without its compression."""
    return zlib.decompress(body, 31) if body[:2] == b"\x1f\x8b" else body


class Forward(asyncio.Protocol):
    """Acknowledges each message that has a chunk."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(raw=True, max_buffer_size=1 << 30)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unpacker.feed(data)
        for message in self._unpacker:
            options = message[-1]
            if isinstance(options, dict) and b"chunk" in options:
                self._transport.write(bytes(msgpack.packb({"ack": options[b"chunk"]})))


class Lumberjack(asyncio.Protocol):
    """Acknowledges each window when all of it is there."""

    def __init__(self) -> None:
        self._buffer = b""
        self._last = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 6:
            kind, number = self._buffer[1:2], _U32.unpack_from(self._buffer, 2)[0]
            if kind == b"W":
                self._window, size = number, 6
            elif kind == b"C":
                size = 6 + number
            else:
                size = 10 + _U32.unpack_from(self._buffer, 6)[0] if len(self._buffer) >= 10 else 1 << 62
            if len(self._buffer) < size:
                return
            self._buffer = self._buffer[size:]
            if kind == b"C" or (kind == b"J" and number == self._window):
                self._transport.write(_ACK(b"2A", self._window))


async def serve(port_file: str) -> None:
    """Serve until it is ended."""
    loop = asyncio.get_running_loop()
    kinds: list[Callable[[], asyncio.Protocol]] = [Http, Forward, Lumberjack]
    servers = [await loop.create_server(kind, "127.0.0.1", 0) for kind in kinds]
    kafka = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    (broker,) = kafka.list_topics(timeout=10).brokers.values()
    ports = [*(server.sockets[0].getsockname()[1] for server in servers), broker.port]
    with open(f"{port_file}.new", "w", encoding="ascii") as out:
        out.write(" ".join(map(str, ports)))
    os.rename(f"{port_file}.new", port_file)
    await asyncio.Event().wait()


if __name__ == "__main__":
    _INDEXER.after = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    asyncio.run(serve(sys.argv[1]))
