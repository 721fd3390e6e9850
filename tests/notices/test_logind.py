"""The real systemd-logind announces shutdowns to us and waits for our lock, and its plans are read from its file."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shipper.notice import NoticeKind
from shipper.testing.platforms.logind import why_not
from tests.notices.logind_kit import PATIENCE, Listening, locked, private_logind, until

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


def test_a_shutdown_waits_for_the_lock_and_goes_on_once_it_is_released() -> None:
    """The lock is there from the start; PowerOff is a notice with the time of the delay; the release lets it go on at once."""

    async def scenario() -> None:
        async with private_logind(60) as logind, Listening(logind.address, stop_seconds=85).on() as ours:
            await locked(logind)
            before = time.monotonic()
            await logind.power_off()
            await until(lambda: ours.board.notices, "a notice")
            notice = ours.board.notices[0]
            assert notice.kind is NoticeKind.IMMINENT
            assert notice.ends_life
            assert notice.deadline is not None
            assert before <= notice.deadline - 60 - 85 <= time.monotonic()
            assert await logind.job_started(0.2) == ""
            ours.draining = True
            await ours.hold.release(drained=True)
            assert await logind.job_started(PATIENCE) == "poweroff.target"
            assert len(ours.board.notices) == 1
            assert ours.hold_problems() == 0

    asyncio.run(scenario())


def test_a_lock_that_is_not_released_holds_only_as_long_as_logind_allows() -> None:
    """At the end of the delay the shutdown goes on by itself."""

    async def scenario() -> None:
        async with private_logind(1) as logind, Listening(logind.address).on():
            await locked(logind)
            await logind.reboot()
            assert await logind.job_started(PATIENCE) == "reboot.target"

    asyncio.run(scenario())


def test_a_shutdown_that_is_called_off_takes_the_notice_back_and_the_lock_is_held_again() -> None:
    """PrepareForShutdown(false) is a withdrawal; a lock that was released is taken anew, and holds the next shutdown."""

    async def scenario() -> None:
        async with private_logind(60) as logind, Listening(logind.address).on() as ours:
            await locked(logind)
            logind.refuse_jobs = True
            await logind.power_off()
            await until(lambda: ours.board.notices, "a notice")
            ours.draining = True
            await ours.hold.release(drained=True)
            await until(lambda: ours.board.taken_back, "a withdrawal")
            ours.draining = False
            await locked(logind)
            logind.refuse_jobs = False
            await logind.power_off()
            await until(lambda: len(ours.board.notices) == 2, "the next notice")
            assert await logind.job_started(0.2) == ""

    asyncio.run(scenario())


def test_one_who_starts_during_a_shutdown_hears_of_it_and_gets_no_lock() -> None:
    """PreparingForShutdown at the start is a notice without a stated time; that no lock is given then is no problem."""

    async def scenario() -> None:
        async with private_logind(60) as logind, Listening(logind.address).on() as first:
            await locked(logind)
            await logind.power_off()
            await until(lambda: first.board.notices, "a notice")
            async with Listening(logind.address).on() as second:
                await until(lambda: second.board.notices, "a notice for the late one")
                assert second.board.notices[0].deadline is None
                assert second.board.notices[0].budget == "logind"
                await locked(logind)
                assert second.hold_problems() == 0

    asyncio.run(scenario())


def test_a_lock_is_no_descriptor_of_a_child() -> None:
    """A child that lives on does not keep the system up after the release."""

    async def scenario() -> None:
        async with private_logind(60) as logind, Listening(logind.address).on() as ours:
            await locked(logind)
            child = await asyncio.create_subprocess_exec("sleep", "60", close_fds=False)
            try:
                await ours.hold.release(drained=True)
                await locked(logind, 0)
            finally:
                child.kill()
                await child.wait()

    asyncio.run(scenario())


def test_the_lock_is_taken_again_when_bus_and_logind_were_started_anew() -> None:
    """A bus that is gone is unknown and takes nothing back; after it has come back the lock is held again."""

    async def scenario() -> None:
        async with private_logind() as logind, Listening(logind.address).on() as ours:
            await locked(logind)
            await logind.kill_bus()
            await until(lambda: ours.board.unknowns, "unknown")
            assert ours.board.notices == []
            await logind.start_bus()
            await logind.start_logind()
            await until(lambda: ours.board.known, "known again")
            await locked(logind)
            await logind.power_off()
            await until(lambda: ours.board.notices, "a notice")

    asyncio.run(scenario())


def test_a_logind_that_was_killed_and_came_back_still_waits_for_us() -> None:
    """The bus stays; the new logind has exactly one lock of ours."""

    async def scenario() -> None:
        async with private_logind(60) as logind, Listening(logind.address).on() as ours:
            await locked(logind)
            await logind.kill_logind()
            await logind.start_logind()
            await locked(logind)
            await logind.power_off()
            await until(lambda: ours.board.notices, "a notice")
            assert await logind.job_started(0.2) == ""
            await ours.hold.release(drained=True)
            assert await logind.job_started(PATIENCE) == "poweroff.target"

    asyncio.run(scenario())


def test_a_system_without_a_bus_is_unknown_and_asked_again(tmp_path: Path) -> None:
    """No socket, no error: the watcher says that it cannot know, and goes on trying."""

    async def scenario() -> None:
        async with Listening(f"unix:path={tmp_path}/nothing").on() as ours:
            await until(lambda: len(ours.board.unknowns) >= 2, "tried again")
            assert ours.board.notices == []

    asyncio.run(scenario())


def test_where_the_lock_is_refused_it_is_said_once_and_notices_come_all_the_same() -> None:
    """A user that polkit does not allow gets no lock, one clear sentence, and the notice."""
    script = """
import asyncio, json, os, sys
sys.path[:0] = [sys.argv[2]]
import logind_kit as kit
async def scenario():
    listening = kit.Listening(sys.argv[1])
    os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
    async with listening.on() as ours:
        await kit.until(lambda: ours.hold_problems() == 1 and ours.board.known, "refused")
        print("refused", flush=True)
        await kit.until(lambda: ours.board.notices, "a notice")
        print(json.dumps([ours.hold_problems(), ours.board.notices[0].kind]), flush=True)
asyncio.run(scenario())
"""

    async def scenario() -> None:
        async with private_logind() as logind:
            os.chmod(Path(logind.address.removeprefix("unix:path=")).parent, 0o755)
            here = str(Path(__file__).parent)
            refused = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                script,
                logind.address,
                here,
                stdout=subprocess.PIPE,
            )
            assert refused.stdout is not None
            assert await refused.stdout.readline() == b"refused\n"
            await logind.power_off()
            assert json.loads(await refused.stdout.readline()) == [1, "imminent"]
            await refused.communicate()

    asyncio.run(scenario())
