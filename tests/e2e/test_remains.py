"""Everything is killed at once and the machine boots again: what the earlier life left arrives as that life's, once."""

from __future__ import annotations

import asyncio
import json
import os
import random
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
from tests.e2e.kit import Shipper, audit, free_port, gateway, listening, shipper, sidecar, until

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


async def wrote(machine: Machine, size: int = 5_000) -> None:
    """Wait until the log has grown."""
    before = machine.log.stat().st_size if machine.log.exists() else 0
    await until(lambda: machine.log.exists() and machine.log.stat().st_size > before + size, "it writes")


@pytest.mark.parametrize("seed", range(2))
def test_three_boots_with_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    """The sidecar is killed also while it ships what earlier lives left, and the gateway while it receives it; what two
    lives left is shipped one after the other, each as its own."""
    chance = random.Random(seed)

    async def boot(machine: Machine, relay: Shipper) -> int:
        machine.power_on(time.time() + 1)
        spool = str(machine.directory / "state/spool")
        name = f"boot{machine.boots}"
        process = machine.sidecar()
        await process.start()
        await process.up()
        with (
            running(WRITER, name, str(machine.log)),
            running(SERVICE, spool, machine.boot, f"svc{machine.boots}") as service,
        ):
            for _ in range(3):
                await served(machine, service, 5)
                await wrote(machine, chance.randrange(1, 20_000))
                if chance.random() < 0.5:
                    await process.kill()
                    process = machine.sidecar()
                    await process.start()
                    if chance.random() < 0.5:
                        await process.up()
                if chance.random() < 0.5:
                    await relay.kill()
                if chance.random() < 0.5 and not relay.alive():
                    await relay.start()
            await process.kill()
        return 15

    async def story() -> None:
        port = free_port()
        machine = Machine(tmp_path / "host", port)
        relay = gateway(tmp_path / "gateway", port)
        async with relay:
            await listening(port)
            counts = [await boot(machine, relay) for _ in range(3)]
            if not relay.alive():
                await relay.start()
                await listening(port)
            machine.power_on(time.time() + 1)
            for _ in range(3):  # killed on the way, each time a little later
                process = machine.sidecar()
                await process.start()
                await process.up()
                await until(lambda: chance.random() < 0.07, "a moment as good as any")
                await process.kill()
            async with machine.sidecar() as process:
                await process.up()
                await until(lambda: not remains(machine), "all that three lives left is shipped")
                await process.terminate()
            await relay.terminate()
        found = arrived(tmp_path / "gateway/archive")
        for number, count in enumerate(counts, 1):
            expected = lines_of(machine, f"boot{number}") + written(f"svc{number}", count)
            assert Counter(found[f"r{number}"]) == Counter(expected), number
        report = audit(tmp_path / "gateway/archive")
        lives = [life for life in report["lives"] if life["role"] == "sidecar"]
        assert [life["ended"] for life in lives] == ["silent"] * 3 + ["stopped"]
        assert [life["adoption"] for life in lives] == ["drained"] * 3 + [""]
        assert all(life["counts"]["missing"] == life["counts"]["duplicates"] == 0 for life in lives)

    asyncio.run(story())


@pytest.mark.parametrize("how", ["never", "damaged"])
def test_what_cannot_or_shall_not_be_adopted_is_set_aside_and_said(tmp_path: Path, how: str) -> None:
    """With a damaged ledger the new life goes on behind what the gateway has; with ``adopt: never`` it reads anew."""

    async def story() -> None:
        port = free_port()
        machine = Machine(tmp_path / "host", port)
        async with gateway(tmp_path / "gateway", port) as relay:
            await listening(port)
            machine.power_on()
            async with machine.sidecar() as first:
                await first.up()
                machine.log.write_text("".join(f"one {number}\n" for number in range(100)))
                await until(lambda: figure(machine, "acknowledged") >= 100, "the first life is acknowledged")
                await first.kill()
            machine.power_on(time.time() + 1)
            if how == "damaged":
                (machine.directory / "state/ledger.db").write_bytes(b"no database" * 1000)
                for companion in ("-wal", "-shm"):
                    (machine.directory / f"state/ledger.db{companion}").unlink(missing_ok=True)
            with machine.log.open("a") as log:
                log.write("two 0\n")
            async with machine.sidecar(**({"SHIPPER_ADOPT": "never"} if how == "never" else {})) as second:
                await second.up()
                await second.terminate()
                assert not remains(machine)
                assert os.listdir(machine.directory / "state/set-aside")
                assert "it lies in" in second.said()
            await relay.terminate()
        found = arrived(tmp_path / "gateway/archive")
        assert found["r1"] == written("one", 100)
        assert found["r2"] == [*(written("one", 100) if how == "never" else []), "two 0"]

    asyncio.run(story())


