"""Services hand over, are killed, the sidecar is killed, destinations are away: every record arrives once, or is counted."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from shipper.testing.sink import Sink
from tests.e2e.kit import Shipper, audit, data_lines, free_port, gateway, host, listening, shipper, sidecar, until
from tests.sources.services_kit import Service, services

BOOT = Path("/proc/sys/kernel/random/boot_id")
WRITER = """
import os, sys
from shipper.handoff.frame import Kind
from shipper.handoff.frame import pack_resource
from shipper.otlp.encode import key_value, log_record
from shipper.otlp.wire import field
from shipper.sdk.writer.spooler import Spooler

def boot():
    return open("/proc/sys/kernel/random/boot_id").read().strip()

spooler = Spooler(sys.argv[1], hello=lambda: {"boot": boot(), "service": "victim", "pid": os.getpid()}, say=lambda text: None)
logs = spooler.series("logs")
name = sys.argv[2]
size = int(sys.argv[3])
number = 0
for line in sys.stdin:
    for _ in range(int(line)):
        resource = logs.resource("r", lambda: (field(1, key_value("service.name", "victim")), b""))
        body = log_record(time_ns=1, observed_ns=1, body=f"{name} {number} " + "x" * size)
        assert logs.append(Kind.LOG, body, 1, resource=resource)
        number += 1
    print(number, flush=True)
