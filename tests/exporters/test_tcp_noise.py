"""Whatever comes over a connection, a send ends with an error that says what to do, or because everything was acknowledged."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter
from shipper.errors import Retryable, Unusable
from shipper.testing.clock import FakeClock
from shipper_exporters.forward import ForwardExporter, ForwardSettings
from shipper_exporters.logstash import LogstashExporter, LogstashSettings
from tests.exporters.beats_server import ack
from tests.exporters.log_kit import context, payload, request
from tests.exporters.tcp_kit import serving

SENT = request((payload([{"body": "line"}]), 1))
CHUNK = f"{SENT.id}.0"
RIGHT = {"forward": bytes(msgpack.packb({"ack": CHUNK})), "logstash": ack(1)}


def exporter(kind: str, port: int, clock: FakeClock) -> Exporter:
    endpoint = f"127.0.0.1:{port}"
    if kind == "forward":
        return ForwardExporter("t", ForwardSettings(endpoint=endpoint), context(clock))
    return LogstashExporter("t", LogstashSettings(endpoint=endpoint), context(clock))


async def end_of(kind: str, answer: bytes, pieces: int) -> Accepted | Exception:
    """What a send ends with whose server says this, in so many pieces, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        size = max(1, len(answer) // pieces)
        for at in range(0, len(answer), size):
            writer.write(answer[at : at + size])
            await asyncio.sleep(0)
        writer.write_eof()
        await reader.read()

    clock = FakeClock()
    async with asyncio.timeout(60), serving(serve) as port:
        sender = exporter(kind, port, clock)
        await sender.start()
        try:
            return await sender.send(sender.prepare(SENT), Deadline(clock))
        except Exception as error:
            return error
        finally:
            await sender.aclose()


noise = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda a, b: a + b, st.sampled_from([b"2A", b"2", b"\x81\xa3ack", b"\x92\xa4HELO"]), st.binary(max_size=20)
    ),
    st.builds(
        msgpack.packb, st.recursive(st.integers() | st.text(max_size=4) | st.none(), st.lists, max_leaves=5)
    ).filter(bool),
)


@pytest.mark.parametrize("kind", ["forward", "logstash"])
@settings(max_examples=40, deadline=None)
@given(answer=noise, pieces=st.integers(1, 4))
@example(b"\xdf\xff\xff\xff\xff", 1)
@example(b"\x93" * 2000, 1)
@example(b"\xc7\x0c\xff" + bytes(12), 1)
@example(b"\x81\xd6\xff\xff\xff\xff\xff\x00", 1)
def test_noise_is_no_acknowledgement(kind: str, answer: bytes, pieces: int) -> None:
    """Bytes of any kind end the attempt with `Retryable` or `Unusable`; nothing is taken for an answer that is none."""
    ended: Any = asyncio.run(end_of(kind, answer, pieces))
    if isinstance(ended, Accepted):
        assert kind == "logstash"
        assert ack(1) in answer
    else:
        assert isinstance(ended, Retryable | Unusable)
        assert str(ended).isprintable()


@pytest.mark.parametrize("kind", ["forward", "logstash"])
@pytest.mark.parametrize("pieces", [1, 100])
def test_an_answer_in_pieces_is_one(kind: str, pieces: int) -> None:
    """However the network cuts it."""
    assert asyncio.run(end_of(kind, RIGHT[kind], pieces)) == Accepted()


@pytest.mark.parametrize("kind", ["forward", "logstash"])
def test_a_connection_on_which_an_answer_was_left_is_not_used_again(kind: str) -> None:
    """The beginning of another answer behind ours would be taken for the answer to what is sent next."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(1 << 16)
        writer.write(RIGHT[kind] + RIGHT[kind][:3])
        await reader.read()

    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), serving(serve) as port:
            sender = exporter(kind, port, clock)
            await sender.start()
            for _ in range(2):
                assert await sender.send(sender.prepare(SENT), Deadline(clock)) == Accepted()
            await sender.aclose()

    asyncio.run(run())
    assert connections == 2
