"""Sends prebuilt OTLP requests as fast as they are taken: ``python -m bench.otlp_client KIND PORT BYTES RECORDS CODING``.

KIND is ``logs`` or ``traces`` over HTTP, or ``grpc`` (logs). Requests are made before the first is sent, by the protobuf
library, as a stock SDK makes them: attributes, trace ids, a resource. Prints the raw bytes and the records sent.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import sys
import time
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

DIFFERENT = 8  # requests, sent in turn
CONNECTIONS = 4
RNG = random.Random(1)


def logs(records: int) -> bytes:
    request = ExportLogsServiceRequest()
    envelope = request.resource_logs.add()
    resource(envelope.resource)
    scope = envelope.scope_logs.add()
    scope.scope.name = "checkout"
    for n in range(records):
        record = scope.log_records.add(
            time_unix_nano=1_700_000_000_000_000_000 + n,
            observed_time_unix_nano=1_700_000_000_000_000_000 + n,
            severity_number=9,
            severity_text="INFO",
            trace_id=RNG.randbytes(16),
            span_id=RNG.randbytes(8),
        )
        record.body.string_value = (
            f"request handled for user {RNG.randrange(10**6)} in {RNG.random() * 100:.2f} ms, cart {RNG.getrandbits(64):016x},"
            f" {RNG.choice(('from cache', 'from database', 'partly from cache'))}, region eu-west-1"
        )
        attributes(record)
    return request.SerializeToString()


def traces(records: int) -> bytes:
    request = ExportTraceServiceRequest()
    envelope = request.resource_spans.add()
    resource(envelope.resource)
    scope = envelope.scope_spans.add()
    scope.scope.name = "checkout"
    for n in range(records):
        span = scope.spans.add(
            trace_id=RNG.randbytes(16),
            span_id=RNG.randbytes(8),
            parent_span_id=RNG.randbytes(8),
            name="GET /api/v1/items/{id}",
            kind=RNG.choice((1, 2, 3, 3)),
            start_time_unix_nano=1_700_000_000_000_000_000 + n,
            end_time_unix_nano=1_700_000_000_010_000_000 + n,
        )
        attributes(span)
    return request.SerializeToString()


def resource(message: Any) -> None:
    for key, value in (
        ("service.name", "checkout"),
        ("telemetry.sdk.language", "python"),
        ("telemetry.sdk.name", "opentelemetry"),
    ):
        message.attributes.add(key=key).value.string_value = value


def attributes(message: Any) -> None:
    message.attributes.add(key="http.request.method").value.string_value = "GET"
    message.attributes.add(key="http.route").value.string_value = "/api/v1/items/{id}"
    message.attributes.add(key="url.path").value.string_value = f"/api/v1/items/{RNG.randrange(10**5)}"
    message.attributes.add(key="http.response.status_code").value.int_value = 200


async def http(port: int, path: str, bodies: list[bytes], turns: asyncio.Queue[int], coding: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    more = "Content-Encoding: gzip\r\n" if coding == "gzip" else ""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n{more}Content-Length: "
    while not turns.empty():
        body = bodies[turns.get_nowait()]
        while True:
            writer.write(head.encode() + f"{len(body)}\r\n\r\n".encode())
            writer.write(body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            if b" 200 " in answer[:16]:
                break
            await asyncio.sleep(0.05)  # it asks to come again: its spool is full, or too much is under way
    writer.close()


async def grpc(port: int, bodies: list[bytes], turns: asyncio.Queue[int], coding: str) -> None:
    import grpc as library

    how = library.Compression.Gzip if coding == "gzip" else library.Compression.NoCompression
    async with library.aio.insecure_channel(f"127.0.0.1:{port}", compression=how) as channel:
        call = channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
        while not turns.empty():
            body = bodies[turns.get_nowait()]
            while True:
                try:
                    await call(body)
                    break
                except library.aio.AioRpcError as error:
                    if error.code() is not library.StatusCode.UNAVAILABLE:
                        raise
                    await asyncio.sleep(0.05)


async def main() -> None:
    kind, port, size, records, coding = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    bodies = [traces(records) if kind == "traces" else logs(records) for _ in range(DIFFERENT)]
    raw = sum(map(len, bodies)) / len(bodies)
    requests = max(CONNECTIONS, round(size / raw))
    turns: asyncio.Queue[int] = asyncio.Queue()
    for n in range(requests):
        turns.put_nowait(n % DIFFERENT)
    begun = time.monotonic()
    if kind == "grpc":
        await asyncio.gather(*(grpc(port, bodies, turns, coding) for _ in range(CONNECTIONS)))
    else:
        wire = [gzip.compress(body, 6) for body in bodies] if coding == "gzip" else bodies
        begun = time.monotonic()
        await asyncio.gather(*(http(port, f"/v1/{kind}", wire, turns, coding) for _ in range(CONNECTIONS)))
    print(int(requests * raw), requests * records, time.monotonic() - begun, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
