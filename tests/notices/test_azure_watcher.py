"""What Azure's Scheduled Events say of a set of machines, and what follows for this one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from shipper.notice import NoticeKind
from shipper.notices.azure import (
    FIRST_TIMEOUT,
    NAME_RETRY_SECONDS,
    POLL_SECONDS,
    TIMEOUT,
    AzureWatcher,
    ScheduledEvents,
)
from shipper.notices.times import Times
from shipper.testing.platforms.azure import FakeAzure
from shipper.testing.platforms.serving import Fault, hang_up, html, huge, raw, redirect, silence, status
from tests.notices.listening import CountingClock, RecordingBoard, at_work, poll, until


class Scene:
    """A machine on Azure, its watcher at work, and the board."""

    def __init__(self, azure: FakeAzure, board: RecordingBoard, clock: CountingClock, events: ScheduledEvents) -> None:
        self.azure, self.board, self.clock, self.events = azure, board, clock, events

    async def named(self) -> None:
        """Wait until the machine knows its name and was asked about once."""
        await until(lambda: self.events.own_name)
        await self.poll()

    async def poll(self, times: int = 1) -> None:
        """Let a second pass and one more question be dealt with."""
        for _ in range(times):
            await poll(self.clock, POLL_SECONDS)


def on_azure(
    story: Callable[[Scene], Awaitable[None]],
    *,
    first_call: float = 0.0,
    before: Callable[[FakeAzure], None] | None = None,
) -> None:
    async def run() -> None:
        clock = CountingClock()
        async with FakeAzure(clock=clock, first_call_seconds=first_call) as azure:
            if before is not None:
                before(azure)
            board = RecordingBoard(clock)
            events = ScheduledEvents(clock=clock, endpoint=azure.url)
            watcher = AzureWatcher(clock=clock, times=Times(clock), events=events, hostname="web000003")
            async with at_work(watcher, board):
                await story(Scene(azure, board, clock, events))

    asyncio.run(run())


def test_the_first_answer_may_take_two_minutes() -> None:
    """The question that switches the service on is waited for; the next ones get three seconds."""

    async def story(scene: Scene) -> None:
        scene.azure.schedule("Preempt", within=150)
        await until(lambda: scene.events.own_name and scene.clock.waits[120.0])
        scene.clock.advance(119.0)
        await scene.clock.settle()
        assert scene.board.complaints == []
        scene.clock.advance(1.0)
        await until(lambda: scene.board.drains)
        assert scene.board.left() == pytest.approx(30, abs=1)
        scene.azure.script(silence())
        await until(lambda: scene.clock.waits[POLL_SECONDS])
        scene.clock.advance(POLL_SECONDS)
        await until(lambda: scene.clock.waits[TIMEOUT] > 1)  # the first three seconds were those for the name
        scene.clock.advance(TIMEOUT)
        await until(lambda: scene.board.complaints)
        assert "within 3 s" in scene.board.complaints[0]
        assert scene.board.drains

    on_azure(story, first_call=120.0)


def test_a_service_that_is_never_switched_on_is_unknown() -> None:
    """After two minutes and a half of silence it is said, and tried again with as much patience."""

    async def story(scene: Scene) -> None:
        await until(lambda: scene.clock.waits[FIRST_TIMEOUT])
        scene.clock.advance(FIRST_TIMEOUT)
        await until(lambda: scene.board.complaints)
        scene.clock.advance(POLL_SECONDS)
        await until(lambda: scene.clock.waits[FIRST_TIMEOUT] == 2)

    on_azure(story, before=lambda azure: setattr(azure, "fault", silence()))


@pytest.mark.parametrize(("kind", "within"), [("Preempt", 30.0), ("Terminate", 600.0)])
def test_our_own_end_drains_at_once(kind: str, within: float) -> None:
    """Preempt and Terminate of this machine drain, by the time that is stated."""

    async def story(scene: Scene) -> None:
        await scene.named()
        scene.azure.schedule(kind, within=within)
        await scene.poll()
        assert scene.board.drains
        assert scene.board.left() == pytest.approx(within - 1, abs=1.1)
        assert kind in scene.board.standing()[0].evidence

    on_azure(story)


def test_reading_the_list_again_and_again_says_an_event_once() -> None:
    """An event that stands for minutes is one notice, whose time does not wander with the clocks."""

    async def story(scene: Scene) -> None:
        await scene.named()
        scene.azure.date_skew = 4000.7
        scene.azure.schedule("Terminate", within=4600.0)
        await scene.poll(10)
        assert len(scene.board.told) == 1
        assert scene.board.left() == pytest.approx(590, abs=2)

    on_azure(story)


def test_events_of_other_machines_are_not_ours() -> None:
    """Events of the whole set are shown; one that does not name us does nothing."""

    async def story(scene: Scene) -> None:
        await scene.named()
        scene.azure.schedule("Preempt", within=30, resources=["web_1"])
        scene.azure.schedule("Terminate", within=300, resources=["web_30", "web_1"])
        await scene.poll(2)
        assert scene.board.told == []

    on_azure(story)


def test_an_event_for_us_and_others_drains_us_too() -> None:
    """Of the names in an event ours is one, in any spelling of capitals."""

    async def story(scene: Scene) -> None:
        await scene.named()
        scene.azure.schedule("Terminate", within=300, resources=["web_1", "WEB_3"])
        await scene.poll()
        assert scene.board.drains

    on_azure(story)


def test_an_event_that_vanishes_before_it_began_is_taken_back() -> None:
    """Called off is what leaves the list while Scheduled."""

    async def story(scene: Scene) -> None:
        await scene.named()
        event = scene.azure.schedule("Terminate", within=600)
        await scene.poll()
        assert scene.board.drains
        scene.azure.vanish(event)
        await scene.poll()
        assert not scene.board.standing()
        assert len(scene.board.taken_back) == 1

    on_azure(story)


def test_an_event_that_has_started_is_not_taken_back() -> None:
    """Started has no time and five seconds; that it then leaves the list means it is being carried out."""

    async def story(scene: Scene) -> None:
        await scene.named()
        event = scene.azure.schedule("Preempt", within=30)
        await scene.poll()
        scene.azure.start(event)
        await scene.poll()
        assert scene.board.left() == pytest.approx(5, abs=1)
        scene.azure.vanish(event)
        await scene.poll(2)
        assert scene.board.drains
        assert scene.board.taken_back == []

    on_azure(story)


def test_an_event_whose_time_has_come_is_not_taken_back_by_leaving_the_list() -> None:
    """Between two questions it may have started: its time had come, so it is not called off."""

    async def story(scene: Scene) -> None:
        await scene.named()
        event = scene.azure.schedule("Preempt", within=2)
        await scene.poll(3)
        scene.azure.vanish(event)
        await scene.poll()
        assert scene.board.taken_back == []

    on_azure(story)


def test_hardware_that_fails_starts_without_a_warning() -> None:
    """An event that is Started when first seen drains at once."""

    async def story(scene: Scene) -> None:
        await scene.named()
        event = scene.azure.schedule("Reboot", within=None)
        scene.azure.start(event)
        await scene.poll()
        assert scene.board.drains
        assert scene.board.left() == pytest.approx(5, abs=1)

    on_azure(story)


def test_a_redeploy_in_days_waits_for_its_time() -> None:
    """Reboot and Redeploy are scheduled: no drain until their time is near."""

    async def story(scene: Scene) -> None:
        await scene.named()
        scene.azure.schedule("Redeploy", within=3 * 86_400.0)
        await scene.poll()
        assert [one.kind for one in scene.board.standing()] == [NoticeKind.SCHEDULED]
        assert not scene.board.drains

    on_azure(story)


def test_a_freeze_is_advice_and_is_over_when_it_leaves_the_list() -> None:
    """A pause of seconds lifts the pacing and begins no drain, started or not; so does a type nobody knows yet."""

    async def story(scene: Scene) -> None:
        await scene.named()
        freeze, other = scene.azure.schedule("Freeze"), scene.azure.schedule("Levitate")
        await scene.poll()
        scene.azure.start(freeze)
        await scene.poll()
        assert {one.kind for one in scene.board.standing()} == {NoticeKind.ADVISORY}
        scene.azure.vanish(freeze)
        scene.azure.vanish(other)
        await scene.poll()
        assert not scene.board.standing()

    on_azure(story)


@pytest.mark.parametrize(
    ("not_before", "complains"), [("", False), ("soon", True), ("2016-13-45T99:00:00Z", True)], ids=str
)
def test_an_event_without_a_time_that_makes_sense_drains_by_the_usual_one(not_before: str, complains: bool) -> None:
    """What matters is that we are named; the time is then the one that Azure usually gives."""

    async def story(scene: Scene) -> None:
        await scene.named()
        event = scene.azure.events[scene.azure.schedule("Preempt")].document() | {"NotBefore": not_before}
        scene.azure.fault = raw(json.dumps({"Events": [event]}).encode())
        await scene.poll(2)
        assert scene.board.drains
        assert scene.board.left() == pytest.approx(20, abs=2)
        assert bool(scene.board.complaints) is complains

    on_azure(story)


def test_a_time_in_another_spelling_is_understood() -> None:
    """An ISO time with a zone is the same moment."""

    async def story(scene: Scene) -> None:
        await scene.named()
        event = scene.azure.events[scene.azure.schedule("Terminate")].document()
        event["NotBefore"] = "2023-11-15T00:18:20+02:00"  # 300 s after the clock's beginning
        scene.azure.fault = raw(json.dumps({"Events": [event]}).encode())
        await scene.poll()
        assert scene.board.left() == pytest.approx(300, abs=3)

    on_azure(story)


def test_an_event_long_past_is_said_and_drains_nothing() -> None:
    """A list that still holds yesterday's event does not end a host that outlived it."""

    async def story(scene: Scene) -> None:
        await scene.named()
        scene.azure.schedule("Terminate", within=-86_400)
        await scene.poll(2)
        assert not scene.board.drains

    on_azure(story)


