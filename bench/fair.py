"""Does a quiet file have to wait, for one that is flooded beside it, or for a thousand idle ones?"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from bench.process import Sidecar, Sink, cores, start, wait_for
from bench.row import Row, workplace

MB = 1_000_000
RATE = 4.0  # lines a second into the quiet file
LINE = 200  # bytes of a line of the flood
SETTLE_SECONDS = 2.0


def flood(name: str, rate: float, seconds: float) -> list[Row]:
    """A few lines a second into one file, by itself and then beside another that gets ``rate`` bytes a second."""
    rows: list[Row] = []
    for what, flooded in (("alone", 0.0), ("beside the flood", rate)):
        with workplace() as directory:
            quiet, loud = directory / "log" / "quiet.log", directory / "log" / "loud.log"
            quiet.touch()
            loud.touch()
            sink = Sink(directory, delay=0.002, keep=True)
            sidecar = _sidecar(directory, sink)
            before = sidecar.cpu()
            writers = [start(["-m", "bench.writer", str(quiet), str(RATE), str(seconds)], cores()[1])]
            if flooded:
                writers.append(start(["-m", "bench.flood", str(loud), str(flooded), str(seconds)], cores()[1]))
            for writer in writers:
                writer.wait()
            arrived, cpu = sink.records(), (sidecar.cpu() - before) / seconds
            lines = loud.stat().st_size // LINE + int(RATE * seconds)
            wait_for(lambda lines=lines, sink=sink: sink.records() >= lines, 120, "the last line")
            sidecar.terminate()
            rows += _exposure(name, what, sink.stop()["delays"], int(RATE * seconds))
            rows.append(Row(name, f"CPU, {what}", "% of a core", cpu * 100))
            if flooded:
                rows.append(Row(name, "written by the flood", "MB/s", lines * LINE / seconds / MB))
                rows.append(Row(name, "arrived when it ended", "% of its lines", 100 * arrived / lines))
    return rows


def idle_files(name: str, count: int, seconds: float) -> list[Row]:
    """A few lines a second into one file, by itself and then among ``count`` files to which nothing happens."""
    rows: list[Row] = []
    for what, others in (("alone", 0), (f"beside {count} idle files", count)):
        with workplace() as directory:
            quiet = directory / "log" / "quiet.log"
            quiet.touch()
            for number in range(others):
                (directory / "log" / f"idle-{number:05d}.log").write_bytes(b"one line of application %d\n" % number)
            sink = Sink(directory, delay=0.002, keep=True)
            sidecar = _sidecar(directory, sink)
            wait_for(lambda others=others, sink=sink: sink.records() >= others, 120, "the first line of every file")
            time.sleep(SETTLE_SECONDS)
            before = sidecar.cpu()
            start(["-m", "bench.writer", str(quiet), str(RATE), str(seconds)], cores()[1]).wait()
            cpu = (sidecar.cpu() - before) / seconds
            sidecar.terminate()
            rows += _exposure(name, what, sink.stop()["delays"], int(RATE * seconds))
            rows.append(Row(name, f"CPU, {what}", "% of a core", cpu * 100))
    return rows


def _sidecar(directory: Path, sink: Sink) -> Sidecar:
    sidecar = Sidecar(directory, sink.endpoint, str(directory / "log" / "*.log"))
    wait_for(lambda: (directory / "state" / "admin.sock").exists(), 30, "the sidecar's start")
    time.sleep(SETTLE_SECONDS)
    return sidecar


def _exposure(name: str, what: str, delays: list[float], written: int) -> list[Row]:
    missing = Row(name, f"missing, {what}", "lines", written - len(delays))
    if len(delays) < 2:
        return [missing]
    cut = statistics.quantiles(delays, n=100)
    return [
        Row(name, f"exposure p50, {what}", "ms", cut[49] * 1000),
        Row(name, f"exposure p99, {what}", "ms", cut[98] * 1000),
        Row(name, f"exposure max, {what}", "ms", delays[-1] * 1000),
        missing,
    ]
