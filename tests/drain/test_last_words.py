"""What a run says of its end while its disk is full: tried until the deadline, and not a moment longer."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shipper.clock import Deadline
from shipper.conductor import Conductor
from shipper.drain.order import Outcome
from shipper.drain.state import State
from shipper.events import Reporter
from shipper.last_words import LastWords
from shipper.parts import Parts
from shipper.testing.clock import FakeClock
from tests.drain.drainkit import LIFE


class Statements:
    """An account, and the numbers beside it, on a disk that is full until a moment."""

    over = False

    def __init__(self, clock: FakeClock, room_at: float) -> None:
        self.clock = clock
        self.room_at = room_at
        self.tried: list[float] = []
        self.said: list[float] = []

    async def farewell(self, *_: Any) -> None:
        now = self.clock.monotonic()
        self.tried.append(now)
        if now < self.room_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.said.append(now)


def last_words(room_after: float, deadline_after: float, check: Callable[[Statements, float, float], None]) -> None:
    """Say farewell where there is room ``room_after`` seconds; ``check`` gets what was said, the deadline, and the end."""

    async def scenario() -> None:
        clock = FakeClock()
        account = Statements(clock, clock.monotonic() + room_after)
        report = Reporter(clock)
        parts = SimpleNamespace(
            account=account, numbers=None, every_pump=[], pumps=[], left=lambda: "10 bytes", open=AsyncExitStack()
        )
        words = LastWords(cast(Parts, parts), cast(Conductor, None), clock=clock, report=report)
        deadline = Deadline.after(clock, deadline_after)
        async with clock.autojump():
            await words.farewell(Outcome(State.EXPIRED, LIFE), deadline)
        check(account, deadline.at, clock.monotonic())

    asyncio.run(scenario())


def test_the_farewell_is_written_when_there_is_room_again() -> None:
    """Until its deadline it is tried again and again, a few times a second."""

    def check(account: Statements, deadline: float, now: float) -> None:
        assert len(account.said) == 1
        assert now < deadline

    last_words(0.6, 2.0, check)


@pytest.mark.parametrize("seconds", [0.1, 0.6, 1.0])
def test_a_disk_that_stays_full_keeps_nobody_beyond_the_deadline(seconds: float) -> None:
    """The last attempt is at the deadline itself; a platform that waits for us is not kept a quarter of a second more."""

    def check(account: Statements, deadline: float, now: float) -> None:
        assert not account.said
        assert account.tried[-1] == pytest.approx(deadline)
        assert now == pytest.approx(deadline)

    last_words(1e9, seconds, check)
