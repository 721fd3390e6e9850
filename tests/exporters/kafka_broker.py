"""A Kafka broker for tests, on a real socket: as much of the protocol as an idempotent producer speaks, and faults on request.

Written from https://kafka.apache.org/protocol: ApiVersions 0, Metadata 1, InitProducerId 0, Produce 3. It keeps what a broker
keeps: a batch whose producer and sequence it has is acknowledged and not stored again, and of one producer and epoch none is
taken out of order.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.exporters.stream_server import StreamServer, finish

PRODUCE, FETCH, METADATA, API_VERSIONS, INIT_PRODUCER = 0, 1, 3, 18, 22
_VERSIONS = {PRODUCE: (3, 3), FETCH: (0, 4), METADATA: (0, 1), API_VERSIONS: (0, 0), INIT_PRODUCER: (0, 0)}
UNSUPPORTED_VERSION, OUT_OF_ORDER = 35, 45


@dataclass
class Stored:
    """A message as it stands in a partition."""

    topic: str
    key: bytes
    value: bytes
    headers: dict[str, bytes]


@dataclass
class Reader:
    """Reads Kafka's fields from bytes."""

    data: bytes
    at: int = 0

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from(f">{form}", self.data, self.at)
        self.at += struct.calcsize(f">{form}")
        return int(value)

    def raw(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self) -> str:
        size = self.take("h")
        return "" if size < 0 else self.raw(size).decode()

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


class KafkaBroker(StreamServer):
    """One broker with one partition a topic. ``fault``: "" or what it does with what is produced.

    "held" answers when `release` is called, "never" not at all, "cut off" breaks off in its answer, "lie" stores nothing; a number is
    the error code that it answers with.
    """

    def __init__(self, topics: Iterable[str] = ("otlp_logs", "otlp_spans", "otlp_metrics")) -> None:
        super().__init__()
        self.topics = frozenset(topics)
        self.fault: str | int = ""
        self.refuses: Callable[[Stored], int] = lambda message: 0  # the error code for the batch that it is in
        self.offered: list[Stored] = []
        self.stored: list[Stored] = []
        self._producers = 0
        self._sequences: dict[tuple[int, int, str], int] = defaultdict(lambda: -1)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `StreamServer.talk`."""
        while True:
            size = struct.unpack(">i", await reader.readexactly(4))[0]
            request = Reader(await reader.readexactly(size))
            answer = await self._answer(request)
            if answer is None:
                continue
            whole = struct.pack(">i", len(answer)) + answer
            if self.fault == "cut off" and request.data[:2] == struct.pack(">h", PRODUCE):
                writer.write(whole[: len(whole) // 2])
                await finish(writer)
                return
            writer.write(whole)

    async def _answer(self, request: Reader) -> bytes | None:
        api, version, correlation = request.take("h"), request.take("h"), request.take("i")
        head = struct.pack(">i", correlation)
        if api == API_VERSIONS:
            error = UNSUPPORTED_VERSION if version else 0
            listed = b"".join(struct.pack(">hhh", key, *range_) for key, range_ in _VERSIONS.items())
            return head + struct.pack(">hi", error, len(_VERSIONS)) + listed
        low, high = _VERSIONS[api]
        assert low <= version <= high, (api, version)
        request.text()  # client id
        if api == METADATA:
            return head + self._metadata(request, version)
        if api == INIT_PRODUCER:
            self._producers += 1
            return head + struct.pack(">ihqh", 0, 0, self._producers, 0)
        assert api == PRODUCE, api
        return await self._produce(head, request)

    def _metadata(self, request: Reader, version: int) -> bytes:
        count = request.take("i")
        wanted = [request.text() for _ in range(count)] if count > 0 else [] if version else sorted(self.topics)
        broker = struct.pack(">i", 1) + text("127.0.0.1") + struct.pack(">i", self.port)
        out = struct.pack(">i", 1) + broker + (struct.pack(">hi", -1, 1) if version else b"")
        out += struct.pack(">i", len(wanted))
        for topic in wanted:
            known = topic in self.topics
            out += struct.pack(">h", 0 if known else 3) + text(topic) + (b"\0" if version else b"")
            partition = struct.pack(">hiiiiii", 0, 0, 1, 1, 1, 1, 1)
            out += struct.pack(">i", int(known)) + (partition if known else b"")
        return out

    async def _produce(self, head: bytes, request: Reader) -> bytes | None:
        request.text()  # transactional id
        acks, _timeout = request.take("h"), request.take("i")
        assert acks == -1, "an idempotent producer waits for all replicas"
        fault, out = self.fault, b""
        topics = request.take("i")
        for _ in range(topics):
            topic, partitions = request.text(), request.take("i")
            out += text(topic) + struct.pack(">i", partitions)
            for _ in range(partitions):
                partition, size = request.take("i"), request.take("i")
                batch = request.raw(size)
                code = fault if isinstance(fault, int) else 0
                if fault in ("", "held", "cut off"):
                    code = self._store(topic, batch)
                out += struct.pack(">ihqq", partition, code, len(self.stored), -1)
        if fault in ("held", "never"):
            await self._released.wait()
            if fault == "never":
                return None
        return head + struct.pack(">i", topics) + out + struct.pack(">i", 0)

    def _store(self, topic: str, batch: bytes) -> int:
        """A record batch of format 2; its CRC is checked by nobody here. The code to answer with."""
        reader = Reader(batch, 8 + 4 + 4)
        assert reader.take("b") == 2
        reader.take("I")
        attributes = reader.take("h")
        reader.at += 4 + 8 + 8
        producer, epoch, sequence, count = reader.take("q"), reader.take("h"), reader.take("i"), reader.take("i")
        assert producer > 0, "only an idempotent producer has an id"
        if sequence != self._sequences[producer, epoch, topic] + 1:
            return 0 if sequence <= self._sequences[producer, epoch, topic] else OUT_OF_ORDER
        records = batch[reader.at :]
        assert attributes & 7 in (0, 1), "this broker knows gzip only"
        reader = Reader(zlib.decompress(records, 31) if attributes & 7 else records)
        found: list[Stored] = []
        for _ in range(count):
            reader.varint()
            reader.raw(1)
            reader.varint(), reader.varint()
            key = reader.raw(reader.varint())
            value = reader.raw(reader.varint())
            headers = {}
            for _ in range(reader.varint()):
                name = reader.raw(reader.varint()).decode()
                headers[name] = reader.raw(reader.varint())
            found.append(Stored(topic, key, value, headers))
        self.offered += found
        if code := max(map(self.refuses, found)):
            return code
        self._sequences[producer, epoch, topic] = sequence + count - 1
        self.stored += found
        return 0
