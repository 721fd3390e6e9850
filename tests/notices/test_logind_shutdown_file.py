"""A shutdown that is planned is known from logind's file, its calling off too, and nonsense in it is unknown."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.events import Reporter
from shipper.notice import NoticeKind
from shipper.notices.board import Board
from shipper.notices.budgets import Budgets
from shipper.notices.shutdown_file import OUTLIVED_SECONDS, PATH, ShutdownFileWatcher, read_planned
from shipper.notices.times import Times
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.testing.platforms.logind import PrivateLogind, why_not

NOW_USEC = START_WALL_NS // 1000


class Host:
    """A file tree, a clock, a board and the watcher."""

    def __init__(self, root: Path) -> None:
        self.clock = FakeClock()
        self.path = root / PATH
        self.path.parent.mkdir(parents=True, exist_ok=True)

        async def flush(timeout: float) -> bool:
            return True

        self.board = Board(
            clock=self.clock,
            report=Reporter(self.clock),
            budgets=Budgets(),
            lead=120.0,
            changed=lambda: None,
            flush=flush,
        )
        self.watcher = ShutdownFileWatcher(clock=self.clock, times=Times(self.clock), root=str(root))

    def plan(self, seconds: float, mode: str = "poweroff", more: str = "") -> None:
        """As logind does it: a new file in the place of the old one."""
        new = self.path.with_suffix(".new")
        new.write_text(f"USEC={NOW_USEC + round(seconds * 1e6)}\nWARN_WALL=1\nMODE={mode}\n{more}")
        os.rename(new, self.path)

    def look(self) -> None:
        self.watcher.look(self.board)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_planned_shutdown_is_scheduled_for_its_time(host: Host) -> None:
    """USEC is the deadline, whatever becomes of the wall clock later; near its time it asks for a drain."""
    host.plan(600)
    host.look()
    host.clock.jump_wall(3600)
    host.look()
    (notice,) = host.board.standing()
    assert notice.kind is NoticeKind.SCHEDULED
    assert notice.deadline == pytest.approx(host.clock.monotonic() + 600)
    assert notice.ends_life
    assert host.board.imminent() is None
    host.clock.advance(481)
    host.look()
    assert host.board.imminent() is not None


def test_the_calling_off_and_another_time_take_effect(host: Host) -> None:
    """The file's going withdraws; a new file moves the deadline."""
    host.plan(600)
    host.look()
    host.plan(60, "reboot")
    host.look()
    (notice,) = host.board.standing()
    assert notice.deadline == pytest.approx(host.clock.monotonic() + 60)
    host.path.unlink()
    host.look()
    assert host.board.standing() == ()


def test_a_file_that_goes_when_its_time_has_come_takes_nothing_back(host: Host) -> None:
    """That is the shutdown's beginning; only a host that lives on long after it is not going down."""
    host.plan(60)
    host.look()
    host.clock.advance(60)
    host.path.unlink()
    host.look()
    assert len(host.board.standing()) == 1
    host.clock.advance(OUTLIVED_SECONDS + 1)
    host.look()
    assert host.board.standing() == ()


@pytest.mark.parametrize(("mode", "more"), [("dry-poweroff", ""), ("poweroff", "DRY_RUN=1\n")])
def test_a_rehearsal_is_nothing(host: Host, mode: str, more: str) -> None:
    """A dry run warns people and shuts nothing down."""
    host.plan(60, mode, more)
    host.look()
    assert host.board.standing() == ()
    assert host.board.sources_unknown() == {}


def test_a_soft_reboot_does_not_end_the_life(host: Host) -> None:
    """The kernel and its boot id stay."""
    host.plan(60, "soft-reboot")
    host.look()
    assert not host.board.standing()[0].ends_life


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0" * 100,
        "<html></html>",
        "USEC=\nMODE=poweroff\n",
        "USEC=-1\nMODE=poweroff\n",
        "USEC=tomorrow\nMODE=poweroff\n",
        "USEC=0\nMODE=poweroff\n",
        f"USEC={'9' * 5000}\nMODE=poweroff\n",
        f"USEC={NOW_USEC}\nMODE={'x' * 3000}\n",
    ],
)
def test_nonsense_is_unknown_and_takes_nothing_back(host: Host, text: str) -> None:
    """Neither a drain without reason nor the end of one."""
    host.plan(600)
    host.look()
    host.path.write_text(text)
    host.look()
    assert len(host.board.standing()) == 1
    assert "shutdown-file" in host.board.sources_unknown()
    host.plan(600)
    host.look()
    assert host.board.sources_unknown() == {}


@pytest.mark.parametrize("kind", ["directory", "link", "fifo"])
def test_what_is_no_file_is_unknown(host: Host, kind: str) -> None:
    """Nothing blocks and nothing is followed."""
    if kind == "directory":
        host.path.mkdir()
    elif kind == "link":
        host.path.symlink_to("/etc/passwd")
    else:
        os.mkfifo(host.path)
    host.look()
    assert "shutdown-file" in host.board.sources_unknown()


@given(st.text(max_size=200))
def test_any_text_is_understood_or_refused_with_a_sentence(text: str) -> None:
    """There is no third way."""
    try:
        planned = read_planned(text)
    except ValueError:
        return
    assert planned.usec > 0


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_what_the_real_logind_writes_is_understood() -> None:
    """ScheduleShutdown and CancelScheduledShutdown of the binary on this machine."""

    async def scenario() -> None:
        with tempfile.TemporaryDirectory(prefix="logind") as directory:
            async with PrivateLogind(Path(directory)) as logind:
                await logind.schedule(600, "reboot")
                ours = Host(logind.root)
                planned = read_planned(ours.path.read_text())
                assert (planned.mode, planned.dry_run) == ("reboot", False)
                ours.clock.set_wall_ns((planned.usec - 600 * 10**6) * 1000)
                ours.look()
                assert ours.board.standing()[0].deadline == pytest.approx(ours.clock.monotonic() + 600)
                assert await logind.cancel()
                ours.look()
                assert ours.board.standing() == ()

    asyncio.run(scenario())
