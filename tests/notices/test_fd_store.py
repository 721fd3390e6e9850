"""The descriptor store of systemd, over a real socket that takes and gives descriptors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.events import Reporter
from shipper.notices.fd_store import FdStore
from shipper.testing.clock import FakeClock
from tests.sources.fd_store_kit import FIRST, Keeper


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """The service manager."""
    made = Keeper(tmp_path / "notify")
    yield made
    made.close()


def store(env: dict[str, str]) -> tuple[FdStore, Reporter]:
    report = Reporter(FakeClock())
    return FdStore(env=env, report=report, first=FIRST), report


def problems(report: Reporter) -> float:
    return report.metrics.registry.get_sample_value("shipper_problems_total", {"kind": "fd-store"}) or 0.0


def test_what_is_put_comes_back_under_its_name(tmp_path: Path, keeper: Keeper) -> None:
    """A descriptor of a deleted file is kept while nobody else has it, and the next process reads the file by it."""
    kept, report = store(keeper.env())
    (tmp_path / "a.log").write_text("last words\n")
    fd = os.open(tmp_path / "a.log", os.O_RDONLY)
    os.unlink(tmp_path / "a.log")
    assert kept.inherited() == []
    assert kept.put("file-1", fd)
    kept.settle(10.0)
    os.close(fd)
    with keeper.handed_over() as env:
        after, report = store(env)
        ((name, given),) = after.inherited()
        assert name == "file-1"
        assert os.pread(given, 100, 0) == b"last words\n"
        assert not os.get_inheritable(given)
        assert after.inherited() == []
        os.close(given)
        assert after.put("file-1", 0)  # it is still kept: nothing is sent
        after.drop("file-1")
        assert after.put("file-2", 0)
        after.settle(10.0)
    assert list(keeper.kept) == ["file-2"]
    assert problems(report) == 0


@pytest.mark.parametrize("pid", ["1", "", "-1", "x"])
def test_descriptors_that_are_meant_for_another_process_are_left_alone(keeper: Keeper, pid: str) -> None:
    """LISTEN_PID names somebody else, or nobody: nothing is taken over."""
    keeper.keep("file-1", 0)
    with keeper.handed_over() as env:
        kept, report = store({**env, "LISTEN_PID": pid})
        assert kept.inherited() == []
        os.fstat(FIRST)
        assert problems(report) == 0


@pytest.mark.parametrize("count", ["-1", "many", "99999999999", "²"])
def test_a_count_that_is_none(keeper: Keeper, count: str) -> None:
    """LISTEN_FDS that is no number means that there are none."""
    with keeper.handed_over() as env:
        kept, _ = store({**env, "LISTEN_FDS": count})
        assert kept.inherited() == []


def test_a_descriptor_that_is_not_there_is_said(keeper: Keeper) -> None:
    """More are announced than were handed over, with fewer names: those that are there are given, the others said."""
    keeper.keep("file-1", 0)
    with keeper.handed_over() as env:
        kept, report = store({**env, "LISTEN_FDS": "3"})
        assert kept.inherited() == [("file-1", FIRST)]
        assert problems(report) == 2


def test_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    """FDSTORE says how many are kept: what goes beyond that is not sent, and said."""
    keeper = Keeper(tmp_path / "notify", room=2)
    try:
        kept, report = store(keeper.env())
        assert [kept.put(name, 0) for name in ("a", "b", "c")] == [True, True, False]
        kept.drop("a")
        assert kept.put("c", 0)
        kept.settle(10.0)
        assert sorted(keeper.kept) == ["b", "c"]
        assert problems(report) == 1
    finally:
        keeper.close()


def test_nobody_keeps_anything(tmp_path: Path) -> None:
    """Without a notify socket nothing is put; one that is gone is said, and survived."""
    kept, report = store({})
    assert not kept.listens
    assert not kept.put("a", 0)
    kept.settle(10.0)
    assert problems(report) == 0
    kept, report = store({"NOTIFY_SOCKET": str(tmp_path / "nothing")})
    assert not kept.put("a", 0)
    kept.drop("a")
    assert problems(report) == 1
