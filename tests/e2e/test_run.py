"""`shipper run` from end to end: real processes, real files, a real socket."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

from shipper.testing.sink import Sink, accept, refuse
from tests.e2e.kit import data_lines, sidecar, statements, until


def test_a_line_arrives_and_the_farewell_says_so(tmp_path: Path) -> None:
    """Lines of a file arrive; after SIGTERM the last record is a farewell whose account is complete, and the status is 0."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("one\ntwo\n")
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, log) as process:
            await until(lambda: data_lines(sink) == ["one", "two"], "both lines arrive")
            assert await process.terminate() == 0, process.said()
            birth, *_, farewell = statements(sink)
            assert birth["labels"]["release"] == "1.2.3"
            assert farewell["outcome"] == "drained"
            assert farewell["ends_life"] is False
            (stream,) = farewell["streams"]
            (figures,) = stream["destinations"].values()
            assert (figures["read"], figures["acknowledged"], figures["unread"]) == (2, 2, 0)
            assert farewell["left"] == []

    asyncio.run(story())


def test_an_unfinished_last_line_is_sent_at_the_end_of_a_run_and_its_rest_in_the_next(tmp_path: Path) -> None:
    """What the files hold at SIGTERM is sent, newline or not; the next run sends only what came behind it."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("whole\nhal")
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, log, SHIPPER_CONFIG="") as process:
                await until(lambda: data_lines(sink), "the first line arrives")
                assert await process.terminate() == 0, process.said()
            assert data_lines(sink) == ["whole", "hal"]
            with open(log, "a") as out:
                out.write("f\nnext\n")
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await until(lambda: len(data_lines(sink)) == 4, "the rest arrives")
                assert await process.terminate() == 0, process.said()
            assert data_lines(sink) == ["whole", "hal", "f", "next"]

    asyncio.run(story())


def test_an_ephemeral_host_s_last_words_arrive(tmp_path: Path) -> None:
    """With --ephemeral the sidecar reads on after SIGTERM until the writer has gone: its goodbye arrives too."""

    async def story() -> None:
        log = tmp_path / "app.log"
        async with Sink() as sink:
            writer = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(writer, b"hello\n")
            async with sidecar(tmp_path / "host", sink.url, log, flags=["--ephemeral"]) as process:
                await until(lambda: data_lines(sink) == ["hello"], "the first line arrives")
                process.signal(signal.SIGTERM)
                await until(lambda: "draining" in process.said(), "the drain begins")
                for number in range(20):
                    os.write(writer, b"last word %d\n" % number)
                    await until(lambda: len(data_lines(sink)) == number + 2, "a last word arrives")  # noqa: B023
                    assert process.alive()
                os.close(writer)
                assert await process.ended() == 0, process.said()
            assert statements(sink)[-1]["ends_life"] is True

    asyncio.run(story())


def test_a_dead_destination_makes_the_drain_expire_and_nothing_is_lost(tmp_path: Path) -> None:
    """With the destination down the drain ends at its deadline with status 3; the next run sends what was left, once."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("".join(f"line {number}\n" for number in range(1000)))
        async with Sink() as sink:
            await sink.go_down()
            async with sidecar(tmp_path / "host", sink.url, log, SHIPPER_DRAIN_DEADLINE="2s") as process:
                await process.up()
                assert await process.terminate() == 3, process.said()
                assert "left" in process.said()
            await sink.come_up()
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await until(lambda: len(data_lines(sink)) >= 1000, "everything arrives")
                assert await process.terminate() == 0, process.said()
            assert data_lines(sink) == [f"line {number}" for number in range(1000)]
            assert any(statement.get("outcome") == "expired" for statement in statements(sink))

    asyncio.run(story())


def test_kill_9_at_random_moments_loses_nothing_and_repeats_only_under_the_same_key(tmp_path: Path) -> None:
    """However often the sidecar is killed, each line arrives, and what comes again comes under the key it had."""

    async def story() -> None:
        log = tmp_path / "app.log"
        written = 0
        rng = random.Random(7)

        def write(count: int) -> None:
            nonlocal written
            with open(log, "ab") as out:
                for _ in range(count):
                    out.write(b"line %d %s\n" % (written, b"x" * rng.randrange(80)))
                    out.flush()
                    written += 1

        write(2000)
        async with Sink() as sink:
            for _ in range(12):
                sink.script(accept(delay=rng.random() * 0.05), refuse(503, retry_after="0"), accept())
                async with sidecar(tmp_path / "host", sink.url, log) as process:
                    arrived = len(sink.kept())
                    if rng.random() < 0.7:
                        await until(lambda: len(sink.kept()) > arrived, "something arrives")  # noqa: B023
                    write(rng.randrange(500))
                    for _ in range(rng.randrange(25)):
                        await asyncio.sleep(0.002)
                    await process.kill()
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await process.up()
                await until(lambda: len(data_lines(sink)) >= written, "all lines arrive")
                assert await process.terminate() == 0, process.said()
            numbers = [int(line.split(" ")[1]) for line in data_lines(sink)]
            assert sorted(numbers) == list(range(written))  # requests in flight together may overtake each other

    asyncio.run(story())
