"""Word of the end at the wrong moment, and from sources that disagree: no drain is missed, and the earliest clock counts."""

from __future__ import annotations

import asyncio
import re
import signal
import tempfile
from pathlib import Path

import pytest

from shipper.testing.platforms.imds import IDENTITY_DOCUMENT, FakeImds
from shipper.testing.platforms.logind import PrivateLogind, why_not
from shipper.testing.platforms.loopback import hang
from shipper.testing.platforms.systemd import NotifySocket
from shipper.testing.sink import Sink
from tests.e2e.kit import Shipper, data_lines, shipper, sidecar, statements, until


async def say(one: Shipper, *arguments: str) -> str:
    """What a verb says about the sidecar."""
    answer = await asyncio.to_thread(shipper, *arguments, "--state-dir", str(one.directory / "state"))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


class Service:
    """One that writes ``one``, and ``last`` at its end; until then somebody has the file open."""

    def __init__(self, log: Path) -> None:
        self.log = log

    async def __aenter__(self) -> Service:
        self._file = open(self.log, "a", buffering=1)  # noqa: SIM115 - closed when it ends
        self.write("one")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._file.close()

    def write(self, line: str) -> None:
        self._file.write(f"{line}\n")

    def end(self) -> None:
        self.write("last")
        self._file.close()


def test_an_interruption_while_the_host_still_finds_out_who_it_is(tmp_path: Path) -> None:
    """With the identity's question hanging for its two seconds the notice is heard at once, and the drain follows."""

    async def scenario() -> None:
        async with Sink() as sink, FakeImds() as imds, Service(tmp_path / "app.log") as service:
            imds.trap_always(IDENTITY_DOCUMENT, hang())
            imds.interrupt("terminate", 120.0)
            one = sidecar(tmp_path / "host", sink.url, service.log, AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.url)
            async with one:
                await until(lambda: "ec2-spot" in one.said(), "the notice is heard")
                assert " up: " not in one.said()
                await until(lambda: "draining because" in one.said(), "the drain begins")
                service.end()
                assert await one.ended() == 0
            assert data_lines(sink) == ["one", "last"]
            farewell = statements(sink)[-1]
            assert (farewell["outcome"], farewell["reason"]) == ("drained", "notice from ec2-spot")

    asyncio.run(scenario())


def test_a_hook_that_runs_before_the_socket_is_open_is_heard(tmp_path: Path) -> None:
    """The sidecar lives but is not up: the note of `shipper notice` is found all the same."""

    async def scenario() -> None:
        async with Sink() as sink, FakeImds() as imds, Service(tmp_path / "app.log") as service:
            imds.trap_always(IDENTITY_DOCUMENT, hang())
            one = sidecar(tmp_path / "host", sink.url, service.log, AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.url)
            async with one:
                await until(lambda: imds.count(IDENTITY_DOCUMENT), "the identity is asked for")
                said = await say(one, "notice", "--deadline", "60s", "--evidence", "the rack is switched off")
                assert "finds the notice" in said
                await until(lambda: "draining because" in one.said(), "the drain begins")
                service.end()
                assert await one.ended() == 0
            assert data_lines(sink) == ["one", "last"]
            assert statements(sink)[-1]["reason"] == "notice from by-hand"
            assert not (one.directory / "state" / "notice.json").exists()

    asyncio.run(scenario())


