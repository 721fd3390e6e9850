"""Word of the end, from a real sidecar's point of view: it drains in time, reads on, and goes back to work when it was wrong."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

from shipper.testing.platforms.imds import FakeImds
from shipper.testing.platforms.systemd import NotifySocket
from shipper.testing.sink import Sink
from tests.e2e.kit import Shipper, data_lines, shipper, sidecar, statements, until

WRITER = """
import signal, sys, time
file = open(sys.argv[1], "a", buffering=1)
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
number = 0
while not stopped:
    file.write(f"line {number}\\n")
    number += 1
    time.sleep(0.01)
for word in range(50):
    file.write(f"last word {word}\\n")
    time.sleep(0.002)
file.write(f"wrote {number}\\n")
"""


def writer(path: Path) -> subprocess.Popen[bytes]:
    """A service that writes until it is stopped, and then has something to say."""
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path)])


def lines(sink: Sink) -> list[str]:
    """What the service wrote, as far as the sink has it."""
    return data_lines(sink)


async def all_of(process: subprocess.Popen[bytes]) -> None:
    """Stop the service and wait for its end."""
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait, 20)


def whole(found: list[str]) -> bool:
    """Whether everything the service wrote is there, once. Requests on their way together may arrive in any order."""
    wrote = next((int(line.split()[1]) for line in found if line.startswith("wrote ")), -1)
    return sorted(found) == sorted(
        [
            *(f"line {number}" for number in range(wrote)),
            *(f"last word {word}" for word in range(50)),
            f"wrote {wrote}",
        ]
    )


def status(one: Shipper) -> dict[str, object]:
    """What ``shipper status --json`` says."""
    answer = shipper("status", "--json", "--state-dir", str(one.directory / "state"))
    return dict(json.loads(answer.stdout)) if answer.returncode == 0 else {}


def test_a_spot_interruption_drains_and_the_last_words_arrive(tmp_path: Path) -> None:
    """The sidecar reads on until the service has ended, says farewell with the reason, and exits 0."""

    async def scenario() -> None:
        async with Sink() as sink, FakeImds() as imds:
            one = sidecar(tmp_path / "host", sink.url, tmp_path / "app.log", AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.url)
            service = writer(tmp_path / "app.log")
            async with one:
                await one.up()
                await until(lambda: lines(sink), "lines arrive")
                imds.interrupt("terminate", 120.0)
                await until(lambda: "draining because of notice from" in one.said(), "the drain begins")
                assert one.alive()
                await all_of(service)
                assert await one.ended() == 0
            assert whole(lines(sink)), lines(sink)[-60:]
            told = statements(sink)
            notice = next(words["notice"] for words in told if "notice" in words)
            assert (notice["kind"], notice["assumed"], notice["ends_life"]) == ("imminent", False, True)
            assert "terminate" in notice["evidence"]
            farewell = told[-1]
            assert (farewell["outcome"], farewell["ends_life"], farewell["left"]) == ("drained", True, [])
            assert "spot" in farewell["reason"]

    asyncio.run(scenario())


def test_a_notice_that_is_taken_back_ends_nothing(tmp_path: Path) -> None:
    """An operator's file that appears and goes again: the sidecar drains, goes back to work, and can still be stopped."""

    async def scenario() -> None:
        async with Sink() as sink:
            flag = tmp_path / "drain"
            one = sidecar(tmp_path / "host", sink.url, tmp_path / "app.log", SHIPPER_NOTICES_TOUCH_FILE=str(flag))
            service = writer(tmp_path / "app.log")
            async with one:
                await one.up()
                flag.write_text("60s maintenance of the rack\n")
                await until(lambda: status(one).get("state") == "draining", "the drain begins")
                flag.unlink()
                await until(lambda: status(one).get("state") == "running", "it is taken back")
                before = len(lines(sink))
                await until(lambda: len(lines(sink)) > before + 10, "shipping goes on")
                await all_of(service)
                assert await one.terminate() == 0
            assert whole(lines(sink)), lines(sink)
            assert any(
                "maintenance of the rack" in words.get("notice", {}).get("evidence", "") for words in statements(sink)
            )

    asyncio.run(scenario())


