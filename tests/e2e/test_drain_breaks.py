"""What was found by breaking drains: words, signals and outages at the moments that hurt most."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from shipper.testing.sink import Received, Sink, accept, held
from tests.e2e.kit import Shipper, data_lines, shipper, sidecar, statements, until


async def say(one: Shipper, *arguments: str) -> None:
    """Have a verb tell the sidecar something."""
    answer = await asyncio.to_thread(shipper, *arguments, "--state-dir", str(one.directory / "state"))
    assert answer.returncode == 0, answer.stdout + answer.stderr


def is_farewell(request: Received) -> bool:
    return any('"outcome":' in line for line in request.lines())


def test_a_notice_during_the_farewell_is_not_stated_behind_it(tmp_path: Path) -> None:
    """The farewell stays the last word of the run, else the audit would take it for a life that ended without one."""

    async def scenario() -> None:
        log = tmp_path / "app.log"
        log.write_text("one\n")
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, log) as one:
            await one.up()
            await until(lambda: data_lines(sink) == ["one"], "the line arrives")
            sink.judge = lambda request: held() if is_farewell(request) else accept()
            one.signal(signal.SIGTERM)
            await until(lambda: any(map(is_farewell, sink.received)), "the farewell is on its way")
            await say(one, "notice", "--deadline", "30s", "--source", "late")
            await until(lambda: "imminent notice from late" in one.said(), "the notice is heard")
            sink.release()
            assert await one.ended() == 0
            said = statements(sink)
            assert max(said, key=lambda each: (each["run"], each["seq"])) == said[-1]
            assert said[-1]["outcome"] == "drained"

    asyncio.run(scenario())


def test_a_stated_time_ends_the_drain_that_a_guess_began(tmp_path: Path) -> None:
    """The time by which the host is gone is the earliest of all: whoever said it, no drain goes on behind it as if nothing was."""

    async def scenario() -> None:
        log, touch = tmp_path / "app.log", tmp_path / "touch"
        async with Sink() as sink:
            settings = {"SHIPPER_NOTICES_TOUCH_FILE": str(touch)}
            with open(log, "a", buffering=1) as service:  # which never ends
                async with sidecar(tmp_path / "host", sink.url, log, **settings) as one:
                    await one.up()
                    service.write("one\n")
                    await until(lambda: data_lines(sink) == ["one"], "the service is known")
                    touch.touch()
                    await until(lambda: "draining because of notice from touch-file" in one.said(), "the drain begins")
                    await say(one, "notice", "--deadline", "2s", "--source", "rack")
                    assert await one.ended() == 3
                    assert "shipping goes on" not in one.said()
            farewell = statements(sink)[-1]
            assert (farewell["outcome"], farewell["reason"]) == ("expired", "notice from rack")
            assert data_lines(sink) == ["one"]

    asyncio.run(scenario())


def test_destinations_that_come_back_at_the_last_moment_get_everything(tmp_path: Path) -> None:
    """With nobody to send to, a drain waits for whoever comes back before its deadline."""

    async def scenario() -> None:
        log = tmp_path / "app.log"
        log.write_text("one\n")
        settings = {"SHIPPER_DRAIN_EPHEMERAL": "true", "SHIPPER_DRAIN_DEADLINE": "20s"}
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, log, **settings) as one:
            await one.up()
            await until(lambda: data_lines(sink) == ["one"], "the first line arrives")
            await sink.go_down()
            with open(log, "a") as out:
                out.writelines(f"line {number}\n" for number in range(1000))
            one.signal(signal.SIGTERM)
            await until(lambda: "will not be done in time" in one.said(), "the drain gives up hope")
            await sink.come_up()
            assert await one.ended() == 0
            assert sorted(data_lines(sink)) == sorted(["one", *(f"line {number}" for number in range(1000))])
            assert (statements(sink)[-1]["outcome"], statements(sink)[-1]["left"]) == ("drained", [])

    asyncio.run(scenario())
