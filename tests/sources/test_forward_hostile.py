"""The forward receiver against bytes that nobody should send: it ends that connection, counts it, and goes on."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shipper.sources.batch import Group
from shipper.sources.forward.framing import BrokenMessage, Framer
from shipper.sources.forward.messages import RECORD_BYTES, open_message
from shipper.sources.forward.own import OwnRecords
from shipper.sources.forward.records import RecordEncoder
from shipper.sources.forward.values import is_text
from tests.sources.forward_wire import Client, client, compressed, forward_mode, message, pack, packed
from tests.sources.spooled_kit import HOST, forward

LIMIT = 1 << 20
GOOD = message("t", 1, {"log": "x"}, {"chunk": "good"})


def read_all(data: bytes, step: int = 1 << 20) -> list[bytes]:
    """Everything a connection does with bytes but storing them: the records. Raises `BrokenMessage` only."""
    framer, encoder, own = Framer(LIMIT), RecordEncoder(("log",)), OwnRecords(HOST)
    group = Group()
    for at in range(0, len(data), step):
        framer.feed(data[at : at + step])
        for one in framer.messages():
            opened = open_message(one, LIMIT)
            if opened is None:
                continue
            for entry in opened.entries:
                if isinstance(entry, list) and len(entry) == 2:
                    own.restore(opened.tag, entry[0], entry[1], 1)
                encoder.encode([entry], opened.tag, opened.metadata, 1, group)
    return group.records


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\xc1", "malformed"),
        (b"GET / HTTP/1.1\r\n\r\n", "malformed"),
        (pack({"a": 1}), "malformed"),
        (pack([]), "malformed"),
        (pack(["t"]), "malformed"),
        (pack([1, 2, 3]), "malformed"),
        (pack(["t", 1]), "malformed"),
        (pack(["t", b"\xc1"]), "malformed"),
        (pack(["t", b"\x92\x01"]), "malformed"),
        (b"\x93\xa1t\x01\x81\x90\x01", "malformed"),  # a list as a key
        (b"\x91" * 2000, "malformed"),
        (b"\xdb\xff\xff\xff\xff" + b"x" * (2 << 20), "too_large"),
        (compressed("t", [[[1, {"log": "x" * (3 << 20)}]]]), "too_large"),
        (pack(["t", b"no gzip", {"compressed": "gzip"}]), "compression"),
        (pack(["t", gzip.compress(pack([1, {}]), mtime=0)[:-4], {"compressed": "gzip"}]), "compression"),
        (pack(["t", b"", {"compressed": "lzma"}]), "compression"),
    ],
)
def test_a_broken_message_costs_one_connection(tmp_path: Path, data: bytes, cause: str) -> None:
    """What is no message ends its connection and is counted by cause; what came before it is stored, others go on."""

    async def story() -> None:
        async with forward(tmp_path, max_message=LIMIT) as server, client(*server.address) as other:
            async with client(*server.address) as sender:
                await sender.send(message("t", 1, {"log": "before"}), data)
                assert await sender.answer() is None
            assert server.refused(cause) == 1
            assert await other.ack(GOOD) == "good"
            assert server.bodies() == ["before", "x"]

    asyncio.run(story())


@given(st.binary(max_size=300), st.integers(1, 50))
@hypothesis_settings(max_examples=300, deadline=None)
def test_random_bytes_raise_nothing_else(data: bytes, step: int) -> None:
    """Whatever comes, in whatever pieces, the only thing raised is that a message is broken."""
    with contextlib.suppress(BrokenMessage):
        read_all(data, step)


PLAIN = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text() | st.binary()
NAMES = st.text(max_size=5) | st.sampled_from(["log", "level", "trace_id", "service", "instance"])
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2), max_leaves=4
)
RECORDS = st.dictionaries(NAMES | st.integers(0, 9), VALUES, max_size=4)
TIMES = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.none() | st.lists(VALUES, max_size=2)
ENTRIES = st.lists(st.tuples(TIMES, RECORDS) | VALUES, max_size=3)
TAGS = st.text(max_size=8) | st.sampled_from(["unknown_service.logs", "unknown_service.spans"])
OPTIONS = st.dictionaries(
    st.sampled_from(["chunk", "size", "compressed", "metadata", "fluent_signal"]) | st.text(), VALUES
)


@given(TAGS, ENTRIES, OPTIONS, st.sampled_from([packed, forward_mode]), st.integers(0, 3000), st.integers(0, 255))
@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_valid_messages_with_a_byte_changed(
    tag: str, entries: list[Any], option: dict[str, Any], mode: Any, place: int, byte: int
) -> None:
    """A message of any values gives a record for each entry; with one byte changed, nothing but `BrokenMessage` is raised."""
    if option.get("fluent_signal", 0) == 0 and option.get("compressed") in (None, "text", ""):
        option.pop("compressed", None)
        data = mode(tag, entries, option)
        assert len(read_all(data)) == len(entries)
    data = bytearray(mode(tag, entries, option))
    data[place % len(data)] = byte
    with contextlib.suppress(BrokenMessage):
        read_all(bytes(data))


@given(st.binary(max_size=12))
def test_what_text_is(data: bytes) -> None:
    """Text is what Python decodes as UTF-8."""
    try:
        data.decode()
        assert is_text(data)
    except UnicodeDecodeError:
        assert not is_text(data)


def test_declared_lengths_take_no_memory() -> None:
    """Lists that declare billions of entries, gzip that explodes and a million empty maps stay within a bound."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in (
        b"\xdd\xff\xff\xff\xff" * 900,
        b"\x93\xa1t\x01\x81\xa1a" + b"\xdd\x7f\xff\xff\xff" * 900,
        pack(["t", b"\xdd\x7f\xff\xff\xff" * 900]),
        compressed("t", [[[1, {"log": "x" * (50 << 20)}]]]),
    ):
        framer = Framer(1 << 20)
        framer.feed(data)
        try:
            for one in framer.messages():
                open_message(one, 1 << 20)
        except BrokenMessage:
            pass
    many = pack(["t", [[1, {"a": [{}] * 3_000_000}]]])
    opened = open_message(many, 32 << 20)
    assert opened is not None
    (entry,) = opened.entries
    assert isinstance(entry, bytes)  # kept whole, as it is too much to decode
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 250_000  # kB; what the test itself makes is the most of it