def test_a_hook_is_heard_that_found_the_socket_too_busy(tmp_path: Path) -> None:
    """A sidecar that did not answer in time finds the note that was left for it, without a restart."""

    async def scenario() -> None:
        log = tmp_path / "app.log"
        async with Sink() as sink, Service(log) as service, sidecar(tmp_path / "host", sink.url, log) as one:
            await one.up()
            await until(lambda: data_lines(sink) == ["one"], "the service is known")
            one.signal(signal.SIGSTOP)
            said = await say(one, "notice", "--deadline", "60s", "--source", "hook")
            assert "finds the notice" in said
            one.signal(signal.SIGCONT)
            await until(lambda: "draining because" in one.said(), "the drain begins")
            service.end()
            assert await one.ended() == 0
            assert statements(sink)[-1]["reason"] == "notice from hook"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("variable", "number", "seconds"),
    [
        ("NOMAD_ALLOC_ID", signal.SIGINT, 4.0),
        ("FLY_MACHINE_ID", signal.SIGINT, 4.0),
        ("K_REVISION", signal.SIGTERM, 8.0),
    ],
)
def test_where_the_signal_is_the_notice_it_ends_the_life(
    tmp_path: Path, variable: str, number: signal.Signals, seconds: float
) -> None:
    """Nomad, Fly and Cloud Run say nothing before: reading goes on after the signal, by the time that is usual there."""

    async def scenario() -> None:
        env = {variable: "a1b2c3", "SHIPPER_DRAIN_EPHEMERAL": "auto"}
        log = tmp_path / "app.log"
        async with Sink() as sink, Service(log) as service, sidecar(tmp_path / "host", sink.url, log, **env) as one:
            await one.up()
            await until(lambda: data_lines(sink) == ["one"], "the service is known")
            one.signal(number)
            await until(lambda: f"draining because of {number.name}" in one.said(), "the drain begins")
            (left,) = re.findall(r"; ([\d.]+) s to go", one.said())
            assert 0 < float(left) <= seconds
            service.end()
            assert await one.ended() == 0
            assert data_lines(sink) == ["one", "last"]
            farewell = statements(sink)[-1]
            assert (farewell["outcome"], farewell["ends_life"]) == ("drained", True)

    asyncio.run(scenario())


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_sources_that_contradict_each_other_end_by_the_earliest(tmp_path: Path) -> None:
    """IMDS states two minutes, logind powers off now, SIGTERM comes last: one drain, and everything arrives."""

    async def scenario() -> None:
        log = tmp_path / "app.log"
        with tempfile.TemporaryDirectory(prefix="logind") as name:
            async with Sink() as sink, FakeImds() as imds, PrivateLogind(Path(name), longest_delay=30) as logind:
                env = {
                    "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url,
                    "DBUS_SYSTEM_BUS_ADDRESS": logind.address,
                    "SHIPPER_NOTICES_WATCH": "ec2,logind",
                    "SHIPPER_OTLP_TRUST_LOCAL": "true",
                    "SHIPPER_DRAIN_EPHEMERAL": "auto",
                }
                one = sidecar(tmp_path / "host", sink.url, log, **env)
                async with Service(log) as service, one:
                    await one.up()
                    while not await logind.inhibitors():  # noqa: ASYNC110 - another process
                        await asyncio.sleep(0.02)
                    imds.interrupt("terminate", 120.0)
                    await until(lambda: "draining because of notice from ec2-spot" in one.said(), "the drain begins")
                    await logind.power_off()
                    await until(lambda: "PrepareForShutdown" in one.said(), "logind is heard")
                    status = await say(one, "status")
                    assert "notice from ec2-spot, imminent: " in status
                    assert "notice from logind, imminent: PrepareForShutdown" in status
                    assert 0 < float(status.split("deadline in ")[1].split(" s")[0]) < 31
                    service.write("said during the shutdown")
                    one.signal(signal.SIGTERM)
                    service.end()
                    assert await one.ended() == 0
                assert data_lines(sink) == ["one", "said during the shutdown", "last"]
                assert one.said().count("draining because of") == 1
                farewell = statements(sink)[-1]
                assert (farewell["outcome"], farewell["ends_life"]) == ("drained", True)

    asyncio.run(scenario())


def test_status_tells_people_of_the_end(tmp_path: Path) -> None:
    """Notices with what they say, the deadline, what holds the platform, and who cannot be asked; nothing of it on a calm day."""

    async def scenario() -> None:
        async with Sink() as sink, FakeImds() as imds, NotifySocket(tmp_path / "notify") as systemd:
            env = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url, "SHIPPER_NOTICES_WATCH": "ec2,systemd"}
            async with sidecar(tmp_path / "host", sink.url, tmp_path / "app.log", **env, **systemd.env()) as one:
                await one.up()
                calm = await say(one, "status")
                assert not any(word in calm for word in ("notice from", "deadline", "waiting", "does not tell"))
                await say(one, "notice", "--kind", "advisory", "--evidence", "the rack is warm", "--source", "rack")
                await say(one, "notice", "--kind", "scheduled", "--deadline", "2h", "--evidence", "moving house")
                said = await say(one, "status")
                assert "sidecar noticed, " in said
                assert "notice from rack, advisory: the rack is warm\n" in said
                assert "notice from by-hand, scheduled: moving house; the host ends, by 2" in said
                assert " UTC\n" in said
                assert "may keep the host waiting: " in said
                await imds.go_down()
                await until(lambda: "cannot be asked" in one.said(), "the metadata service is missed")
                assert "ec2-spot does not tell whether this host will end: " in await say(one, "status")
                assert await one.terminate() == 0

    asyncio.run(scenario())
