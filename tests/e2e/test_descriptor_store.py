"""Logs that were deleted unread, over a kill and an upgrade: real sidecars under what keeps descriptors as systemd does."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.testing.sink import Sink
from tests.e2e.kit import Shipper, data_lines, sidecar, until
from tests.sources.fd_store_kit import Keeper

LAUNCH = """
import fcntl, os, sys
whose, numbers, names, *command = sys.argv[1:]
held = [fcntl.fcntl(os.open(f"/proc/{whose}/fd/{n}", os.O_RDONLY), fcntl.F_DUPFD, 100) for n in numbers.split()]
for number, fd in enumerate(held, 3):
    os.dup2(fd, number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(held)), LISTEN_FDNAMES=names)
os.execv(command[0], command)
"""
"""As systemd starts a process: what it kept for the unit at the numbers from 3 on."""


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """The service manager."""
    made = Keeper(tmp_path / "notify")
    yield made
    made.close()


def start(process: Shipper, keeper: Keeper) -> Shipper:
    kept = [(name, fd) for name, fds in keeper.kept.items() for fd in fds]
    numbers, names = " ".join(str(fd) for _, fd in kept), ":".join(name for name, _ in kept)
    process.prefix = (sys.executable, "-c", LAUNCH, str(os.getpid()), numbers, names)
    return process


def test_a_log_deleted_unread_outlives_a_kill_and_an_upgrade(tmp_path: Path, keeper: Keeper) -> None:
    """Deleted in an outage with its writer going on, the sidecar killed, and stopped: each line arrives once, none is lost."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("first\n")
        env = {**keeper.env(), "SHIPPER_FILE_LIMITS_HELD_MAX": "0", "SHIPPER_DRAIN_DEADLINE": "2s"}
        expected = ["first"]
        async with Sink() as sink:
            async with start(sidecar(tmp_path / "host", sink.url, log, **env), keeper) as process:
                await until(lambda: data_lines(sink) == ["first"], "the first line arrives")
                await sink.go_down()
                writer = open(log, "a", buffering=1)  # noqa: SIM115
                writer.write("unread\n")
                log.unlink()
                await until(lambda: keeper.kept, "its descriptor is kept")
                await process.kill()
            writer.write("while killed\n")
            async with start(sidecar(tmp_path / "host", sink.url, log, **env), keeper) as process:
                await until(lambda: "outlived the run" in process.said(), "it is taken over")
                writer.write("while down\n")
                assert await process.terminate() == 3, process.said()
            assert keeper.kept
            writer.write("while stopped\n")
            await sink.come_up()
            expected += ["unread", "while killed", "while down", "while stopped", "last"]
            async with start(sidecar(tmp_path / "host", sink.url, log, **env), keeper) as process:
                writer.write("last\n")
                writer.close()
                await until(lambda: len(data_lines(sink)) == len(expected), "everything arrives")
                await until(lambda: not keeper.kept, "nothing is kept any more")
                assert await process.terminate() == 0, process.said()
            assert sorted(data_lines(sink)) == sorted(expected)
            assert "before every destination had them" not in process.said()

    asyncio.run(story())
