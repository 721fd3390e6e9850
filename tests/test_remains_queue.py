"""What earlier lives left is shipped one after the other, and never at the cost of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from shipper.clock import Deadline
from shipper.errors import StateDamaged, StateError
from shipper.events import Reporter
from shipper.labels.life import adopt_or_begin
from shipper.labels.remains import EarlierLife, earlier_lives
from shipper.labels.witness import Witness
from shipper.remains import RETRY_SECONDS, Remains
from shipper.testing.clock import FakeClock


class Run:
    """A run of an earlier life that does as it is told."""

    def __init__(self, ship: Callable[[Deadline], bool] | None = None) -> None:
        self.ship_now = ship
        self.closed = False

    async def ship(self, deadline: Deadline) -> bool:
        """Done as said, or never."""
        if self.ship_now is None:
            await asyncio.Event().wait()
            return False
        return self.ship_now(deadline)

    def backlog(self) -> int:
        """Some."""
        return 7

    async def aclose(self) -> None:
        """Remember it."""
        self.closed = True


class Queue:
    """Lives on a real disk, and what putting each of them together gives."""

    def __init__(self, directory: Path, count: int) -> None:
        self.clock = FakeClock()
        for number in range(count + 1):
            witness = Witness(f"boot-{number}", "dmi", "d", {"dmi": "d"})
            adopt_or_begin(str(directory), witness, self.clock)
            self.clock.advance(1)
        self.home = directory / "remains"
        self.lives, _ = earlier_lives(str(directory), str(directory / "spool"))
        self.outcomes: list[Run | Exception] = []
        self.order: list[str] = []
        self.given_up: list[str] = []
        self.remains = Remains(
            self.lives, self.put_together, self.give_up, clock=self.clock, report=Reporter(self.clock)
        )

    async def put_together(self, earlier: EarlierLife) -> Run:
        """The next outcome."""
        self.order.append(earlier.life)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def give_up(self, earlier: EarlierLife, why: str) -> None:
        """Remember it."""
        self.given_up.append(earlier.life)


def done(deadline: Deadline) -> bool:
    """Everything is out."""
    return True


def test_the_oldest_life_goes_first_and_each_is_deleted_when_it_is_done(tmp_path: Path) -> None:
    """Nothing is left on the disk, and every run was closed."""
    queue = Queue(tmp_path, 3)
    runs = [Run(done) for _ in queue.lives]
    queue.outcomes = [*runs]
    asyncio.run(queue.remains.run())
    assert queue.order == [life.life for life in queue.lives]
    assert all(run.closed for run in runs)
    assert list(queue.home.iterdir()) == []
    assert queue.remains.status() == []


def test_what_goes_wrong_is_tried_again_and_what_is_damaged_is_given_up(tmp_path: Path) -> None:
    """A fault ends neither the run nor the turn of the others; the life stays on the disk until it is shipped."""
    queue = Queue(tmp_path, 2)
    queue.outcomes = [
        StateError("the disk is full"),
        Run(lambda deadline: 1 // 0 == 0),
        StateDamaged("x", "bad"),
        Run(done),
    ]

    async def story() -> None:
        async with queue.clock.autojump():
            before = queue.clock.monotonic()
            await queue.remains.run()
            assert queue.clock.monotonic() - before == 2 * RETRY_SECONDS

    asyncio.run(story())
    first, second = (life.life for life in queue.lives)
    assert queue.order == [first, first, first, second]
    assert queue.given_up == [first]
    assert [path.name for path in queue.home.iterdir()] == [first], "setting it aside is not the queue's business"


def test_a_drain_stops_it_at_once_and_it_stays_on_the_disk(tmp_path: Path) -> None:
    """What was under way is closed when it is cancelled, and can be taken up again."""
    queue = Queue(tmp_path, 1)
    endless = Run()
    queue.outcomes = [endless, Run(done)]

    async def story() -> None:
        running = asyncio.create_task(queue.remains.run())
        while not queue.remains.status()[0]["backlog_bytes"]:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert endless.closed
        assert len(list(queue.home.iterdir())) == 1
        await queue.remains.run()
        assert list(queue.home.iterdir()) == []

    asyncio.run(story())


def test_where_the_disk_goes_it_gets_the_time_that_is_left(tmp_path: Path) -> None:
    """After the run's last words; what is not done by the deadline stays where it is, and with no time left nothing begins."""
    queue = Queue(tmp_path, 2)
    deadlines: list[Deadline] = []

    def partly(deadline: Deadline) -> bool:
        deadlines.append(deadline)
        return len(deadlines) == 1

    queue.outcomes = [Run(partly), Run(partly)]

    async def story() -> None:
        await queue.remains.finish(Deadline.after(queue.clock, 0))
        assert queue.order == []
        deadline = Deadline.after(queue.clock, 5)
        await queue.remains.finish(deadline)
        assert deadlines == [deadline, deadline]

    asyncio.run(story())
    assert [path.name for path in queue.home.iterdir()] == [queue.lives[1].life]