def test_without_its_own_name_a_machine_takes_events_for_advice() -> None:
    """Each eviction would otherwise drain a whole set; the name, once known, decides."""

    async def story(scene: Scene) -> None:
        scene.azure.schedule("Preempt", within=60)
        scene.azure.schedule("Terminate", within=300, resources=["web_1"])
        await scene.poll()
        assert {one.kind for one in scene.board.standing()} == {NoticeKind.ADVISORY}
        assert all("name is not known" in one.evidence for one in scene.board.standing())
        scene.azure.instance = True
        await until(lambda: scene.clock.waits[NAME_RETRY_SECONDS])
        scene.clock.advance(NAME_RETRY_SECONDS)
        await until(lambda: scene.events.own_name)
        await scene.poll()
        assert [one.kind for one in scene.board.standing()] == [NoticeKind.IMMINENT]

    on_azure(story, before=lambda azure: setattr(azure, "instance", False))


def test_without_its_own_name_a_machine_knows_itself_by_its_host_name() -> None:
    """An event that names this host as it calls itself is ours."""

    async def story(scene: Scene) -> None:
        scene.azure.schedule("Preempt", within=60, resources=["web000003"])
        await scene.poll()
        assert scene.board.drains

    on_azure(story, before=lambda azure: setattr(azure, "instance", False))


