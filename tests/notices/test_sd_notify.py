"""systemd is told how we are, in its own words, and asked for time while a drain goes on."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from pathlib import Path

import pytest

from shipper.events import Reporter
from shipper.notice import Need
from shipper.notices.sd_notify import ServiceManager
from shipper.notices.systemd_hold import GRANTED_SECONDS, LONGEST_SECONDS, REPEAT_SECONDS, SystemdHold
from shipper.testing.clock import FakeClock
from shipper.testing.platforms.systemd import NotifySocket


def manager(env: dict[str, str], pid: int | None = None) -> tuple[ServiceManager, Reporter]:
    report = Reporter(FakeClock())
    return ServiceManager(env=env, report=report, pid=pid), report


def problems(report: Reporter) -> float:
    return report.metrics.registry.get_sample_value("shipper_problems_total", {"kind": "sd-notify"}) or 0.0


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_that_we_are_up_and_that_we_are_stopping(tmp_path: Path, abstract: bool) -> None:
    """READY, STATUS and STOPPING arrive at a socket with a path and at one in the abstract namespace."""

    async def scenario() -> None:
        place = f"@shipper-test-{os.getpid()}" if abstract else tmp_path / "notify"
        async with NotifySocket(place) as systemd:
            told, report = manager(systemd.env())
            told.ready("up, 3 destinations")
            told.status("waiting\nSTOPPING=1")
            told.stopping()
            await systemd.until(lambda: "STOPPING" in systemd.said)
            assert [message.fields for message in systemd.messages] == [
                {"READY": "1", "STATUS": "up, 3 destinations"},
                {"STATUS": "waiting STOPPING=1"},  # what a status says is never another field
                {"STOPPING": "1"},
            ]
            assert problems(report) == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("place", ["vsock:2:1234", "relative", "@"])
def test_a_socket_we_do_not_speak_is_said_and_survived(place: str) -> None:
    """A NOTIFY_SOCKET of another kind is one problem at the start, and nothing is sent."""
    told, report = manager({"NOTIFY_SOCKET": place})
    assert not told.listens
    told.ready()
    assert problems(report) == 1


def test_a_socket_that_is_gone_is_said_and_survived(tmp_path: Path) -> None:
    """Where nobody listens, telling is a problem that is counted, never an error."""
    told, report = manager({"NOTIFY_SOCKET": str(tmp_path / "nothing")})
    told.ready()
    assert problems(report) == 1


def test_without_systemd_nothing_is_sent_and_nothing_said() -> None:
    """No NOTIFY_SOCKET, no word."""
    told, report = manager({"WATCHDOG_USEC": "1000000"})
    told.ready()
    asyncio.run(told.keep_alive(FakeClock()))  # returns: nobody watches
    assert told.watchdog_seconds is None
    assert problems(report) == 0


@pytest.mark.parametrize(
    ("usec", "whose", "expected"),
    [
        ("30000000", "", 30.0),
        ("30000000", "7", 30.0),
        ("30000000", "8", None),
        ("30000000", "seven", None),
        ("", "7", None),
        ("0", "7", None),
        ("-1", "7", None),
        ("soon", "7", None),
        ("9" * 40, "7", None),
    ],
)
def test_the_watchdog_is_answered_only_where_it_means_us(usec: str, whose: str, expected: float | None) -> None:
    """WATCHDOG_PID names another process, or WATCHDOG_USEC is no time: then there is no watchdog for us."""
    env = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": usec, "WATCHDOG_PID": whose}
    assert manager({name: value for name, value in env.items() if value}, pid=7)[0].watchdog_seconds == expected


def test_there_are_two_signs_of_life_in_each_interval(tmp_path: Path) -> None:
    """WATCHDOG=1 is sent at once and then at half of WATCHDOG_USEC, by the clock."""

    async def scenario() -> None:
        clock = FakeClock()
        async with NotifySocket(tmp_path / "notify", clock=clock) as systemd:
            told, _ = manager(systemd.env(watchdog=30))
            beating = asyncio.ensure_future(told.keep_alive(clock))
            await clock.run(60)
            await systemd.until(lambda: len(systemd.values("WATCHDOG")) == 5)
            beating.cancel()

    asyncio.run(scenario())


class Draining:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.on = False
        self.deadline = math.inf

    def need(self) -> Need:
        return Need(backlog=1, draining=self.on, notices=(), deadline=self.deadline)


def test_time_is_asked_for_as_long_as_the_drain_may_take_and_no_longer(tmp_path: Path) -> None:
    """Nothing before the drain; then each message comes well within what the last one was granted; the deadline ends it."""

    async def scenario() -> None:
        clock = FakeClock()
        drain = Draining(clock)
        async with NotifySocket(tmp_path / "notify", clock=clock) as systemd:
            hold = SystemdHold(clock=clock, manager=manager(systemd.env())[0])
            holding = asyncio.ensure_future(hold.run(drain.need))
            await clock.run(100)
            assert systemd.messages == []
            drain.on, drain.deadline = True, clock.monotonic() + 300
            end = drain.deadline
            asked = []
            for _ in range(400):
                await clock.run(1)
                await asyncio.sleep(0)
                asked = [(message.at, int(message.fields["EXTEND_TIMEOUT_USEC"]) / 1e6) for message in systemd.messages]
            assert asked[0][0] <= end - 298
            for (at, granted), (following, _) in itertools.pairwise(asked):
                assert following - at < granted
            assert end <= max(at + granted for at, granted in asked) <= end + 5
            holding.cancel()

    asyncio.run(scenario())


def test_no_drain_is_held_for_more_than_systemd_grants_a_shutdown(tmp_path: Path) -> None:
    """Without a deadline it ends before the half hour after which systemd forces the power off; a later drain begins anew."""

    async def scenario() -> None:
        clock = FakeClock()
        drain = Draining(clock)
        async with NotifySocket(tmp_path / "notify", clock=clock) as systemd:
            hold = SystemdHold(clock=clock, manager=manager(systemd.env())[0])
            holding = asyncio.ensure_future(hold.run(drain.need))
            drain.on = True
            begun = clock.monotonic()
            await clock.run(LONGEST_SECONDS + 100)
            await systemd.until(lambda: len(systemd.messages) >= LONGEST_SECONDS / (2 * REPEAT_SECONDS))
            last = systemd.messages[-1]
            assert last.at + int(last.fields["EXTEND_TIMEOUT_USEC"]) / 1e6 <= begun + 30 * 60
            before = len(systemd.messages)
            drain.on = False
            await clock.run(1)
            drain.on = True
            await clock.run(1)
            await systemd.until(lambda: len(systemd.messages) > before)
            assert int(systemd.said["EXTEND_TIMEOUT_USEC"]) / 1e6 == GRANTED_SECONDS
            holding.cancel()

    asyncio.run(scenario())


def test_a_released_hold_asks_for_nothing_more(tmp_path: Path) -> None:
    """Once everything is off the host, systemd may kill whenever it wants."""

    async def scenario() -> None:
        clock = FakeClock()
        drain = Draining(clock)
        async with NotifySocket(tmp_path / "notify", clock=clock) as systemd:
            hold = SystemdHold(clock=clock, manager=manager(systemd.env())[0])
            holding = asyncio.ensure_future(hold.run(drain.need))
            drain.on = True
            await clock.run(1)
            await systemd.until(lambda: systemd.messages)
            await hold.release(drained=True)
            await clock.run(60)
            assert len(systemd.messages) == 1
            holding.cancel()

    asyncio.run(scenario())
