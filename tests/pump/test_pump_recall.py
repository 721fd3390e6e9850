"""A wait that can be called off: by whom, when, and what a cancellation in the same moment means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from shipper.pump.recall import GaveWay, Recall

Meanwhile = Callable[[Recall, "asyncio.Task[str]", asyncio.Event], None]


async def wait_while(meanwhile: Meanwhile) -> str:
    """What becomes of a task that waits for an event, when ``meanwhile`` happens."""
    recall = Recall()
    event = asyncio.Event()

    async def work() -> str:
        async with recall.waiting():
            await event.wait()
        await asyncio.sleep(0)
        return "done"

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    meanwhile(recall, task, event)
    result = await asyncio.gather(task, return_exceptions=True)
    assert task.cancelling() == isinstance(result[0], asyncio.CancelledError)
    return result[0] if isinstance(result[0], str) else type(result[0]).__name__


def ask(recall: Recall, task: asyncio.Task[str], event: asyncio.Event) -> None:
    """Call it back, twice."""
    recall.ask()
    recall.ask()


def wake_and_ask(recall: Recall, task: asyncio.Task[str], event: asyncio.Event) -> None:
    """What it waits for comes in the same moment."""
    event.set()
    recall.ask()


def ask_and_cancel(recall: Recall, task: asyncio.Task[str], event: asyncio.Event) -> None:
    """Somebody ends the whole task in the same moment."""
    recall.ask()
    task.cancel()


@pytest.mark.parametrize(
    ("meanwhile", "becomes"),
    [
        (ask, "GaveWay"),
        (wake_and_ask, "done"),
        (ask_and_cancel, "CancelledError"),
        (lambda recall, task, event: task.cancel(), "CancelledError"),
        (lambda recall, task, event: event.set(), "done"),
    ],
)
def test_a_wait_ends_as_what_happened_says(meanwhile: Meanwhile, becomes: str) -> None:
    """Who is called back gives way unless the wait is over; who is cancelled is cancelled, called back or not."""
    assert asyncio.run(wait_while(meanwhile)) == becomes


def test_who_was_called_back_waits_no_more() -> None:
    """The next wait gives way at once, and a failure within a wait stays what it is."""

    async def story() -> None:
        recall = Recall()
        with pytest.raises(OSError, match="broken"):
            async with recall.waiting():
                raise OSError("broken")
        recall.ask()
        with pytest.raises(GaveWay):
            async with recall.waiting():
                raise AssertionError("not reached")

    asyncio.run(story())