def test_shipper_notice_returns_at_once_and_sigterm_ends_it(tmp_path: Path) -> None:
    """As in a pod: the hook tells the sidecar, the service ends, SIGTERM comes last; everything arrives."""

    async def scenario() -> None:
        async with Sink() as sink:
            one = sidecar(
                tmp_path / "host",
                sink.url,
                tmp_path / "app.log",
                SHIPPER_DRAIN_EPHEMERAL="auto",
                KUBERNETES_SERVICE_HOST="10.0.0.1",
                SHIPPER_TERMINATION_GRACE="30",
            )
            service = writer(tmp_path / "app.log")
            async with one:
                await one.up()
                answer = await asyncio.to_thread(shipper, "notice", "--state-dir", str(one.directory / "state"))
                assert answer.returncode == 0, answer.stderr
                await until(lambda: status(one).get("state") == "draining", "the drain begins")
                await all_of(service)
                assert await one.terminate() == 0
            assert whole(lines(sink)), lines(sink)
            assert statements(sink)[-1]["outcome"] == "drained"

    asyncio.run(scenario())


def test_a_notice_before_the_sidecar_is_up_waits_for_it(tmp_path: Path) -> None:
    """A hook that runs while the sidecar is only starting leaves a note, which begins the drain."""

    async def scenario() -> None:
        async with Sink() as sink:
            (tmp_path / "app.log").write_text("only line\n")
            one = sidecar(tmp_path / "host", sink.url, tmp_path / "app.log")
            (tmp_path / "host").mkdir()
            answer = shipper("notice", "--deadline", "60s", "--state-dir", str(one.directory / "state"))
            assert answer.returncode == 0
            assert "finds the notice" in answer.stdout
            async with one:
                await until(lambda: "draining because of notice from by-hand" in one.said(), "the drain begins")
                assert await one.terminate() == 0
            assert lines(sink) == ["only line"]

    asyncio.run(scenario())


def test_two_notices_end_by_the_earlier_deadline(tmp_path: Path) -> None:
    """Of an hour by hand and a few seconds by hand of another the few seconds count, with every destination down."""

    async def scenario() -> None:
        log = tmp_path / "app.log"
        log.write_text("nobody takes this\n")
        one = sidecar(tmp_path / "host", "http://127.0.0.1:9", log)
        async with one:
            await one.up()
            state = str(one.directory / "state")
            for name, deadline in (("hook", "1h"), ("operator", "3s")):
                answer = await asyncio.to_thread(
                    shipper, "notice", "--source", name, "--deadline", deadline, "--state-dir", state
                )
                assert answer.returncode == 0, answer.stderr
            assert await one.ended() == 3
        assert "left unacknowledged" in one.said()
        assert "Traceback" not in one.said()

    asyncio.run(scenario())


def test_bad_requests_for_a_notice_are_refused_in_words(tmp_path: Path) -> None:
    """A deadline that is none is a sentence, not a drain."""

    async def scenario() -> None:
        async with Sink() as sink:
            one = sidecar(tmp_path / "host", sink.url, tmp_path / "app.log")
            async with one:
                await one.up()
                state = str(one.directory / "state")
                answer = await asyncio.to_thread(shipper, "notice", "--deadline", "soon", "--state-dir", state)
                assert answer.returncode == 2
                assert "soon" in answer.stderr
                assert status(one)["state"] == "running"
                assert await one.terminate() == 0

    asyncio.run(scenario())


def test_systemd_hears_that_it_is_up_alive_and_stopping(tmp_path: Path) -> None:
    """A Type=notify unit with a watchdog: READY when the socket answers, signs of life, STOPPING at the end."""

    async def scenario() -> None:
        async with Sink() as sink, NotifySocket(tmp_path / "notify") as systemd:
            one = sidecar(tmp_path / "host", sink.url, tmp_path / "app.log", **systemd.env(watchdog=0.4))
            async with one:
                await systemd.until(lambda: "READY" in systemd.said)
                assert status(one)["state"] == "running"
                await systemd.until(lambda: len(systemd.values("WATCHDOG")) > 2)
                assert await one.terminate() == 0
            await systemd.until(lambda: systemd.said.get("STOPPING") == "1")

    asyncio.run(scenario())