"""


class Victim:
    """A process that hands over by the real writer; each `write` returns when all calls have."""

    def __init__(self, root: Path, name: str, size: int = 10, prefix: tuple[str, ...] = ()) -> None:
        self.written = 0
        self.name = name
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-c", WRITER, str(root), name, str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def write(self, count: int) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        self.written = int(self._process.stdout.readline())

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def victim(*arguments: Any, **options: Any) -> Iterator[Victim]:
    process = Victim(*arguments, **options)
    try:
        yield process
    finally:
        process.kill()


def size_of(root: Path) -> int:
    """Bytes of all segments, while the sidecar deletes some of them."""
    sizes = 0
    for path in root.glob("p*/*.seg"):
        with suppress(FileNotFoundError):
            sizes += path.stat().st_size
    return sizes


def root_of(directory: Path) -> Path:
    return directory / "state/spool"


async def ready(process: Shipper, root: Path) -> None:
    """Wait until services can hand over."""
    await process.up()
    await until(lambda: (root / "host.json").exists(), "the card is out")


async def shipped(root: Path) -> None:
    """Wait until nothing is left of any service."""
    await until(lambda: not [name for name in os.listdir(root) if name.startswith("p")], "all is shipped and deleted")


def test_what_a_killed_service_wrote_is_in_the_archive_and_the_audit_proves_it(tmp_path: Path) -> None:
    """SIGKILL to three services; every record whose call returned is archived once, and no range is unaccounted for."""

    async def story() -> int:
        root, port = root_of(tmp_path / "host-a"), free_port()
        async with gateway(tmp_path / "gateway", port) as receiver:
            await listening(port)
            async with sidecar(tmp_path / "host-a", f"http://127.0.0.1:{port}", flags=["--ephemeral"]) as process:
                await ready(process, root)
                written = 0
                for number in range(3):
                    with victim(root, f"v{number}", size=3000) as service:
                        service.write(1000)
                        service.write(3000)
                        written += service.written
                await shipped(root)
                assert await process.terminate() == 0, process.said()
            assert await receiver.terminate() == 0, receiver.said()
            return written

    written = asyncio.run(story())
    life = host(audit(tmp_path / "gateway/archive"), "host-a")
    assert (life["counts"]["read"], life["counts"]["archived"]) == (written, written)
    assert (life["counts"]["missing"], life["counts"]["duplicates"]) == (0, 0)
    assert not [stream for stream in life["streams"] if stream["missing_ranges"] or stream["pending_ranges"]]
    printed = shipper("cat", str(tmp_path / "gateway/archive"), "--host", "host-a").stdout
    assert all(f"v{number} 3999 " in printed for number in range(3))


def test_killing_sidecar_and_gateway_again_and_again_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """With SIGKILL to both at random moments while services write, rotate and die, every record is archived exactly once."""

    async def story() -> int:
        rng, root, port, written = random.Random(5), root_of(tmp_path / "host-a"), free_port(), 0
        url = f"http://127.0.0.1:{port}"
        receiver = await gateway(tmp_path / "gateway", port).start()
        process = await sidecar(tmp_path / "host-a", url, flags=["--ephemeral"]).start()
        await ready(process, root)
        for turn in range(6):
            with victim(root, f"v{turn}", size=2000) as service:
                for _ in range(rng.randrange(1, 4)):
                    service.write(rng.randrange(2500))
                    for _ in range(rng.randrange(30)):
                        await asyncio.sleep(0.01)
                    if rng.random() < 0.4:
                        await receiver.kill()
                        receiver = await gateway(tmp_path / "gateway", port).start()
                    else:
                        await process.kill()
                        process = await sidecar(tmp_path / "host-a", url, flags=["--ephemeral"]).start()
                written += service.written
        await listening(port)
        await process.up()
        await shipped(root)
        assert await process.terminate() == 0, process.said()
        assert await receiver.terminate() == 0, receiver.said()
        return written

    written = asyncio.run(story())
    life = host(audit(tmp_path / "gateway/archive"), "host-a")
    assert (life["counts"]["archived"], life["counts"]["missing"], life["counts"]["duplicates"]) == (written, 0, 0)
    assert not [stream for stream in life["streams"] if stream["missing_ranges"]]


def test_a_destination_that_is_away_costs_no_more_than_the_cap_and_every_record_is_counted(tmp_path: Path) -> None:
    """Beyond services.host_max the oldest goes, by range; what arrived and what was given up are together what was written."""

    async def story() -> dict[str, Any]:
        directory, port = tmp_path / "host-a", free_port()
        root, limit = root_of(directory), 24 << 20
        caps = {"SHIPPER_SERVICES_HOST_MAX": "24MiB", "SHIPPER_SERVICES_PROCESS_MAX": "20MiB"}
        async with sidecar(directory, f"http://127.0.0.1:{port}", flags=["--ephemeral"], **caps) as process:
            await ready(process, root)
            written = 0
            for number in range(2):
                with victim(root, f"v{number}", size=5000) as service:
                    for _ in range(6):
                        service.write(500)
                        await asyncio.sleep(0.05)
                    written += service.written
            await until(lambda: size_of(root) <= limit, "the cap holds")
            async with gateway(tmp_path / "gateway", port) as receiver:
                await listening(port)
                await shipped(root)
                assert await process.terminate() == 0, process.said()
                assert await receiver.terminate() == 0, receiver.said()
        return {"written": written}

    told = asyncio.run(story())
    life = host(audit(tmp_path / "gateway/archive"), "host-a")
    counts = life["counts"]
    assert counts["missing"] == 0
    assert 0 < counts["dropped"] < told["written"]
    assert counts["archived"] + counts["dropped"] == told["written"]


def test_a_second_sidecar_on_the_same_spool_does_not_start(tmp_path: Path) -> None:
    """Two would ship everything twice and delete each other's segments: the second says so and ends, the first goes on."""

    async def story() -> None:
        env = {"SHIPPER_SPOOL_DIR": str(tmp_path / "spool")}
        async with sidecar(tmp_path / "host-a", "http://127.0.0.1:1", **env) as first:
            await first.up()
            async with sidecar(tmp_path / "host-b", "http://127.0.0.1:1", **env) as second:
                assert await second.ended() != 0
                assert "another sidecar ships" in second.said()
                assert "Traceback" not in second.said()
            await first.kill()
            async with sidecar(tmp_path / "host-b", "http://127.0.0.1:1", **env) as second:
                await second.up()

    asyncio.run(story())


