"""What Google's metadata server says of a machine, and what follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from shipper.notice import NoticeKind
from shipper.notices.gce import IDLE_SECONDS, PAUSE_SECONDS, TIMEOUT_SECONDS, GceWatcher
from shipper.notices.times import Times
from shipper.testing.platforms.gce import FakeGce
from shipper.testing.platforms.serving import Fault, hang_up, html, huge, raw, redirect, status
from tests.notices.listening import CountingClock, RecordingBoard, at_work, until


class Scene:
    """A machine on GCE, its watcher at work, and the board."""

    def __init__(self, gce: FakeGce, board: RecordingBoard, clock: CountingClock) -> None:
        self.gce, self.board, self.clock = gce, board, clock

    async def hears(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait until a condition holds; the watcher's short pauses between two questions pass meanwhile."""
        while not condition():
            await until(lambda: condition() or self._pauses(), what)
            if not condition():
                self.clock.begun[PAUSE_SECONDS] = self.clock.waits[PAUSE_SECONDS]
                self.clock.advance(PAUSE_SECONDS)

    async def listens(self) -> None:
        """Wait until a question hangs."""
        asked = len(self.gce.asked)
        await self.hears(lambda: len(self.gce.asked) > asked, "the next question")

    def _pauses(self) -> bool:
        return self.clock.waits[PAUSE_SECONDS] > self.clock.begun.get(PAUSE_SECONDS, 0)


def on_gce(story: Callable[[Scene], Awaitable[None]], *, before: Callable[[FakeGce], None] | None = None) -> None:
    async def run() -> None:
        clock = CountingClock()
        async with FakeGce(clock=clock, shutdown_details=True) as gce:
            if before is not None:
                before(gce)
            board = RecordingBoard(clock)
            watcher = GceWatcher(clock=clock, times=Times(clock), endpoint=gce.metadata_host)
            async with at_work(watcher, board):
                await story(Scene(gce, board, clock))

    asyncio.run(run())


async def calm(scene: Scene) -> None:
    """The first answer has come, and the second question hangs."""
    await until(lambda: scene.board.good)
    await scene.listens()


def rfc3339(clock: CountingClock, seconds: float) -> str:
    """A time that many seconds from now, as a server in another time zone writes it."""
    moment = datetime.fromtimestamp(clock.wall_ns() / 1e9 + seconds, UTC)
    return moment.isoformat().replace("+00:00", "Z")


def test_a_machine_that_is_left_alone_is_asked_about_once_a_minute() -> None:
    """The first question is answered at once, the second hangs until something changes; parameters stand in the URL."""

    async def story(scene: Scene) -> None:
        await calm(scene)
        first, second = scene.gce.asked
        assert first.path == "/computeMetadata/v1/instance/"
        assert first.query["last_etag"] == "NONE"
        assert (first.query["wait_for_change"], first.query["recursive"]) == ("true", "true")
        assert second.query["last_etag"] not in ("NONE", "")
        assert int(second.query["timeout_sec"]) < TIMEOUT_SECONDS
        assert scene.board.all() == []
        assert scene.board.complaints == []

    on_gce(story)


def test_preemption_drains_with_the_usual_time() -> None:
    """A Spot machine gets no time stated, so 22 of its 30 seconds are assumed."""

    async def story(scene: Scene) -> None:
        await calm(scene)
        scene.gce.preempt()
        await scene.hears(lambda: scene.board.drains)
        assert scene.board.left() == pytest.approx(22.0)
        assert "preempted is TRUE" in scene.board.standing()[0].evidence

    on_gce(story)


def test_a_preemption_that_was_there_before_us_is_heard() -> None:
    """What stands when the sidecar starts is in the first answer."""

    async def story(scene: Scene) -> None:
        await until(lambda: scene.board.drains)

    on_gce(story, before=FakeGce.preempt)


def test_an_answer_that_never_comes_does_not_take_a_preemption_back() -> None:
    """Silence, errors and nonsense neither begin a drain nor end one."""

    async def story(scene: Scene) -> None:
        await until(lambda: scene.board.drains)
        await scene.listens()
        await scene.gce.go_down()
        await until(lambda: scene.board.complaints)
        assert scene.board.drains
        assert scene.board.taken_back == []

    on_gce(story, before=FakeGce.preempt)


