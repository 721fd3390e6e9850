"""A sink that is no bottleneck: a process of its own that takes OTLP/HTTP, answers, and decodes only afterwards.

It keeps the bodies as they came with the moment of its answer, so that what arrived and how late is worked out when
nothing is being measured any more. ``capacity`` in bench/cases.py shows how fast it is by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import time
import zlib
from dataclasses import dataclass

from bench.requests import Requests

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Taken:
    """What was received so far."""

    keep: bool
    delay: float
    raw_rate: float
    records: int = 0
    raw_bytes: int = 0
    wire_bytes: int = 0
    requests: int = 0
    busy_until: float = 0.0
    first_ns: int = 0
    last_ns: int = 0

    def __post_init__(self) -> None:
        self.kept: list[tuple[int, bytes]] = []


class Connection(Requests):
    """Takes what the exporters send, and answers as late as it is told to."""

    def __init__(self, taken: Taken) -> None:
        super().__init__()
        self._taken = taken

    def take(self, method: bytes, path: bytes, head: dict[bytes, bytes], body: bytes) -> None:
        if method == b"POST":
            self._answer_later(head, body)
        else:
            self._transport.write(NOT_FOUND)

    def _answer_later(self, head: dict[bytes, bytes], body: bytes) -> None:
        taken = self._taken
        raw = records = 0
        for entry in head.get(b"shipper-batches", b"").split(b","):
            parts = entry.strip().split(b":")
            # a fifth part names the kind: account and life do not count; nor do the sidecar's own numbers
            if len(parts) == 4 and parts[0] != b"metrics":
                raw += int(parts[2])
                records += int(parts[3])
        now = time.monotonic()
        wait = taken.delay
        if taken.raw_rate:
            taken.busy_until = max(now, taken.busy_until) + raw / taken.raw_rate
            wait += taken.busy_until - now
        loop = asyncio.get_running_loop()
        loop.call_later(wait, self._answer, body, raw, records) if wait else self._answer(body, raw, records)

    def _answer(self, body: bytes, raw: int, records: int) -> None:
        taken = self._taken
        self._transport.write(ANSWER)
        now = time.time_ns()
        taken.requests += 1
        taken.records += records
        taken.raw_bytes += raw
        taken.wire_bytes += len(body)
        if records:
            taken.first_ns = taken.first_ns or now
            taken.last_ns = now
        if taken.keep:
            taken.kept.append((now, body))


def unpacked(body: bytes) -> bytes:
    """A body without its compression."""
    return zlib.decompress(body, 31) if body[:2] == b"\x1f\x8b" else body


def delays(kept: list[tuple[int, bytes]]) -> list[float]:
    """Seconds from each line's own ``ns=`` stamp to the answer that acknowledged it."""
    return [(at - int(part[:19])) / 1e9 for at, body in kept for part in unpacked(body).split(b" ns=")[1:]]


def distinct(kept: list[tuple[int, bytes]]) -> int:
    """How many different lines there are, by the file that they came from and their ``line=`` number."""
    found: set[bytes] = set()
    for _, body in kept:
        for batch in re.split(rb"(?=log\.file\.path)", unpacked(body)):
            name = batch[:200].partition(b".log")[0]
            found.update(name + number for number in re.findall(rb"line=(\d+) ", batch))
    return len(found)


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM, then write what was taken as JSON."""
    taken = Taken(arguments.keep, arguments.delay, arguments.raw_rate)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Connection(taken), "127.0.0.1", 0)
    write(arguments.port_file, str(server.sockets[0].getsockname()[1]))

    async def publish() -> None:
        while True:
            write(f"{arguments.out}.live", json.dumps({"records": taken.records}))
            await asyncio.sleep(0.02)

    live = asyncio.ensure_future(publish())
    await stop.wait()
    live.cancel()
    names = ("records", "raw_bytes", "wire_bytes", "requests", "first_ns", "last_ns")
    result: dict[str, object] = {name: getattr(taken, name) for name in names}
    result["delays"] = sorted(delays(taken.kept))
    result["distinct"] = distinct(taken.kept)
    write(arguments.out, json.dumps(result))


def write(path: str, text: str) -> None:
    """Atomically."""
    with open(f"{path}.new", "w", encoding="ascii") as out:
        out.write(text)
    os.rename(f"{path}.new", path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--raw-rate", type=float, default=0.0, help="uncompressed bytes a second; 0: as fast as it can")
    parser.add_argument("--keep", action="store_true", help="keep bodies, to work out delays")
    asyncio.run(serve(parser.parse_args()))
