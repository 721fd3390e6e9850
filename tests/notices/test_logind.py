"""The real systemd-logind announces shutdowns to us and waits for our lock, and its plans are read from its file."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import SystemClock
from shipper.events import Reporter
from shipper.notice import Need, Notice, NoticeKind
from shipper.notices.logind import LogindHold, LogindWatcher
from shipper.notices.logind_bus import Logind
from shipper.testing.platforms.logind import PrivateLogind, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
PATIENCE = 30.0
DELAY = 3  # InhibitDelayMaxSec: long enough that its end is not mistaken for a release


class Seen:
    """A board that only remembers."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.taken_back: list[str] = []
        self.unknowns: list[str] = []
        self.known = False

    def notice(self, notice: Notice) -> None:
        self.seen(notice.source)
        self.notices.append(notice)

    def withdrawn(self, source: str, key: str, why: str) -> None:
        self.seen(source)
        self.taken_back.append(why)

    def seen(self, source: str) -> None:
        self.known = True

    def unknown(self, source: str, why: str) -> None:
        self.known = False
        self.unknowns.append(why)

    def standing(self) -> tuple[Notice, ...]:
        return tuple(self.notices)

    async def flushed(self, timeout: float) -> bool:
        return True


class Listening:
    """A watcher and a hold on one logind, as a sidecar has them."""

    def __init__(self, address: str, stop_seconds: float = 0.0) -> None:
        self.board = Seen()
        self.report = Reporter(SystemClock())
        self.draining = False
        logind = Logind(address=address)
        self.watcher = LogindWatcher(clock=SystemClock(), logind=logind, stop_seconds=stop_seconds)
        self.hold = LogindHold(clock=SystemClock(), report=self.report, logind=logind)

    def need(self) -> Need:
        return Need(backlog=1, draining=self.draining, notices=(), deadline=math.inf)

    @asynccontextmanager
    async def on(self) -> AsyncIterator[Listening]:
        tasks = [
            asyncio.ensure_future(self.watcher.run(self.board)),
            asyncio.ensure_future(self.hold.run(self.need)),
        ]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.watcher.aclose()
            await self.hold.aclose()

    def hold_problems(self) -> float:
        return self.report.metrics.registry.get_sample_value("shipper_problems_total", {"kind": "hold"}) or 0.0


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"this did not happen within {PATIENCE} s: {what}") from None


async def locked(logind: PrivateLogind, count: int = 1) -> None:
    async with asyncio.timeout(PATIENCE):
        while await logind.inhibitors() != [("shutdown", "shipper", "delay")] * count:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


@asynccontextmanager
async def private_logind(longest_delay: int = DELAY) -> AsyncIterator[PrivateLogind]:
    with tempfile.TemporaryDirectory(prefix="logind") as directory:
        async with PrivateLogind(Path(directory), longest_delay=longest_delay) as logind:
            yield logind


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
import test_logind as kit
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


class Newer:
    """A logind of our own making on the same bus, to say what the one on this machine never says."""

    def __init__(self, logind: PrivateLogind) -> None:
        self.logind = logind
        self.delay: Any = 5_000_000
        self.preparing: Any = False

    @asynccontextmanager
    async def on(self, name: str = "org.freedesktop.login1") -> AsyncIterator[Newer]:
        from dbus_fast import BusType
        from dbus_fast.aio import MessageBus

        self.bus = await MessageBus(self.logind.address, BusType.SYSTEM).connect()
        self.bus.add_message_handler(self.answer)
        if name:
            await self.bus.request_name(name)
        try:
            yield self
        finally:
            self.bus.disconnect()

    def answer(self, message: Any) -> Any:
        from dbus_fast import Message, MessageType, Variant

        if message.message_type is not MessageType.METHOD_CALL or message.path != "/org/freedesktop/login1":
            return None
        if message.member == "Get":
            value = {"InhibitDelayMaxUSec": self.delay, "PreparingForShutdown": self.preparing}[message.body[1]]
            kind = {bool: "b", int: "t", str: "s"}[type(value)]
            return Message.new_method_return(message, "v", [Variant(kind, value)])
        return Message.new_error(message, "org.freedesktop.login1.Nonsense", "no")

    async def say(self, member: str, signature: str, *body: Any, to: str | None = None) -> None:
        from dbus_fast import Message, MessageType

        await self.bus.send(
            Message(
                destination=to,
                message_type=MessageType.SIGNAL,
                path="/org/freedesktop/login1",
                interface="org.freedesktop.login1.Manager",
                member=member,
                signature=signature,
                body=list(body),
            )
        )


