"""The sidecar as an extension of a Lambda function."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shipper.notices.lambda_extension import (
    END_SECONDS,
    FAULTS,
    FLUSH_SECONDS,
    MARGIN_SECONDS,
    PAUSE_SECONDS,
    LambdaWatcher,
)
from shipper.notices.times import Times
from shipper.testing.platforms.lambda_api import FakeLambda
from shipper.testing.platforms.serving import Fault, html, raw, status
from tests.notices.listening import CountingClock, RecordingBoard, at_work, until


class Scene:
    """A function's environment, the extension at work in it, and the board."""

    def __init__(self, api: FakeLambda, board: RecordingBoard, clock: CountingClock, task: asyncio.Task[None]) -> None:
        self.api, self.board, self.clock, self.task = api, board, clock, task


def in_lambda(
    story: Callable[[Scene], Awaitable[None]],
    *,
    extension: str = "shipper",
    telemetry: bool = True,
    telemetry_host: str = "127.0.0.1",
    before: Callable[[FakeLambda], None] | None = None,
) -> None:
    async def run() -> None:
        clock = CountingClock()
        async with FakeLambda(clock=clock, telemetry=telemetry) as api:
            if before is not None:
                before(api)
            board = RecordingBoard(clock)
            watcher = LambdaWatcher(
                clock=clock,
                report=board.reported,
                times=Times(clock),
                runtime_api=api.runtime_api,
                extension=extension,
                telemetry_host=telemetry_host,
            )
            async with at_work(watcher, board) as task:
                await story(Scene(api, board, clock, task))

    asyncio.run(run())


def test_it_registers_for_both_events_and_asks_for_the_first() -> None:
    """Registered by the name of its file, for INVOKE and SHUTDOWN, with the ends of invocations subscribed to."""

    async def story(scene: Scene) -> None:
        await scene.api.until_ready()
        assert list(scene.api.registered.values()) == [["INVOKE", "SHUTDOWN"]]
        assert len(scene.api.subscribed) == 1
        assert scene.board.complaints == []

    in_lambda(story)


def test_the_next_event_is_asked_for_when_the_function_is_done_and_all_is_sent() -> None:
    """In between the environment cannot be frozen, so the last words of an invocation get away."""

    async def story(scene: Scene) -> None:
        await scene.api.until_ready()
        scene.api.invoke("r-1", timeout=3.0)
        await until(lambda: scene.clock.waits[3.0])  # it waits for the function, as long as that may take
        assert scene.board.flushes == []
        await scene.api.runtime_done("another")
        await scene.clock.settle()
        assert scene.api.asked_next == 1
        await scene.api.runtime_done("r-1")
        await scene.api.until_ready(2)
        assert scene.board.flushes == [FLUSH_SECONDS]

    in_lambda(story)


def test_a_function_that_never_ends_is_flushed_by_its_time_out() -> None:
    """No word of the end comes: what there is is sent, and the next event asked for."""

    async def story(scene: Scene) -> None:
        await scene.api.until_ready()
        scene.api.invoke("r-1", timeout=3.0)
        await until(lambda: scene.clock.waits[3.0])
        scene.clock.advance(3.0)
        await scene.api.until_ready(2)
        assert scene.board.flushes == [PAUSE_SECONDS]

    in_lambda(story)


@pytest.mark.parametrize(("telemetry", "host"), [(False, "127.0.0.1"), (True, "192.0.2.1")])
def test_where_ends_are_not_told_it_flushes_at_the_beginning(telemetry: bool, host: str) -> None:
    """That is said once, and each invocation still sends what earlier ones left."""

    async def story(scene: Scene) -> None:
        await scene.api.until_ready()
        scene.api.invoke("r-1", timeout=1.0)
        await scene.api.until_ready(2)
        assert scene.board.flushes == [pytest.approx(1.0 - MARGIN_SECONDS, abs=0.01)]
        assert scene.board.reported.metrics.problems.labels("notice-source")._value.get() == 1

    in_lambda(story, telemetry=telemetry, telemetry_host=host)


