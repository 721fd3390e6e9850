"""What is approved on Azure, and above all what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shipper.events import Reporter
from shipper.notices.azure import ScheduledEvents
from shipper.notices.azure_hold import RELEASE_SECONDS, AzureHold
from shipper.testing.platforms.azure import FakeAzure
from shipper.testing.platforms.serving import Fault, html, silence, status
from tests.notices.listening import CountingClock, until


class Scene:
    """A machine that knows its name, and its hold."""

    def __init__(self, azure: FakeAzure, hold: AzureHold, clock: CountingClock, report: Reporter) -> None:
        self.azure, self.hold, self.clock, self._report = azure, hold, clock, report

    def problems(self) -> float:
        """How many problems were reported."""
        return self._report.metrics.problems.labels("hold")._value.get()


def drained(story: Callable[[Scene], Awaitable[None]], *, knows_name: bool = True) -> None:
    async def run() -> None:
        clock = CountingClock()
        report = Reporter(clock)
        async with FakeAzure(clock=clock) as azure:
            events = ScheduledEvents(clock=clock, endpoint=azure.url)
            if knows_name:
                await events.learn_name()
            await story(Scene(azure, AzureHold(clock=clock, report=report, events=events), clock, report))
            await events.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["Terminate", "Preempt"])
def test_our_own_end_is_approved_when_nothing_is_left(kind: str) -> None:
    """Azure need not wait for NotBefore with a host that is empty."""

    async def story(scene: Scene) -> None:
        event = scene.azure.schedule(kind)
        await scene.hold.release(drained=True)
        assert scene.azure.approved == [event]
        assert scene.problems() == 0

    drained(story)


def test_nothing_is_approved_by_a_host_that_is_not_empty() -> None:
    """When time is up Azure goes on by itself, and until then a late byte may still get away."""

    async def story(scene: Scene) -> None:
        scene.azure.schedule("Terminate")
        await scene.hold.release(drained=False)
        assert scene.azure.asked[1:] == []

    drained(story)


@pytest.mark.parametrize(
    ("kind", "resources"),
    [
        ("Reboot", None),
        ("Redeploy", None),
        ("Freeze", None),
        ("Terminate", ["web_1"]),
        ("Terminate", ["web_3", "web_1"]),
        ("Preempt", []),
    ],
    ids=str,
)
def test_what_is_not_ours_alone_is_never_approved(kind: str, resources: list[str] | None) -> None:
    """An approval counts for all machines of an event, and other types begin what nobody drained for."""

    async def story(scene: Scene) -> None:
        scene.azure.schedule(kind, resources=resources)
        await scene.hold.release(drained=True)
        assert scene.azure.approved == []

    drained(story)


def test_what_has_started_or_is_gone_needs_no_approval() -> None:
    """The list is asked anew at the release: only what still waits there is approved."""

    async def story(scene: Scene) -> None:
        scene.azure.start(scene.azure.schedule("Terminate"))
        scene.azure.vanish(scene.azure.schedule("Preempt"))
        await scene.hold.release(drained=True)
        assert scene.azure.approved == []

    drained(story)


def test_a_machine_that_does_not_know_its_name_approves_nothing() -> None:
    """Whether an event names us is then not known, so it is left alone."""

    async def story(scene: Scene) -> None:
        scene.azure.schedule("Terminate")
        await scene.hold.release(drained=True)
        assert scene.azure.approved == []

    drained(story, knows_name=False)


@pytest.mark.parametrize("fault", [html(), status(400), status(500)], ids=["page", "400", "500"])
def test_an_approval_that_fails_is_said(fault: Fault) -> None:
    """The release does not raise, whichever of its two questions goes wrong."""

    async def story(scene: Scene) -> None:
        scene.azure.schedule("Terminate")
        scene.azure.script(fault)
        await scene.hold.release(drained=True)
        assert scene.problems() == 1
        assert scene.azure.approved == []

    drained(story)


def test_a_release_does_not_wait_for_azure() -> None:
    """A service that does not answer is left alone after two seconds."""

    async def story(scene: Scene) -> None:
        scene.azure.schedule("Terminate")
        scene.azure.script(silence())
        release = asyncio.create_task(scene.hold.release(drained=True))
        await until(lambda: scene.clock.waits[RELEASE_SECONDS] == 2)
        scene.clock.advance(RELEASE_SECONDS)
        await release
        assert scene.problems() == 1

    drained(story)