def test_a_list_with_nonsense_in_it_still_tells_what_it_tells() -> None:
    """Good entries count; since one could not be read, none that is missing is taken back."""

    async def story(scene: Scene) -> None:
        await scene.named()
        first = scene.azure.schedule("Terminate", within=600)
        await scene.poll()
        second = scene.azure.events[scene.azure.schedule("Preempt", within=60)].document()
        scene.azure.vanish(first)
        entries = [second, 7, {"EventType": "Preempt"}, {"EventId": "x", "Resources": "web_3", "EventType": "Preempt"}]
        scene.azure.fault = raw(json.dumps({"Events": entries}).encode())
        await scene.poll()
        assert len(scene.board.standing()) == 2
        assert scene.board.left() < 60
        assert scene.board.complaints
        scene.azure.fault = None
        await scene.poll()
        assert len(scene.board.standing()) == 1

    on_azure(story)


NONSENSE = {
    "a web page": html(),
    "no list": raw(b'{"DocumentIncarnation":1,"Events":null}'),
    "another list": raw(b'[{"EventType":"Preempt"}]'),
    "half of it": raw(b'{"Events":[{"EventType":"Pree'),
    "a flood": huge(),
    "400": status(400, b'{"error":"Bad request"}'),
    "404": status(404),
    "429": status(429),
    "500": status(500),
    "elsewhere": redirect("http://127.0.0.1:1/"),
    "nothing": hang_up(),
}


@pytest.mark.parametrize("fault", NONSENSE.values(), ids=NONSENSE.keys())
def test_an_answer_of_azure_that_makes_no_sense_is_unknown(fault: Fault) -> None:
    """It takes nothing back and begins nothing, and the next good answer counts."""

    async def story(scene: Scene) -> None:
        await scene.named()
        scene.azure.schedule("Terminate", within=600)
        await scene.poll()
        scene.azure.fault = fault
        await scene.poll()
        assert scene.board.complaints[0].startswith("the list of scheduled events ")
        assert scene.board.drains
        assert scene.board.taken_back == []
        scene.azure.fault = None
        await scene.poll()
        assert scene.board.sources_unknown() == {}

    on_azure(story)
