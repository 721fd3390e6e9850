"""Many files of which few are active, and a file that is rotated all the time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.process import Sidecar, Sink, cores, start, wait_for
from bench.row import Row, workplace

ACTIVE = 20  # files that are written to
RATE = 10.0  # lines a second into each of them
QUIET_SECONDS = 31.0  # two of the rescans that look at every file
ACTIVE_SECONDS = 20.0


def many(name: str, count: int) -> list[Row]:
    """``count`` files of one line each: what they cost while nothing happens, and while some of them are written to."""
    with workplace() as directory:
        log = directory / "log"
        for number in range(count):
            (log / f"app-{number:05d}.log").write_bytes(b"one line of application %d\n" % number)
        sink = Sink(directory, delay=0.002, keep=True)
        sidecar = Sidecar(directory, sink.endpoint, str(log / "*.log"))
        wait_for(lambda: sink.records() >= count, 120, "the first line of every file")
        startup = sidecar.cpu()
        time.sleep(3)
        before = sidecar.cpu()
        time.sleep(QUIET_SECONDS)
        quiet = (sidecar.cpu() - before) / QUIET_SECONDS
        memory, descriptors = sidecar.memory("VmRSS"), _descriptors(sidecar)
        writers = [
            start(["-m", "bench.writer", str(path), str(RATE), str(ACTIVE_SECONDS)], cores()[1])
            for path in sorted(log.iterdir())[:: max(1, count // ACTIVE)][:ACTIVE]
        ]
        before = sidecar.cpu()
        for writer in writers:
            writer.wait()
        active = (sidecar.cpu() - before) / ACTIVE_SECONDS
        sidecar.terminate()
        taken = sink.stop()
    delays = taken["delays"]
    written = int(RATE * ACTIVE_SECONDS) * len(writers)
    return [
        Row(name, "CPU while nothing happens", "% of a core", quiet * 100),
        Row(name, f"CPU, {len(writers)} files x {RATE:.0f} lines/s", "% of a core", active * 100),
        Row(name, "CPU to start and read a line of each", "s", startup),
        Row(name, "memory, RSS", "MB", memory),
        Row(name, "descriptors", "", descriptors),
        Row(name, "exposure p50", "ms", delays[len(delays) // 2] * 1000),
        Row(name, "exposure p99", "ms", delays[len(delays) * 99 // 100] * 1000),
        Row(name, "missing", "lines", written - taken["distinct"]),
    ]


def _descriptors(sidecar: Sidecar) -> float:
    return float(len(list(Path(f"/proc/{sidecar.process.pid}/fd").iterdir())))


def storm(name: str, rate: float, rotations: float, seconds: float) -> list[Row]:
    """``rate`` lines/s into a file that is renamed out of its directory ``rotations`` times a second."""
    with workplace() as directory:
        log = directory / "log" / "app.log"
        log.touch()
        sink = Sink(directory, delay=0.002, keep=True)
        sidecar = Sidecar(directory, sink.endpoint, str(log))
        wait_for(lambda: (directory / "state" / "admin.sock").exists(), 30, "the sidecar's start")
        time.sleep(1.5)
        before = sidecar.cpu()
        words = [sys.executable, "-m", "bench.rotator", str(log), str(rate), str(seconds), str(rotations)]
        done = subprocess.run(["taskset", "-c", str(cores()[1]), *words], capture_output=True, text=True, check=True)
        cpu = (sidecar.cpu() - before) / seconds
        lines, took = int(done.stdout.split()[0]), float(done.stdout.split()[1])
        sidecar.terminate()
        taken = sink.stop()
    delays = taken["delays"]
    return [
        Row(name, "written", "lines/s", lines / took),
        Row(name, "rotations", "1/s", rotations),
        Row(name, "missing", "lines", lines - taken["distinct"]),
        Row(name, "twice", "lines", len(delays) - taken["distinct"]),
        Row(name, "exposure p99", "ms", delays[len(delays) * 99 // 100] * 1000),
        Row(name, "CPU", "% of a core", cpu * 100),
    ]
