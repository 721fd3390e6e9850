"""Everything is killed at once and the machine boots again: what the earlier life left arrives as that life's, once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shipper.contracts import Signal, StreamKind
from shipper.fleet.archive import Archive
from shipper.fleet.records import Selection, pieces
from shipper.otlp import decode
from tests.e2e.kit import Shipper, audit, free_port, gateway, listening, sidecar, until

SERVICE = """
import os, sys
from shipper.handoff.frame import Kind
from shipper.otlp.encode import log_record
from shipper.sdk.writer.spooler import Spooler

root, boot, name = sys.argv[1:]
spooler = Spooler(root, hello=lambda: {"boot": boot, "service": name, "pid": os.getpid()}, say=lambda text: None)
logs = spooler.series("logs")
for number, _ in enumerate(sys.stdin):
    assert logs.append(Kind.LOG, log_record(time_ns=1, observed_ns=1, body=f"{name} {number}"), 1)
    print(number, flush=True)
"""

WRITER = """
import os, sys, time
name, path = sys.argv[1:]
number = 0
while True:
    with open(path, "ab") as log:
        for _ in range(50):
            log.write(f"{name} {number}\\n".encode())
            number += 1
    print(number, flush=True)
    time.sleep(0.005)
"""


class Machine:
    """A disk and the boots of one machine."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.boot = ""
        self.boots = 0
        (directory / "proc").mkdir(parents=True)
        self.log = directory / "app.log"

    def power_on(self, at: float | None = None) -> None:
        """Another boot id, and a boot time of now (or ``at``, seconds since the epoch)."""
        self.boot = str(uuid.uuid4())
        self.boots += 1
        (self.directory / "proc/boot_id").write_text(self.boot + "\n")
        (self.directory / "proc/stat").write_text(f"cpu 0 0\nbtime {int(time.time() if at is None else at)}\n")

    def sidecar(self, **env: str) -> Shipper:
        """The sidecar of this boot, of release ``r<boot>``."""
        settings = {"SHIPPER_RELEASE": f"r{self.boots}", "container": "lxc", "SHIPPER_ACCOUNT_INTERVAL": "0.2s", **env}
        made = sidecar(self.directory, f"http://127.0.0.1:{self.port}", self.directory / "app.log*", **settings)
        made.program = (sys.executable, str(Path(__file__).with_name("booted.py")), str(self.directory / "proc"))
        return made


@contextmanager
def running(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that ends by SIGKILL."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def arrived(archive: Path) -> dict[str, list[str]]:
    """The bodies of all records of data in an archive, each position once, by the release on them."""
    found: dict[str, list[str]] = {}
    opened = Archive.open(str(archive))
    kinds = (StreamKind.DATA,)
    for piece in pieces(opened, opened.index(), Selection(signal=Signal.LOGS), kinds=kinds, damaged=pytest.fail):
        for record in decode.records(piece.signal, piece.payload):
            found.setdefault(str(record.resource.get("service.version", "")), []).append(str(record.body))
    return found


def remains(machine: Machine) -> list[str]:
    """The earlier lives of which something is left on the disk."""
    home = machine.directory / "state/remains"
    return os.listdir(home) if home.exists() else []


def written(name: str, count: int) -> list[str]:
    """What a writer, or a service, of that name wrote."""
    return [f"{name} {number}" for number in range(count)]


def last(process: subprocess.Popen[str]) -> int:
    """How many lines a killed process said it had written; the service says the number of the last one."""
    assert process.stdout is not None
    said = process.stdout.read().split()
    return int(said[-1]) if said else 0


async def served(machine: Machine, service: subprocess.Popen[str], count: int) -> None:
    """Have a service hand over ``count`` records."""
    assert service.stdin is not None
    assert service.stdout is not None
    for _ in range(count):
        service.stdin.write("\n")
        service.stdin.flush()
        service.stdout.readline()


def lines_of(machine: Machine, name: str) -> list[str]:
    """The whole lines that a writer of that name left in the log, wherever it was rotated to."""
    text = b"".join(path.read_bytes() for path in sorted(machine.directory.glob("app.log*"), reverse=True))
    return [line for line in text.decode().split("\n") if line.startswith(f"{name} ")]


@pytest.mark.parametrize("backlog", [False, True], ids=["caught-up", "behind"])
def test_what_a_sudden_end_left_arrives_as_the_life_that_wrote_it(tmp_path: Path, backlog: bool) -> None:
    """Sidecar, writer and service are killed at once; after the next boot, with another release, each record arrives
    once and carries the release that wrote it."""

    async def story() -> None:
        port = free_port()
        machine = Machine(tmp_path / "host", port)
        relay = gateway(tmp_path / "gateway", port)
        async with relay:
            await listening(port)
            machine.power_on()
            async with machine.sidecar() as first:
                await first.up()
                spool = str(machine.directory / "state/spool")
                with (
                    running(WRITER, "one", str(machine.log)) as writer,
                    running(SERVICE, spool, machine.boot, "svc1") as service,
                ):
                    await served(machine, service, 20)
                    await until(lambda: machine.log.exists() and machine.log.stat().st_size > 20_000, "it writes")
                    if backlog:
                        await relay.kill()
                    await served(machine, service, 30)
                    size = machine.log.stat().st_size
                    await until(lambda: machine.log.stat().st_size > size + 20_000, "it writes on")
                    await first.kill()
                    writer.kill()
                    service.kill()
            machine.power_on(time.time() + 1)
            if not relay.alive():
                await relay.start()
                await listening(port)
            async with machine.sidecar() as second:
                await second.up()
                with (
                    running(WRITER, "two", str(machine.log)),
                    running(SERVICE, spool, machine.boot, "svc2") as service,
                ):
                    await served(machine, service, 10)
                    size = machine.log.stat().st_size
                    await until(lambda: machine.log.stat().st_size > size + 5_000, "the new one writes")
                await until(lambda: not remains(machine), "all that the first life left is shipped")
                await second.terminate()
            await relay.terminate()
        found = arrived(tmp_path / "gateway/archive")
        assert sorted(found) == ["r1", "r2"]
        assert Counter(found["r1"]) == Counter(lines_of(machine, "one") + written("svc1", 50))
        assert Counter(found["r2"]) == Counter(lines_of(machine, "two") + written("svc2", 10))
        report = audit(tmp_path / "gateway/archive")
        lives = [life for life in report["lives"] if life["role"] == "sidecar"]
        assert [life["ended"] for life in lives] == ["silent", "stopped"]
        assert (lives[0]["adopted_by"], lives[0]["adoption"]) == (lives[1]["life"], "drained")
        assert all(life["counts"]["missing"] == life["counts"]["duplicates"] == 0 for life in lives)

    asyncio.run(story())