def test_sampled_traces_are_counted_and_their_ranges_are_proved(tmp_path: Path) -> None:
    """With traces.keep 0 only traces with an error arrive; the rest is counted as sampled, and the audit has no hole."""

    async def story() -> None:
        directory, port = tmp_path / "host-a", free_port()
        root = root_of(directory)
        async with gateway(tmp_path / "gateway", port) as receiver:
            await listening(port)
            env = {"SHIPPER_TRACES_KEEP": "0"}
            async with sidecar(directory, f"http://127.0.0.1:{port}", flags=["--ephemeral"], **env) as process:
                await ready(process, root)
                with services(root) as service:
                    one: Service = service(boot=BOOT.read_text().strip())
                    for trace in range(1, 101):
                        one.span(trace, 2 * trace, error=trace % 10 == 0)
                        one.span(trace, 2 * trace + 1)
                    one.die()
                    two: Service = service(boot=BOOT.read_text().strip())
                    two.span(1, 1)
                    two.die()
                    await shipped(root)
                assert await process.terminate() == 0, process.said()
            assert await receiver.terminate() == 0, receiver.said()

    asyncio.run(story())
    life = host(audit(tmp_path / "gateway/archive"), "host-a")
    spans = [stream["counts"] for stream in life["streams"] if stream["signal"] == "traces"]
    # how many spans without an error share a batch with one that has it is up to timing
    assert sum(counts["read"] for counts in spans) == 201
    assert 10 <= sum(counts["archived"] for counts in spans) <= 20
    assert sum(counts["archived"] + counts["sampled"] for counts in spans) == 201
    assert life["counts"]["missing"] == 0
    assert not [stream for stream in life["streams"] if stream["missing_ranges"]]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become two other users")
def test_two_users_without_capabilities(tmp_path: Path) -> None:
    """Services of one user and a sidecar of another, neither with any capability, in a root that only lets names be made."""

    def become(uid: int) -> tuple[str, ...]:
        return (
            "setpriv",
            f"--reuid={uid}",
            f"--regid={uid}",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        )

    async def story() -> None:
        for directory in (tmp_path, *tmp_path.parents[:3]):
            directory.chmod(directory.stat().st_mode | 0o011)
        place = tmp_path / "host-a"
        root = root_of(place)
        (place / "state").mkdir(parents=True)
        for path in (place, place / "state"):
            path.chmod(0o755)
            os.chown(path, 3001, 3001)
        async with Sink() as sink:
            process = sidecar(place, sink.url, flags=["--ephemeral"])
            process.prefix = become(3001)
            async with process:
                await ready(process, root)
                with victim(root, "other", prefix=become(3002)) as service:
                    service.write(10)
                await shipped(root)
                assert await process.terminate() == 0, process.said()
            assert [line.split()[1] for line in data_lines(sink)] == [str(number) for number in range(10)]

    asyncio.run(story())


def test_status_names_each_service(tmp_path: Path) -> None:
    """``shipper status`` says which services hand over, whether they live, and what they lost or noted."""

    async def story() -> None:
        place = tmp_path / "host-a"
        root = root_of(place)
        async with Sink() as sink:
            async with sidecar(place, sink.url) as process:
                await ready(process, root)
                with services(root) as service:
                    one: Service = service(boot=BOOT.read_text().strip())
                    one.log("a", "b")
                    one.raw("logs", one.frame("logs", 8, b'{"disk_full": 3}'))
                    one.raw("logs", one.frame("logs", 9, b"no server span yet"))
                    await until(lambda: len(data_lines(sink)) == 2, "the records are there")
                    socket = f"--state-dir={place / 'state'}"
                    raw = await asyncio.to_thread(shipper, "status", "--json", socket)
                    (said,) = json.loads(raw.stdout)["services"]
                    assert (said["service"], said["alive"], said["records"]) == ("checkout", True, {"logs": 2})
                    assert said["dropped"] == {"logs.disk_full": 3}
                    text = (await asyncio.to_thread(shipper, "status", socket)).stdout
                    assert "checkout pid 100" in text
                    assert "no server span yet" in text
                    assert "disk_full 3" in text

    asyncio.run(story())
