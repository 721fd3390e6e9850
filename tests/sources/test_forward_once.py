"""A chunk that comes again is acknowledged and not stored again: over connections, over restarts, and in parts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.contracts import Signal
from shipper.events import Reporter
from shipper.sources.forward.chunks import KEPT_NS, Chunks, digest
from shipper.testing.clock import FakeClock
from tests.sources.forward_wire import client, forward_mode, message, packed
from tests.sources.spooled_kit import forward, open_spool, until

LARGE = [[1, {"log": f"{number:06d}" + "x" * 1000}] for number in range(1000)]  # four parts
CHUNK = {"chunk": "abc"}


def test_a_chunk_sent_again_is_acknowledged_and_not_stored(tmp_path: Path) -> None:
    """On the same connection, on another one, and beside new chunks: the records are there once."""

    async def story() -> None:
        async with forward(tmp_path) as server:
            async with client(*server.address) as sender:
                assert await sender.ack(packed("t", LARGE[:3], CHUNK)) == "abc"
                assert await sender.ack(packed("t", LARGE[:3], CHUNK)) == "abc"
            async with client(*server.address) as sender:
                await sender.send(packed("t", LARGE[:3], CHUNK), message("t", 1, {"log": "new"}, {"chunk": "d"}))
                assert [await sender.answer(), await sender.answer()] == [{"ack": "abc"}, {"ack": "d"}]
            assert len(server.records()) == 4
            assert server.duplicates() == 6

    asyncio.run(story())


def test_twice_in_one_read(tmp_path: Path) -> None:
    """A chunk that comes twice before the first is stored is stored once and acknowledged twice."""

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as sender:
            await sender.send(message("t", 1, {"log": "x"}, CHUNK) * 2)
            assert [await sender.answer(), await sender.answer()] == [{"ack": "abc"}] * 2
            assert server.bodies() == ["x"]

    asyncio.run(story())


def test_the_same_id_of_another_tag_is_another_chunk(tmp_path: Path) -> None:
    """An id is only its sender's and its tag's: Fluent Bit makes it of the content."""

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as sender:
            await sender.ack(message("a", 1, {"log": "x"}, CHUNK))
            await sender.ack(message("b", 1, {"log": "x"}, CHUNK))
            assert [record.attributes["fluent.tag"] for record in server.records()] == ["a", "b"]

    asyncio.run(story())


@pytest.mark.parametrize("remembered", [True, False], ids=["file", "frames only"])
def test_a_restart_forgets_nothing(tmp_path: Path, remembered: bool) -> None:
    """After a restart a chunk is recognised by the file beside the spool, or, where a crash took that, by the frames."""

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as sender:
            await sender.ack(packed("t", LARGE[:3], CHUNK))
        if not remembered:
            (tmp_path / "chunks").unlink()
        async with forward(tmp_path) as server, client(*server.address) as sender:
            assert await sender.ack(packed("t", LARGE[:3], CHUNK)) == "abc"
            assert len(server.records()) == 3
            assert server.duplicates() == 3

    asyncio.run(story())


def test_what_was_delivered_is_still_known(tmp_path: Path) -> None:
    """A chunk is known after its frames were delivered and deleted."""

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as sender:
            await sender.ack(packed("t", LARGE[:3], CHUNK))
            spool = server.spools[Signal.LOGS]
            for number in range(20):  # until the segment is closed
                await sender.ack(packed("t", LARGE, {"chunk": str(number)}))
            spool.release(spool.frontier())
            assert spool.first() > 0
        async with forward(tmp_path) as server, client(*server.address) as sender:
            assert await sender.ack(packed("t", LARGE[:3], CHUNK)) == "abc"
            assert server.duplicates() == 3

    asyncio.run(story())


@pytest.mark.parametrize("mode", [packed, forward_mode])
def test_a_chunk_that_broke_off_in_the_middle_goes_on_where_it_was(tmp_path: Path, mode: object) -> None:
    """When a large chunk could be stored only in part, the parts that are there are recognised when it comes again."""
    make = packed if mode is packed else forward_mode

    async def story() -> None:
        room = 700_000  # two parts, and not three
        clock = FakeClock()
        async with forward(tmp_path, most=room, clock=clock) as server:
            async with client(*server.address) as sender:
                await sender.send(make("t", LARGE, CHUNK))
                await until(lambda: clock.sleeping() >= 1, "it waits for room")
                stored = len(server.records())
                assert 0 < stored < 1000
            server.receiver.stop_reading()
            await clock.run(1.0)
            await server.receiver.settled()
            assert server.refused("full") == 1
        async with forward(tmp_path, clock=clock) as server, client(*server.address) as sender:
            assert await sender.ack(make("t", LARGE, CHUNK)) == "abc"
            assert [str(body)[:6] for body in server.bodies()] == [f"{number:06d}" for number in range(1000)]
            assert server.duplicates() == stored

    asyncio.run(story())


def test_a_full_spool_makes_senders_wait(tmp_path: Path) -> None:
    """Without room nothing is acknowledged; once there is room again what waited is stored, once, and acknowledged."""

    async def story() -> None:
        clock = FakeClock()
        async with forward(tmp_path, most=700_000, clock=clock) as server, client(*server.address) as sender:
            await sender.send(packed("t", LARGE, CHUNK))
            await until(lambda: clock.sleeping() >= 1, "it waits for room")
            assert not server.receiver.silent(0)
            spool = server.spools[Signal.LOGS]
            before = [str(body)[:6] for body in server.bodies()]
            spool.release(spool.frontier())
            answer = asyncio.create_task(sender.answer())
            while not answer.done():
                clock.advance(0.5)
                await asyncio.sleep(0.005)
                at = spool.first()
                before += [str(body)[:6] for body in server.bodies() if str(body)[:6] not in before]
                spool.release(max(at, spool.frontier()))
            assert answer.result() == {"ack": "abc"}
            assert before == [f"{number:06d}" for number in range(1000)]

    asyncio.run(story())


def test_the_same_chunk_on_two_connections_at_once(tmp_path: Path) -> None:
    """While one connection waits with a chunk, the same chunk on another waits for the outcome, and is not stored again."""

    async def story() -> None:
        clock = FakeClock()
        async with (
            forward(tmp_path, most=700_000, clock=clock) as server,
            client(*server.address) as first,
            client(*server.address) as second,
        ):
            await first.send(packed("t", LARGE, {"chunk": "filling"}))
            await until(lambda: clock.sleeping() >= 1, "it waits for room")
            await second.send(packed("t", LARGE, {"chunk": "filling"}))
            spool = server.spools[Signal.LOGS]
            answers = [asyncio.create_task(one.answer()) for one in (first, second)]
            seen: list[str] = []
            while not all(answer.done() for answer in answers):
                seen += [str(body)[:6] for body in server.bodies() if str(body)[:6] not in seen]
                spool.release(spool.frontier())
                clock.advance(0.5)
                await asyncio.sleep(0.005)
            assert [answer.result() for answer in answers] == [{"ack": "filling"}] * 2
            assert server.duplicates() == 1000

    asyncio.run(story())


def test_memory_of_chunks_is_bounded_in_number_and_time(tmp_path: Path) -> None:
    """The oldest digests go when there are too many, and all go after an hour; the file does not grow for ever."""
    report = Reporter(FakeClock())
    spool = open_spool(tmp_path / "spool", "logs", report, 1 << 20)
    chunks = Chunks(tmp_path, [spool], report, most=100)
    chunks.open(1)
    texts = [digest("", b"t", b"%d" % number, -1) for number in range(1000)]
    for text in texts:
        chunks.add([text], 0, 0, 2)
    assert [text in chunks for text in texts] == [False] * 900 + [True] * 100
    assert (tmp_path / "chunks").stat().st_size < 300 * 40
    chunks.close()
    again = Chunks(tmp_path, [spool], report)
    again.open(3)
    assert texts[-1] in again
    again.add([digest("", b"t", b"late", -1)], 0, 0, KEPT_NS + 4)
    assert texts[-1] not in again
    again.close()
    spool.close()


def test_a_torn_file_of_chunks_costs_its_last_row(tmp_path: Path) -> None:
    """A file that ends in the middle of a row, or is not there, is read as far as it goes; one that cannot be written is said."""
    report = Reporter(FakeClock())
    spool = open_spool(tmp_path / "spool", "logs", report, 1 << 20)
    first, second = (digest("", b"t", name, -1) for name in (b"1", b"2"))
    chunks = Chunks(tmp_path, [spool], report)
    chunks.open(1)
    chunks.add([first], 10, 0, 1)
    chunks.add([second], 20, 0, 1)
    chunks.close()
    file = tmp_path / "chunks"
    file.write_bytes(file.read_bytes()[:-5])
    chunks = Chunks(tmp_path, [spool], report)
    chunks.open(1)
    assert first in chunks
    assert second not in chunks
    chunks.close()
    chunks.add([second], 20, 0, 1)
    assert second in chunks
    assert float(report.metrics.problems.labels("chunks")._value.get()) == 1
    spool.close()
