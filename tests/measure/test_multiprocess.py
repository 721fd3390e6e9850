"""A multiprocess directory is read: what a killed worker counted stays counted, and no file can do harm."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from shipper.events import Reporter
from shipper.measure.health import PATIENCE
from shipper.measure.multiprocess import Directory
from shipper.testing.clock import START_WALL_NS, FakeClock
from tests.measure.measurekit import points

BIRTH = START_WALL_NS - 10**12
SERVER = textwrap.dedent(
    """
    import os, signal, sys, time
    from prometheus_client import Counter, Gauge, Histogram
    requests = Counter("requests", "Requests.", ["path"])
    wait = Histogram("wait", "Wait.", buckets=(1, 2))
    busy = Gauge("busy", "Busy.", multiprocess_mode="sum")
    workers = []
    for number in range(int(sys.argv[1])):
        r, w = os.pipe()
        pid = os.fork()
        if not pid:
            for _ in range(100):
                requests.labels("/").inc()
                wait.observe(1.5)
            busy.set(1)
            os.write(w, b".")
            signal.pause()
        os.read(r, 1)
        workers.append(pid)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    """
)


def serve(directory: Path, workers: int) -> None:
    """A pre-forking server whose workers count and are killed without a word."""
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    subprocess.run([sys.executable, "-c", SERVER, str(workers)], env=env, check=True)


def target(path: Path, max_bytes: int = 64 << 20) -> tuple[Directory, Reporter]:
    clock = FakeClock()
    report = Reporter(clock)
    made = Directory(
        str(path),
        {"service.name": "shop"},
        interval=15,
        max_bytes=max_bytes,
        birth_ns=BIRTH,
        clock=clock,
        report=report,
    )
    return made, report


def values(directory: Directory) -> dict[str, float]:
    return {point.name: point.value for point in points(asyncio.run(directory.read()).payload)}


def problems(report: Reporter, kind: str) -> float:
    return float(report.metrics.problems.labels(kind)._value.get())


def test_what_killed_workers_counted_is_not_lost(tmp_path: Path) -> None:
    """Three workers counted a hundred requests each and were killed: three hundred, and a hundred more after a restart."""
    serve(tmp_path, 3)
    directory, _ = target(tmp_path)
    assert values(directory) == {"requests_total": 300, "wait": 300, "busy": 3, "shipper.scrape.up": 1}
    serve(tmp_path, 1)
    found = {point.name: point for point in points(asyncio.run(directory.read()).payload)}
    assert found["requests_total"].value == 400
    assert found["requests_total"].start_ns == BIRTH
    assert list(found["wait"].message.bucket_counts) == [0, 400, 0]
    assert found["wait"].message.sum == 600


def test_a_directory_that_was_emptied_began_anew(tmp_path: Path) -> None:
    """A server that clears its directory when it starts counts since the look before."""
    serve(tmp_path, 2)
    directory, _ = target(tmp_path)
    values(directory)
    for file in tmp_path.iterdir():
        file.unlink()
    assert values(directory) == {"shipper.scrape.up": 1}
    serve(tmp_path, 1)
    assert values(directory)["requests_total"] == 100


def test_a_directory_that_is_not_there_yet_has_no_numbers(tmp_path: Path) -> None:
    """The sidecar starts before the service; that is no fault."""
    directory, report = target(tmp_path / "later")
    assert asyncio.run(directory.read()).points == 0
    assert problems(report, "scrape") == 0


def test_damaged_and_strange_files_are_left_out_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A torn file, a pipe, a link and a directory cost themselves only; the good files are read."""
    serve(tmp_path, 1)
    good = next(tmp_path.glob("counter_*.db")).read_bytes()
    (tmp_path / "counter_1.db").write_bytes(good[:30])
    (tmp_path / "counter_2.db").write_bytes(b"\xff" * 4096)
    (tmp_path / "counter_3.db").write_bytes(good[:4] + b"\0" * 4 + b"\xff\xff\xff\x7f" + good[12:])
    (tmp_path / "nonsense.db").write_bytes(good)
    (tmp_path / "gauge.db").write_bytes(good)
    (tmp_path / "empty_1.db").write_bytes(b"")
    (tmp_path / "counter_4.db").mkdir()
    os.mkfifo(tmp_path / "counter_5.db")
    (tmp_path / "counter_6.db").symlink_to("/dev/zero")
    (tmp_path / "notes.txt").write_text("not ours")
    directory, _ = target(tmp_path)
    for _ in range(2):
        assert values(directory)["requests_total"] == 100
    said = [record.getMessage() for record in caplog.records]
    for number in (1, 3, 4, 5, 6):
        assert sum(f"counter_{number}.db cannot be read" in line for line in said) == 1
    assert not any("empty_1.db" in line or "notes.txt" in line for line in said)


def test_a_directory_that_cannot_be_read_is_said_and_survived(tmp_path: Path) -> None:
    """A path that is no directory is down, as a service that does not answer is."""
    file = tmp_path / "file"
    file.write_text("")
    directory, report = target(file)
    assert isinstance(directory._clock, FakeClock)
    for _ in range(3):
        assert values(directory) == {"shipper.scrape.up": 0}
        directory._clock.advance(PATIENCE)
    assert problems(report, "scrape") == 1


def test_a_directory_that_grew_without_bound_is_read_up_to_the_bound(tmp_path: Path) -> None:
    """Workers that come and go for weeks leave more files than anybody should read every fifteen seconds."""
    serve(tmp_path, 1)
    directory, report = target(tmp_path, max_bytes=1000)
    assert "requests_total" not in values(directory)
    assert problems(report, "scrape-damaged") >= 1


def test_a_worker_that_is_counting_while_it_is_read_does_no_harm(tmp_path: Path) -> None:
    """Files change under the reader: values only grow, and nothing is found damaged."""
    counting = SERVER.replace("signal.pause()", "[requests.labels('/').inc() for _ in iter(int, 1)]")
    code = counting.replace("for pid in workers:\n", "print(flush=True)\nsys.stdin.read()\nfor pid in workers:\n")
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    server = subprocess.Popen([sys.executable, "-c", code, "1"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        server.stdout.readline()
        directory, report = target(tmp_path)
        seen = [values(directory)["requests_total"] for _ in range(20)]
        assert seen == sorted(seen)
        assert seen[0] >= 100
        assert problems(report, "scrape-damaged") == 0
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()