def figure(machine: Machine, name: str) -> int:
    """What ``shipper status`` says of the gateway in this run."""
    answer = shipper("status", "--json", "--state-dir", str(machine.directory / "state"))
    figures = json.loads(answer.stdout)["destinations"].values() if answer.returncode == 0 else ()
    return sum(int(each[name]) for each in figures)


def test_after_a_clean_reboot_what_came_last_is_shipped_and_the_end_stays_clean(tmp_path: Path) -> None:
    """Lines written between the farewell and the power going are the earlier life's; where there are none nothing is said."""

    async def story() -> None:
        port = free_port()
        machine = Machine(tmp_path / "host", port)
        async with gateway(tmp_path / "gateway", port) as relay:
            await listening(port)
            machine.log.write_text("one 0\n")
            for late in ("one 1\n", ""):
                machine.power_on(time.time() + 1)
                async with machine.sidecar() as process:
                    await process.up()
                    await until(lambda: not remains(machine), "nothing is left")
                    assert await process.terminate() == 0
                with machine.log.open("a") as log:
                    log.write(late)
            machine.power_on(time.time() + 1)
            async with machine.sidecar() as process:
                await process.up()
                await until(lambda: not remains(machine), "nothing is left")
                await process.terminate()
            await relay.terminate()
        assert arrived(tmp_path / "gateway/archive") == {"r1": ["one 0", "one 1"]}
        lives = [life for life in audit(tmp_path / "gateway/archive")["lives"] if life["role"] == "sidecar"]
        assert [(life["ended"], life["adoption"]) for life in lives] == [
            ("stopped", "drained"),
            ("stopped", ""),
            ("stopped", ""),
        ]

    asyncio.run(story())


def test_remains_keep_no_drain_waiting_that_follows_one_taken_back(tmp_path: Path) -> None:
    """A notice before the start is taken back while what an earlier life left goes nowhere: the next word still counts."""

    async def story() -> None:
        machine = Machine(tmp_path / "host", free_port())  # nobody listens there
        machine.power_on()
        machine.log.write_text("left behind\n")
        async with machine.sidecar() as first:
            await first.up()
            await until(lambda: figure(machine, "backlog_bytes") == machine.log.stat().st_size, "it is seen")
            await first.kill()
        machine.power_on(time.time() + 1)
        touch = tmp_path / "touch"
        touch.write_text("1h kernel update")
        settings = {"SHIPPER_DRAIN_DEADLINE": "1.5s", "SHIPPER_NOTICES_TOUCH_FILE": str(touch)}
        async with machine.sidecar(**settings) as second:
            await until(lambda: "draining because of notice" in second.said(), "the first drain")
            touch.unlink()
            await until(lambda: "shipping goes on" in second.said(), "it is taken back")
            assert await second.terminate() in (0, 3)
        assert remains(machine)

    asyncio.run(story())


def test_where_the_disk_goes_with_the_host_the_remains_get_what_time_is_left(tmp_path: Path) -> None:
    """A life that ends while an earlier one waits for its destination sends both in its drain, its own words first."""

    async def story() -> None:
        port = free_port()
        machine = Machine(tmp_path / "host", port)
        relay = gateway(tmp_path / "gateway", port)
        machine.power_on()
        async with machine.sidecar() as first:
            await first.up()
            machine.log.write_text("".join(f"one {number}\n" for number in range(100)))
            await until(lambda: figure(machine, "backlog_bytes") == machine.log.stat().st_size, "it is seen")
            await first.kill()
        machine.power_on(time.time() + 1)
        async with machine.sidecar(SHIPPER_DRAIN_EPHEMERAL="true", SHIPPER_DRAIN_DEADLINE="20s") as second, relay:
            await second.up()
            with machine.log.open("a") as log:
                log.write("two 0\n")
            assert remains(machine)
            await listening(port)
            assert await second.terminate() == 0
            await relay.terminate()
        assert not remains(machine)
        found = arrived(tmp_path / "gateway/archive")
        assert {release: Counter(lines) for release, lines in found.items()} == {
            "r1": Counter(written("one", 100)),
            "r2": Counter(["two 0"]),
        }
        lives = [life for life in audit(tmp_path / "gateway/archive")["lives"] if life["role"] == "sidecar"]
        assert [(life["ended"], life["adoption"]) for life in lives] == [("silent", "drained"), ("drained", "")]

    asyncio.run(story())