def test_live_migration_is_advice_and_termination_is_not() -> None:
    """MIGRATE lifts the pacing only, TERMINATE drains within its minute, NONE takes either back."""

    async def story(scene: Scene) -> None:
        await calm(scene)
        scene.gce.maintenance("MIGRATE_ON_HOST_MAINTENANCE")
        await scene.hears(lambda: scene.board.standing())
        assert [one.kind for one in scene.board.standing()] == [NoticeKind.ADVISORY]
        assert not scene.board.drains
        scene.gce.maintenance("TERMINATE_ON_HOST_MAINTENANCE")
        await scene.hears(lambda: scene.board.drains)
        assert 40 <= scene.board.left() <= 60
        scene.gce.maintenance("NONE")
        await scene.hears(lambda: not scene.board.standing())

    on_gce(story)


def test_a_graceful_stop_ends_when_it_says() -> None:
    """The time it was asked for and its length make the deadline, in whatever zone the time is written."""

    async def story(scene: Scene) -> None:
        await calm(scene)
        asked = datetime.fromtimestamp(scene.clock.wall_ns() / 1e9 - 5).astimezone(
            datetime.strptime("-0700", "%z").tzinfo
        )
        scene.gce.stop("PENDING_STOP", max_duration="600s", request_timestamp=asked.isoformat())
        await scene.hears(lambda: scene.board.drains)
        assert scene.board.left() == pytest.approx(595.0, abs=1.0)
        scene.gce.stop("STOPPING")
        await scene.hears(lambda: scene.board.left() < 100)
        assert scene.board.left() == pytest.approx(80.0)

    on_gce(story)


def test_a_graceful_stop_without_its_own_time_gets_the_usual_one() -> None:
    """The state alone drains; a time that is none is said and not needed; UNSPECIFIED takes it back."""

    async def story(scene: Scene) -> None:
        await calm(scene)
        scene.gce.stop("PENDING_STOP")
        await scene.hears(lambda: scene.board.drains)
        assert scene.board.left() == pytest.approx(80.0)
        scene.gce.stop("PENDING_STOP", max_duration="300", request_timestamp="in a while")
        await scene.hears(lambda: scene.board.left() > 100)
        assert scene.board.left() == pytest.approx(300.0)
        await scene.hears(lambda: any("in a while" in said for said in scene.board.complaints))
        scene.gce.stop("UNSPECIFIED")
        await scene.hears(lambda: not scene.board.drains)

    on_gce(story)


def test_a_machine_without_graceful_stops_is_not_odd() -> None:
    """Where there is no shutdown-details at all, nothing is said of it."""

    async def story(scene: Scene) -> None:
        await calm(scene)
        assert scene.board.complaints == []
        assert not scene.board.standing()

    on_gce(story, before=lambda gce: gce.remove("instance/shutdown-details"))


def test_a_limited_run_time_is_scheduled() -> None:
    """The end of a machine's run time is known hours ahead, drains when it is near, and goes when it is lifted."""

    async def story(scene: Scene) -> None:
        await calm(scene)
        scene.gce.put("instance/scheduling/termination-timestamp", rfc3339(scene.clock, 7200))
        await scene.hears(lambda: scene.board.standing())
        assert not scene.board.drains
        assert scene.board.next_due() == pytest.approx(7080, abs=1)
        scene.gce.remove("instance/scheduling/termination-timestamp")
        await scene.hears(lambda: not scene.board.standing())

    on_gce(story)


def test_a_wrong_clock_of_this_host_does_not_move_a_stated_end() -> None:
    """With a host an hour behind, the Date header of the answer is what the end is counted from."""

    async def story(scene: Scene) -> None:
        await calm(scene)
        scene.gce.date_skew = 3600.0
        scene.gce.put("instance/scheduling/termination-timestamp", rfc3339(scene.clock, 3600 + 60))
        await scene.hears(lambda: scene.board.drains)
        assert scene.board.left() == pytest.approx(60, abs=1)

    on_gce(story)


def test_an_operator_drains_a_machine_by_its_metadata() -> None:
    """``shipper-drain`` begins a drain, may state a time and a reason, and takes it back when it goes or says false."""

    async def story(scene: Scene) -> None:
        await calm(scene)
        scene.gce.attribute("shipper-drain", "true")
        await scene.hears(lambda: scene.board.drains)
        assert scene.board.left() == pytest.approx(25.0)
        scene.gce.attribute("shipper-drain", "90s kernel update")
        await scene.hears(lambda: scene.board.left() > 60)
        assert "kernel update" in scene.board.standing()[0].evidence
        scene.gce.attribute("shipper-drain", "false")
        await scene.hears(lambda: not scene.board.drains)
        scene.gce.attribute("shipper-drain", "")
        await scene.hears(lambda: scene.board.drains)
        scene.gce.attribute("shipper-drain", None)
        await scene.hears(lambda: not scene.board.drains)

    on_gce(story)


