"""A file that an operator or a script puts there."""

from __future__ import annotations

import asyncio
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.notices.by_hand import read_wish
from shipper.notices.touch_file import LOOK_SECONDS, TouchFileWatcher
from shipper.testing.clock import FakeClock
from tests.notices.listening import RecordingBoard, at_work


class Scene:
    """A board, and a watcher that looks when told."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.board = RecordingBoard(self.clock)
        self.watcher = TouchFileWatcher(clock=self.clock, path=str(path))

    def look(self, later: float = LOOK_SECONDS) -> None:
        self.clock.advance(later)
        self.watcher.look(self.board)


def test_a_file_that_appears_begins_a_drain_and_its_removal_ends_it(tmp_path: Path) -> None:
    """Looked for four times a second, from the start on; an empty one has the usual time."""

    async def story() -> None:
        scene = Scene(tmp_path / "run" / "drain")
        async with at_work(scene.watcher, scene.board):
            await scene.clock.run(1)
            assert not scene.board.standing()
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / "drain").touch()
            await scene.clock.run(LOOK_SECONDS)
            assert scene.board.drains
            assert scene.board.left() == pytest.approx(25, abs=LOOK_SECONDS)
            os.unlink(tmp_path / "run" / "drain")
            await scene.clock.run(LOOK_SECONDS)
            assert not scene.board.standing()
            assert scene.board.taken_back == [f"the file {tmp_path}/run/drain was removed"]
            assert scene.board.complaints == []

    asyncio.run(story())


def test_the_file_may_state_time_and_reason(tmp_path: Path) -> None:
    """The time counts from when the file was first seen with it, not from each look."""
    file = tmp_path / "drain"
    file.write_text("20s kernel update\n")
    scene = Scene(file)
    scene.look()
    for _ in range(8):
        scene.look()
    assert scene.board.left() == pytest.approx(18)
    assert "kernel update" in scene.board.standing()[0].evidence
    file.write_text("2m kernel update, postponed")
    scene.look()
    assert scene.board.left() == pytest.approx(120)


def test_a_file_that_is_written_after_it_was_made_counts_as_written(tmp_path: Path) -> None:
    """A shell makes the file first and fills it then: both looks are right."""
    file = tmp_path / "drain"
    file.touch()
    scene = Scene(file)
    scene.look()
    assert scene.board.left() == 25
    file.write_text("120")
    scene.look()
    assert scene.board.left() == 120


@pytest.mark.parametrize("content", [b"5parsecs", b"-3s", b"1e9s", b"\xff\xfe\x00", b"x" * 100_000])
def test_content_that_makes_no_sense_still_drains(tmp_path: Path, content: bytes) -> None:
    """Whoever put the file there wants a drain, with the usual time if his cannot be understood."""
    file = tmp_path / "drain"
    file.write_bytes(content)
    scene = Scene(file)
    scene.look()
    assert scene.board.drains
    assert scene.board.left() == 25
    assert len(scene.board.standing()[0].evidence) < 400


def test_a_time_that_is_none_is_said(tmp_path: Path) -> None:
    """The notice itself tells that the usual time counts, and why."""
    file = tmp_path / "drain"
    file.write_text("5parsecs away")
    scene = Scene(file)
    scene.look()
    assert "is not understood" in scene.board.standing()[0].evidence
    assert "5parsecs" in scene.board.standing()[0].evidence


def test_a_directory_in_its_place_is_said_and_drains_nothing(tmp_path: Path) -> None:
    """A mount point that was made by mistake is not a wish; nor is a pipe, which is not waited for."""
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, word in (("directory", "a directory"), ("pipe", "no regular file")):
        scene = Scene(tmp_path / name)
        scene.look()
        assert not scene.board.standing()
        scene.look()
        assert len(scene.board.complaints) == 1
        assert word in scene.board.complaints[0]


def test_a_file_that_cannot_be_read_drains_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there: that is what counts; that its content cannot be read is said in the notice."""

    def refuse(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "drain"
    file.write_text("2h")
    scene = Scene(file)
    monkeypatch.setattr("shipper.notices.touch_file.os.open", refuse)
    scene.look()
    assert scene.board.left() == 25
    assert "Permission denied" in scene.board.standing()[0].evidence


def test_a_place_that_cannot_be_looked_at_is_unknown(tmp_path: Path) -> None:
    """Not being allowed to look is neither a file nor none: what stands goes on to stand."""
    file = tmp_path / "drain"
    file.touch()
    scene = Scene(file)
    scene.look()
    file.unlink()
    os.symlink(file, file)  # a link to itself
    scene.look()
    assert scene.board.drains
    assert scene.board.complaints
    file.unlink()
    scene.look()
    assert not scene.board.drains


@pytest.mark.parametrize(
    ("text", "seconds", "reason"),
    [
        ("", None, ""),
        ("true", None, ""),
        ("1", None, ""),
        ("kernel update", None, "kernel update"),
        ("90", 90, ""),
        ("20s", 20, ""),
        ("1m30s move\nto web2", 90, "move to web2"),
        ("20 minutes for the kernel", 1200, "for the kernel"),
        ("2h", 7200, ""),
        ("yes 45s", 45, ""),
    ],
)
def test_a_wish_is_read_as_it_is_meant(text: str, seconds: float | None, reason: str) -> None:
    """A time first, in any of the ways people write one, and the rest is the reason."""
    wish = read_wish(text)
    assert (wish.seconds, wish.reason, wish.problem) == (seconds, reason, "")


@given(st.text())
def test_no_wish_is_an_error(text: str) -> None:
    """Whatever stands in a flag, there is a time or none, one line of reason, and no exception."""
    wish = read_wish(text)
    assert wish.seconds is None or 0 <= wish.seconds < math.inf
    assert wish.reason.isprintable()
