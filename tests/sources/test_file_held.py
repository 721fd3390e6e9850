"""How much may be kept of what is read ahead, and what becomes of the rest."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.errors import RangeGone
from tests.sources.file_held_kit import LINES, SIZE, deleted, kept, limits, unread
from tests.sources.file_kit import Sink, tailing


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """Where it is read ahead to."""
    return tmp_path / "held"


@pytest.mark.parametrize("restart", [False, True])
def test_the_oldest_is_given_up_when_there_is_no_more_room(tmp_path: Path, held: Path, restart: bool) -> None:
    """More than may be held loses its oldest lines, whole ones, as one range that is told; the rest arrives."""

    async def story() -> None:
        sink = Sink()
        room = limits(held, max_bytes=1 << 20)
        async with tailing(tmp_path / "log", sink=sink, limits=room) as tail:
            log = await unread(tail)
            log.unlink()
            await tail.pass_time(8)
            (copy,) = kept(held)
            assert copy.stat().st_blocks * 512 <= (1 << 20) + (128 << 10)
            assert not list(deleted(str(log)))
            assert tail.report.problems("held-full")
            if not restart:
                sink.take_all()
        if restart:
            async with tailing(tmp_path / "log", sink=sink, limits=room):
                sink.take_all()
        ((_, start, end),) = sink.lost
        assert start == 6 + 10 * len(LINES[0] + "\n")  # what a file begins with is kept with it
        assert SIZE // 2 < end < SIZE * 3 // 4
        assert (end - 6) % len(LINES[0] + "\n") == 0
        assert sink.bodies == ["first", *LINES[:10], *LINES[(end - 6) // len(LINES[0] + "\n") :]]

    asyncio.run(story())


def test_a_range_that_was_cut_and_then_given_up_is_told_as_gone(tmp_path: Path, held: Path) -> None:
    """What was on its way when it was given up is never sent again as if nobody had written there; what is kept is."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held, max_bytes=1 << 20)) as tail:
            log = await unread(tail)
            stream = tail.file("app.log")
            cuts, at = [], 6
            while (batch := stream.cut(at, at, 300_000, 7)) is not None:
                cuts.append(batch)
                at = batch.cut.end
            log.unlink()
            await tail.pass_time(8)
            (gap,) = stream.content.gaps
            text, behind = stream.text(0, 1 << 20)
            assert behind == gap[0]
            assert text.splitlines()[-1] == LINES[9].encode()
            with pytest.raises(RangeGone):
                stream.text(behind, 1 << 20)
            for batch in cuts:
                if batch.cut.start < gap[1] and gap[0] < batch.cut.end:
                    with pytest.raises(RangeGone):
                        stream.reread(batch.cut)
                else:
                    assert stream.reread(batch.cut).payload == batch.payload
            assert cuts[0].cut.start < gap[1] < cuts[-1].cut.start

    asyncio.run(story())


def test_a_group_may_rather_hold_on(tmp_path: Path, held: Path) -> None:
    """With ``when_full: block`` nothing is given up: what does not fit stays in the deleted file, held by its descriptor."""

    async def story() -> None:
        sink = Sink()
        room = limits(held, max_bytes=1 << 20)
        async with tailing(tmp_path / "log", sink=sink, limits=room, when_full="block") as tail:
            log = await unread(tail)
            log.unlink()
            await tail.pass_time(8)
            assert list(deleted(str(log)))
            assert tail.report.problems("held-full")
            sink.take_all()
            assert sink.bodies == ["first", *LINES]
            assert not sink.lost

    asyncio.run(story())


def test_a_nearly_full_disk_is_left_alone(tmp_path: Path, held: Path) -> None:
    """Where the file system has less room than is to be left, nothing is read ahead; that is said, and nothing is lost by it."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held, keep_free=1.0)) as tail:
            log = await unread(tail)
            log.unlink()
            await tail.pass_time(8)
            assert sum(path.stat().st_size for path in kept(held)) <= 4096
            assert tail.report.problems("held-full")
            sink.take_all()
            assert sink.bodies == ["first", *LINES]

    asyncio.run(story())