def test_a_word_nobody_knows_is_said_and_changes_nothing() -> None:
    """``preempted`` that is neither TRUE nor FALSE is unknown: it neither drains nor takes back."""

    async def story(scene: Scene) -> None:
        await until(lambda: scene.board.drains)
        scene.gce.put("instance/preempted", "PERHAPS")
        await scene.hears(lambda: any("PERHAPS" in said for said in scene.board.complaints))
        assert scene.board.drains

    on_gce(story, before=FakeGce.preempt)


def test_a_large_start_up_script_does_not_hide_a_preemption() -> None:
    """Custom metadata of hundreds of kilobytes comes with every answer, and is not taken for a flood."""

    def large(gce: FakeGce) -> None:
        gce.attribute("startup-script", "#!/bin/sh\n" + "echo <&>\n" * 30_000)
        gce.preempt()

    async def story(scene: Scene) -> None:
        await until(lambda: scene.board.drains)

    on_gce(story, before=large)


NONSENSE = {
    "an impostor": raw(b'{"id":1,"preempted":"TRUE"}'),
    "a web page": Fault(200, b"<html>Sign in</html>", "text/html", {"Metadata-Flavor": "Google"}),
    "a proxy's page": html(),
    "a list": raw(b"[1]", Metadata_Flavor="Google"),
    "half of it": raw(b'{"id":1,"preempted":"TR', Metadata_Flavor="Google"),
    "no machine": raw(b'{"preempted-not":"TRUE"}', Metadata_Flavor="Google"),
    "no text": raw(b"\xff\xfe\x00", Metadata_Flavor="Google"),
    "deep": raw(b"[" * 100_000, Metadata_Flavor="Google"),
    "a flood": huge(8 << 20),
    "503": Fault(503, headers={"Metadata-Flavor": "Google"}),
    "404": Fault(404, headers={"Metadata-Flavor": "Google"}),
    "403": status(403),
    "elsewhere": redirect("http://127.0.0.1:1/"),
    "nothing": hang_up(),
}


@pytest.mark.parametrize("fault", NONSENSE.values(), ids=NONSENSE.keys())
def test_an_answer_that_makes_no_sense_is_unknown(fault: Fault) -> None:
    """It begins no drain, is said in a sentence, and the true answer after it is heard."""

    def broken(gce: FakeGce) -> None:
        gce.fault = fault

    async def story(scene: Scene) -> None:
        await until(lambda: scene.board.complaints)
        assert scene.board.complaints[0].startswith("the metadata server ")
        assert not scene.board.standing()
        scene.gce.fault = None
        scene.gce.preempt()
        await until(lambda: scene.clock.waits[IDLE_SECONDS] > 0)
        scene.clock.advance(IDLE_SECONDS)
        await until(lambda: scene.board.drains)

    on_gce(story, before=broken)


def test_an_answer_that_broke_off_is_asked_for_again_at_once() -> None:
    """Its ETag does not count: the change that it was to tell of would otherwise wait for the next one."""

    def broken(gce: FakeGce) -> None:
        gce.preempt()
        gce.script(raw(b'{"id":1,"preempted":"TR', Metadata_Flavor="Google", ETag=gce.etag("instance/")))

    async def story(scene: Scene) -> None:
        await until(lambda: scene.clock.waits[IDLE_SECONDS])
        scene.clock.advance(IDLE_SECONDS)
        await until(lambda: scene.board.drains)

    on_gce(story, before=broken)


def test_a_server_that_hangs_is_given_up_after_its_own_time() -> None:
    """The long poll may take its minute; ten seconds more and the server counts as silent."""

    async def story(scene: Scene) -> None:
        await until(lambda: scene.clock.waits[TIMEOUT_SECONDS])
        scene.clock.advance(TIMEOUT_SECONDS - 1)
        await scene.clock.settle()
        assert scene.board.complaints == []
        scene.clock.advance(1)
        await until(lambda: scene.board.complaints)
        assert "no answer within 70 s" in scene.board.complaints[0]

    def mute(gce: FakeGce) -> None:
        gce.fault = Fault(end="silence")

    on_gce(story, before=mute)


def test_a_server_that_does_not_wait_is_asked_once_a_second() -> None:
    """A simple stand-in that answers every long poll at once is not asked in a busy loop."""

    def simple(gce: FakeGce) -> None:
        gce.fault = raw(b'{"id":1,"preempted":"FALSE"}', Metadata_Flavor="Google")

    async def story(scene: Scene) -> None:
        await until(lambda: scene.clock.waits[PAUSE_SECONDS])
        scene.clock.advance(PAUSE_SECONDS)
        await until(lambda: scene.clock.waits[IDLE_SECONDS])
        assert len(scene.gce.asked) == 2
        assert scene.board.complaints == []

    on_gce(story, before=simple)