@pytest.mark.parametrize("remaining", [False, True])
def test_the_end_drains_by_the_time_that_is_stated(remaining: bool) -> None:
    """``deadlineMs`` is a time in practice and what is left by the documentation: both are understood, and at that time we
    are gone."""

    async def story(scene: Scene) -> None:
        await scene.api.until_ready()
        scene.api.shut_down("SPINDOWN", within=2.0, remaining=remaining)
        await until(lambda: scene.board.drains)
        assert scene.board.left() == pytest.approx(2.0 - END_SECONDS, abs=0.01)
        assert "SPINDOWN" in scene.board.standing()[0].evidence
        await scene.task
        assert scene.api.asked_next == 1

    in_lambda(story)


@pytest.mark.parametrize("reason", ["TIMEOUT", "FAILURE"])
def test_an_end_that_is_no_ordinary_one_says_why(reason: str) -> None:
    """The evidence tells a person that the function's time ran out, or that something failed."""

    async def story(scene: Scene) -> None:
        await scene.api.until_ready()
        scene.api.shut_down(reason)
        await until(lambda: scene.board.drains)
        assert f"{reason} (" in scene.board.standing()[0].evidence

    in_lambda(story)


@pytest.mark.parametrize("stated", [None, "soon", True, -5, 0, 1_000_000_000_000, 9e15, [2000]], ids=str)
def test_an_end_whose_time_makes_no_sense_still_drains(stated: object) -> None:
    """A clock that is wrong by years moves nothing: then the usual 1.2 seconds count."""

    async def story(scene: Scene) -> None:
        await scene.api.until_ready()
        scene.api.say({"eventType": "SHUTDOWN", "deadlineMs": stated})
        await until(lambda: scene.board.drains)
        assert scene.board.left() == pytest.approx(1.2)

    in_lambda(story)


def test_a_name_that_is_not_its_file_s_is_said() -> None:
    """Lambda refuses to register a stranger: the sentence names the file that it wants, and the sidecar lives on."""

    async def story(scene: Scene) -> None:
        await scene.task
        assert "/opt/extensions/python3" in scene.board.complaints[0]
        assert not scene.board.standing()

    in_lambda(story, extension="python3")


def test_an_event_nobody_knows_is_passed_over() -> None:
    """A new type is neither an invocation nor the end."""

    async def story(scene: Scene) -> None:
        await scene.api.until_ready()
        scene.api.say({"eventType": "RESTORE"})
        await scene.api.until_ready(2)
        assert scene.board.told == []
        assert scene.board.flushes == []

    in_lambda(story)


@pytest.mark.parametrize("fault", [html(), raw(b'{"event":1}'), status(500)], ids=["page", "no event", "500"])
def test_a_question_that_fails_is_asked_again(fault: Fault) -> None:
    """One answer that makes no sense is said; the end after it is heard."""

    async def story(scene: Scene) -> None:
        await scene.api.until_ready()
        scene.api.script(fault)
        scene.api.say({"eventType": "RESTORE"})
        await until(lambda: scene.board.complaints)
        scene.api.shut_down()
        await until(lambda: scene.clock.waits[PAUSE_SECONDS])
        scene.clock.advance(PAUSE_SECONDS)
        await until(lambda: scene.board.drains)

    in_lambda(story)


@pytest.mark.parametrize("had_event", [False, True])
def test_an_extension_that_cannot_go_on_says_so(had_event: bool) -> None:
    """After five failures Lambda is told, at init/error before the first event and exit/error after it, and not asked again."""

    def break_next(api: FakeLambda) -> None:
        api.faults["/2020-01-01/extension/event/next"] = status(500)

    async def story(scene: Scene) -> None:
        if had_event:
            await scene.api.until_ready()
            break_next(scene.api)
            scene.api.say({"eventType": "RESTORE"})
        for pause in range(1, FAULTS):
            await until(lambda pause=pause: scene.clock.waits[PAUSE_SECONDS] == pause)
            scene.clock.advance(PAUSE_SECONDS)
        await scene.task
        place = "exit" if had_event else "init"
        assert scene.api.errors == [(f"/{place}/error", "Extension.NextEventFailed")]
        assert len(scene.board.complaints) == FAULTS

    in_lambda(story, before=None if had_event else break_next)
