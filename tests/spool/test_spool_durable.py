"""When a frame counts as durable, and that a killed writer loses nothing it was told."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shipper.clock import SystemClock
from shipper.errors import StateError
from shipper.events import Reporter
from shipper.spool import Fsync, Spool


def open_spool(directory: Path, fsync: Fsync = Fsync.ALWAYS, *, interval: float = 0.2) -> Spool:
    return Spool.open(
        directory,
        name="t",
        fsync=fsync,
        fsync_interval=interval,
        segment_bytes=4096,
        max_bytes=1 << 20,
        report=Reporter(SystemClock()),
    )


async def put(spool: Spool, payload: bytes) -> None:
    _, end = spool.append(b"", payload)
    await spool.durable(end)
    assert spool.frontier() >= end


def test_writers_share_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one fsync is under way, everybody who appends waits for the next one, and that one does for all."""
    spool = open_spool(tmp_path)
    running, go_on = threading.Event(), threading.Event()
    calls: list[int] = []
    real = os.fdatasync

    def held(descriptor: int) -> None:
        calls.append(descriptor)
        running.set()
        go_on.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", held)

    async def main() -> None:
        first = asyncio.create_task(put(spool, b"first"))
        await asyncio.to_thread(running.wait, 10)
        assert spool.frontier() == 0  # what is not durable is not shipped either
        others = [asyncio.create_task(put(spool, b"%d" % n)) for n in range(50)]
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(first, *others)

    asyncio.run(main())
    assert len(calls) == 2
    spool.close()


def test_a_new_segment_is_durable_with_its_directory_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame in a new file counts only when the directory was synced too, and the full segment before it."""
    spool = open_spool(tmp_path)
    asyncio.run(put(spool, bytes(3000)))
    synced: list[str] = []
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)

        def note(descriptor: int, real: object = real) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

        monkeypatch.setattr(os, name, note)
    asyncio.run(put(spool, bytes(3000)))
    assert len(synced) == 3
    assert synced[-1] == str(tmp_path)
    asyncio.run(put(spool, b"x"))
    assert len(synced) == 4
    monkeypatch.undo()
    spool.close()


def test_a_disk_that_refuses_fsync_makes_nothing_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fsync the waiting frames are refused for good, even if a later fsync succeeds; new ones work."""
    spool = open_spool(tmp_path)

    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    async def main() -> None:
        _, end = spool.append(b"", b"lost?")
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", refuse)
            with pytest.raises(StateError, match="refused"):
                await spool.durable(end)
        await put(spool, b"good")
        with pytest.raises(StateError, match="refused"):
            await spool.durable(end)

    asyncio.run(main())
    spool.close()


def test_interval_syncs_soon_without_anyone_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the interval policy `durable` returns at once, and the fsync follows by itself."""
    spool = open_spool(tmp_path, Fsync.INTERVAL, interval=0.001)
    synced = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda _: synced.set())
    asyncio.run(put(spool, b"x"))
    assert synced.wait(10)
    monkeypatch.undo()
    spool.close()


def test_closing_syncs_unless_the_policy_is_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clean end leaves nothing to the page cache, except where that was asked for."""
    calls: list[int] = []
    monkeypatch.setattr(os, "fdatasync", calls.append)
    for policy, expected in ((Fsync.NEVER, 0), (Fsync.INTERVAL, 1)):
        spool = open_spool(tmp_path / policy, policy, interval=3600)
        spool.append(b"", b"x")
        spool.close()
        spool.close()
        assert len(calls) == expected


WRITER = """
import asyncio, sys
from shipper.clock import SystemClock
from shipper.events import Reporter
from shipper.spool import Spool

async def main():
    spool = Spool.open(sys.argv[1], name="t", fsync=sys.argv[2], segment_bytes=20_000, max_bytes=1 << 30,
                       report=Reporter(SystemClock()))
    number = int(sys.argv[3])
    while True:
        _, end = spool.append(b"", b"%d " % number + bytes(number * 37 % 5000))
        await spool.durable(end)
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
        number += 1

asyncio.run(main())
"""


@pytest.mark.parametrize("policy", [Fsync.ALWAYS, Fsync.NEVER])
def test_a_killed_writer_loses_nothing_that_was_accepted(tmp_path: Path, policy: Fsync) -> None:
    """Over several lives that end by SIGKILL, every frame whose append returned is there, once and in order."""
    told: list[int] = []
    for _ in range(5):
        following = told[-1] + 1000 if told else 0
        command = [sys.executable, "-c", WRITER, str(tmp_path), policy.value, str(following)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(random.randint(1, 60)):
                told.append(int(writer.stdout.readline()))
            writer.send_signal(signal.SIGKILL)
            told += [int(line) for line in writer.stdout.read().split(b"\n")[:-1] if line]
    spool = open_spool(tmp_path, policy)
    found: list[int] = []
    at = 0
    while frames := spool.frames(at, 1 << 16):
        found += [int(frame.payload.split(b" ")[0]) for frame in frames]
        at = frames[-1].end
    assert set(told) <= set(found)
    assert found == sorted(set(found))
    spool.close()