def test_a_record_too_large_to_decode_is_kept_whole(tmp_path: Path) -> None:
    """A record of more bytes than are decoded at once is kept as bytes, with a mark, and acknowledged."""

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as sender:
            large = [1, {"log": "x" * RECORD_BYTES}]
            assert await sender.ack(packed("t", [[1, {"log": "a"}], large, [2, {"log": "b"}]], {"chunk": "c"})) == "c"
            first, odd, last = server.records()
            assert (first.body, last.body) == ("a", "b")
            assert odd.body == pack(large)
            assert odd.attributes["shipper.forward.error"]

    asyncio.run(story())


def test_too_many_connections(tmp_path: Path) -> None:
    """A connection too many is closed at once and counted; when one goes, another may come."""

    async def story() -> None:
        async with forward(tmp_path, max_connections=2) as server:
            async with client(*server.address) as first, client(*server.address) as second:
                assert await first.ack(GOOD) == "good"
                assert await second.ack(GOOD) == "good"
                async with client(*server.address) as third:
                    assert await third.answer() is None
                assert server.refused("connections") == 1
            while server.refused("connections") == 1:
                async with client(*server.address) as later:
                    if await later.ack(GOOD) == "good":
                        break

    asyncio.run(story())


def test_a_silent_connection_is_closed_where_that_is_wanted(tmp_path: Path) -> None:
    """With an idle limit a connection on which nothing comes ends."""

    async def story() -> None:
        async with forward(tmp_path, idle=0.05) as server, client(*server.address) as sender:
            assert await sender.answer() is None
            assert server.refused("idle") == 1

    asyncio.run(story())


def test_unfinished_messages_of_many(tmp_path: Path) -> None:
    """Unfinished messages of all connections are bounded together; who holds much when it is too much is closed."""

    async def story() -> None:
        async with forward(tmp_path, in_flight=1 << 20) as server:
            async with client(*server.address) as sender, client(*server.address) as other:
                await sender.send(b"\x92\xa1t\xc6\x7f\xff\xff\xff" + b"x" * (3 << 20))
                assert await sender.answer() is None
                assert server.refused("busy") == 1
                assert await other.ack(GOOD) == "good"

    asyncio.run(story())


def test_a_client_that_reads_no_answers(tmp_path: Path) -> None:
    """A client that never reads its acknowledgements is not read from either, and others are served."""

    async def flood(deaf: Client) -> None:
        while True:
            await deaf.send(*(message("t", 1, {}, {"chunk": f"{number}" * 60}) for number in range(1000)))

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as deaf, client(*server.address) as other:
            flooding = asyncio.create_task(flood(deaf))
            for _ in range(20):
                assert await other.ack(GOOD) == "good"
            flooding.cancel()
            await asyncio.wait([flooding])

    asyncio.run(story())


def test_the_end_does_not_wait_for_a_client_that_reads_no_answers(tmp_path: Path) -> None:
    """A receiver that stops stores what came from such a client and ends its connection all the same."""

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as deaf:
            sent = 0
            received = server.report.metrics.received.labels("forward", "logs")
            while received._value.get() == sent:  # until answers fill every buffer and it is not read any more
                await deaf.send(*(message("t", 1, {}, {"chunk": f"{sent + n}" * 2000}) for n in range(100)))
                sent += 100
                for _ in range(200):
                    await asyncio.sleep(0.001)
                    if received._value.get() == sent:
                        break
            server.receiver.stop_reading()
            async with asyncio.timeout(20):
                await server.receiver.settled()

    asyncio.run(story())