def test_a_newer_logind_says_what_kind_of_end_it_is() -> None:
    """PrepareForShutdownWithMetadata and PrepareForShutdown make one notice; a soft reboot does not end the life."""
    from dbus_fast import Variant

    async def scenario() -> None:
        async with private_logind() as logind:
            await logind.kill_logind()
            async with Newer(logind).on() as newer, Listening(logind.address).on() as ours:
                await until(lambda: ours.board.known, "an answer")
                for kind, ends in (("soft-reboot", False), ("poweroff", True)):
                    await newer.say("PrepareForShutdownWithMetadata", "ba{sv}", True, {"type": Variant("s", kind)})
                    await newer.say("PrepareForShutdown", "b", True)
                    await newer.say("PrepareForShutdown", "b", False)
                    await until(lambda: ours.board.taken_back, "a withdrawal")
                    (notice,) = ours.board.notices
                    assert kind in notice.evidence
                    assert notice.ends_life is ends
                    ours.board.notices.clear()
                    ours.board.taken_back.clear()

    asyncio.run(scenario())


def test_signals_of_the_wrong_shape_and_of_others_mean_nothing() -> None:
    """Nonsense is passed over; what somebody else sends us in logind's name begins no drain."""

    async def scenario() -> None:
        async with private_logind() as logind:
            await logind.kill_logind()
            async with (
                Newer(logind).on() as newer,
                Newer(logind).on(name="") as forger,
                Listening(logind.address).on() as ours,
            ):
                await until(lambda: ours.board.known, "an answer")
                bus: Any = ours.watcher._logind._bus
                for other in (None, bus.unique_name):
                    await forger.say("PrepareForShutdown", "b", True, to=other)
                    await forger.say("NameOwnerChanged", "sss", "org.freedesktop.login1", "", ":1.999", to=other)
                for signature, body in (("", []), ("s", ["true"]), ("u", [1]), ("as", [["x"]])):
                    await newer.say("PrepareForShutdown", signature, *body)
                    await newer.say("PrepareForShutdownWithMetadata", signature, *body)
                await newer.say("PrepareForShutdownWithMetadata", "bs", False, "no metadata")
                await newer.say("PrepareForShutdown", "b", True)
                await until(lambda: ours.board.notices, "the true one")
                assert len(ours.board.notices) == 1
                assert ours.board.taken_back == []

    asyncio.run(scenario())


@pytest.mark.parametrize("delay", ["soon", 2**63, False])
def test_a_delay_that_makes_no_sense_is_none(delay: object) -> None:
    """Then the notice states no time, and the usual one counts."""

    async def scenario() -> None:
        async with private_logind() as logind:
            await logind.kill_logind()
            newer = Newer(logind)
            newer.delay = delay
            async with newer.on(), Listening(logind.address).on() as ours:
                await until(lambda: ours.board.known, "an answer")
                await newer.say("PrepareForShutdown", "b", True)
                await until(lambda: ours.board.notices, "a notice")
                assert ours.board.notices[0].deadline is None

    asyncio.run(scenario())


def test_a_shutdown_that_is_forgotten_with_its_logind_is_taken_back() -> None:
    """A new logind that is preparing for nothing: the notice of the old one no longer stands, and its lock is taken anew."""

    async def scenario() -> None:
        async with private_logind(60) as logind, Listening(logind.address).on() as ours:
            await locked(logind)
            await logind.power_off()
            await until(lambda: ours.board.notices, "a notice")
            await logind.kill_logind()
            await logind.start_logind()
            await until(lambda: ours.board.taken_back, "a withdrawal")
            await locked(logind)

    asyncio.run(scenario())
