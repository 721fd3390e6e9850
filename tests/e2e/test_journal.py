"""A sidecar on a journal: killed while entries come, and over a power cut; each entry arrives once, as the life that had it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from tests.e2e.kit import Shipper, audit, free_port, gateway, host, listening, sidecar, until
from tests.e2e.test_remains import Machine, arrived, remains
from tests.sources.journal_kit import journald, needs_journald, needs_remote, write


def on_journal(made: Shipper, journal: Path, **settings: str) -> Shipper:
    """The sidecar with a configuration that reads a journal."""
    config = made.directory / "shipper.yaml"
    made.directory.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps({"journal": {"directory": str(journal), **settings}}))
    made.arguments = ["run", f"--config={config}"]
    return made


@needs_remote
def test_each_entry_arrives_once_though_the_sidecar_is_killed(tmp_path: Path) -> None:
    """Killed again and again while entries come: the archive has every entry once, and the audit balances."""

    async def run() -> None:
        port, journal, done = free_port(), tmp_path / "journal", 0
        relay = gateway(tmp_path / "gateway", port)
        made = on_journal(sidecar(tmp_path / "web-1", f"http://127.0.0.1:{port}"), journal, boot="all")
        async with relay:
            await listening(port)
            for turn in range(3):
                async with made:
                    await made.up()
                    for _ in range(turn + 1):
                        write(journal / "a.journal", [f"entry {n}" for n in range(done, done + 300)], first=done + 1)
                        done += 300
                    await made.kill()
            async with made:
                await made.up()
                assert await made.terminate() == 0
            await relay.terminate()
        found = arrived(tmp_path / "gateway/archive")
        assert sorted(found["1.2.3"]) == sorted(f"entry {n}" for n in range(done))
        counts = host(audit(tmp_path / "gateway/archive"), "web-1")["counts"]
        assert counts["missing"] == counts["duplicates"] == 0

    asyncio.run(run())


@needs_remote
def test_after_a_power_cut_the_last_words_of_a_boot_arrive_as_its_life(tmp_path: Path) -> None:
    """What was written after the sidecar died, until the machine did, is shipped by the earlier life; the rest by the next."""

    async def run() -> None:
        port, journal = free_port(), tmp_path / "journal"
        machine = Machine(tmp_path / "host", port)
        relay = gateway(tmp_path / "gateway", port)
        async with relay:
            await listening(port)
            machine.power_on()
            boot = machine.boot.replace("-", "")
            write(journal / "a.journal", [f"one {n}" for n in range(50)], boot=boot)
            async with on_journal(machine.sidecar(), journal) as first:
                await first.up()
                await first.kill()
            write(journal / "a.journal", [f"one {n}" for n in range(50, 80)], first=51, boot=boot)
            machine.power_on(time.time() + 1)
            write(journal / "a.journal", ["two"], first=81, boot=machine.boot.replace("-", ""))
            async with on_journal(machine.sidecar(), journal) as second:
                await second.up()
                await until(lambda: not remains(machine), "all that the first life left is shipped")
                await second.terminate()
            await relay.terminate()
        found = arrived(tmp_path / "gateway/archive")
        assert {release: sorted(lines) for release, lines in found.items()} == {
            "r1": sorted(f"one {n}" for n in range(80)),
            "r2": ["two"],
        }
        report = audit(tmp_path / "gateway/archive")
        lives = [life for life in report["lives"] if life["role"] == "sidecar"]
        assert all(life["counts"]["missing"] == life["counts"]["duplicates"] == 0 for life in lives)

    asyncio.run(run())


@needs_journald
def test_a_live_journal_is_drained_to_its_last_entry(tmp_path: Path) -> None:
    """What was written when the sidecar is told to stop still arrives."""

    async def run() -> None:
        port = free_port()
        relay = gateway(tmp_path / "gateway", port)
        with journald() as daemon:
            async with relay:
                await listening(port)
                made = on_journal(sidecar(tmp_path / "web-1", f"http://127.0.0.1:{port}"), daemon.directory)
                async with made:
                    await made.up()
                    daemon.log(*(f"entry {n}" for n in range(500)))
                    daemon.control("--sync")  # what still waits at its socket is in no journal yet
                    assert await made.terminate() == 0
                await relay.terminate()
        found = arrived(tmp_path / "gateway/archive")["1.2.3"]
        assert [line for line in found if line.startswith("entry ")] == [f"entry {n}" for n in range(500)]

    asyncio.run(run())
