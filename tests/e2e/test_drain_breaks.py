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
