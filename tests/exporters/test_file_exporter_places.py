"""Where files lie and what that is worth: trust, refusals, repeats after a crash, and what its settings do."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext, Request, Signal
from shipper.errors import ConfigError, Rejected, Retryable, Unusable
from shipper.pump.load import make_exporter
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.testing.streams import LIFE, log_batch, log_payload, log_request
from shipper_exporters._file import place, rolling
from shipper_exporters._file.place import _remote, failure
from shipper_exporters.file import FileExporter, FileSettings
from tests.e2e.kit import until
from tests.exporters.loki_kit import payload, request_of
from tests.exporters.otlp_lines import lines_of, records_of

COLLECTOR = os.environ.get("OTELCOL_CONTRIB_BINARY") or os.environ.get("OTELCOL_BINARY", "")


@asynccontextmanager
async def exporting(path: str, clock: FakeClock | None = None, **settings: Any) -> AsyncIterator[FileExporter]:
    context = ExporterContext(clock or FakeClock(), LIFE, 1, "test")
    exporter = FileExporter("out", FileSettings(path=path, **settings), context)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def send(exporter: FileExporter, request: Request) -> Accepted:
    return await exporter.send(exporter.prepare(request), Deadline(exporter._context.clock))


def sent(path: str, *requests: Request, **settings: Any) -> list[Accepted]:
    async def run() -> list[Accepted]:
        async with exporting(path, **settings) as exporter:
            return [await send(exporter, request) for request in requests]

    return asyncio.run(run())


def lines(*texts: str) -> Request:
    return log_request(log_batch(texts))


def test_each_signal_has_a_file(tmp_path: Path) -> None:
    """A file holds one signal; its path names host and life where told."""
    metrics = log_request(log_batch(["m"], signal=Signal.METRICS))
    sent(f"{tmp_path}/{{host}}/{{life}}/{{signal}}.jsonl", lines("a"), metrics)
    root = tmp_path / os.uname().nodename / LIFE
    assert sorted(one.name for one in root.iterdir()) == ["logs.jsonl", "metrics.jsonl"]
    assert lines_of(Signal.LOGS, (root / "logs.jsonl").read_bytes()) == ("a",)
    assert lines_of(Signal.METRICS, (root / "metrics.jsonl").read_bytes()) == ("m",)


def test_pods_of_a_node_share_a_file() -> None:
    """One exporter serves all lives, unless each has a file of its own."""
    context = ExporterContext(FakeClock(), LIFE, 1, "test")
    assert FileExporter("out", FileSettings(path="/a/{signal}"), context).many_lives
    assert not FileExporter("out", FileSettings(path="/a/{life}/{signal}"), context).many_lives


def test_text(tmp_path: Path) -> None:
    """As text each record is a line that ends with its life."""
    sent(f"{tmp_path}/{{signal}}.log", request_of(payload({"body": "x"}, {"body": "y"})), format="text")
    assert [line.split()[-2:] for line in (tmp_path / "logs.log").read_text().splitlines()] == [
        [word, f"life={LIFE}"] for word in "xy"
    ]


def test_a_repeat_after_a_crash_is_not_written_twice(tmp_path: Path) -> None:
    """A request of an earlier run, of which nobody knows whether it was written, is looked for first."""
    path = f"{tmp_path}/{{signal}}.jsonl"
    first, second = lines("written"), lines("not written")
    sent(path, first)
    later = FakeClock(wall_ns=START_WALL_NS + 60 * 10**9)

    async def run() -> None:
        async with exporting(path, later) as exporter:
            for request in (first, second, first, second):
                assert await send(exporter, request) == Accepted()

    asyncio.run(run())
    found = [lines_of(Signal.LOGS, line) for line in (tmp_path / "logs.jsonl").read_bytes().splitlines()]
    assert found == [("written",), ("not written",)]


def test_a_refusal_after_a_write_that_nobody_saw_the_end_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an attempt that was broken off has written is not forgotten for the next one's being refused."""
    path, aside = tmp_path / "logs.jsonl", tmp_path / "aside"
    broken_off, real = threading.Event(), os.fsync

    def fsync(descriptor: int) -> None:
        broken_off.wait(10)
        real(descriptor)

    monkeypatch.setattr(rolling.os, "fsync", fsync)

    async def run() -> None:
        async with exporting(str(tmp_path / "{signal}.jsonl")) as exporter:
            request = lines("once")
            sending = asyncio.create_task(send(exporter, request))
            await until(lambda: path.exists() and path.stat().st_size, "it is written")
            sending.cancel()
            broken_off.set()
            await asyncio.gather(sending, return_exceptions=True)
            assert sending.cancelled()
            path.rename(aside)
            path.mkdir()
            with pytest.raises(Unusable):
                await send(exporter, request)
            path.rmdir()
            aside.rename(path)
            assert await send(exporter, request) == Accepted()

    asyncio.run(run())
    assert [lines_of(Signal.LOGS, line) for line in path.read_bytes().splitlines()] == [("once",)]


def test_a_write_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that does not answer is waited for as long as told; what it did in the end is not done again."""
    path = tmp_path / "logs.jsonl"
    stuck = threading.Event()
    real = os.fsync
    asked: list[int] = []

    def fsync(descriptor: int) -> None:
        asked.append(descriptor)
        stuck.wait()
        real(descriptor)

    async def run() -> None:
        clock = FakeClock()
        async with exporting(str(tmp_path / "{signal}.jsonl"), clock) as exporter:
            monkeypatch.setattr(rolling.os, "fsync", fsync)
            request = lines("slow")
            sending = asyncio.create_task(send(exporter, request))
            await until(lambda: asked, "it hangs")
            await clock.settle()
            await clock.run(31)
            with pytest.raises(Retryable, match="not written in time"):
                await sending
            stuck.set()
            assert await send(exporter, request) == Accepted()

    asyncio.run(run())
    assert [lines_of(Signal.LOGS, line) for line in path.read_bytes().splitlines()] == [("slow",)]


def test_a_failed_fsync_is_no_acknowledgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written through is taken back, and is there once after the next try."""
    failing = [OSError(errno.EIO, "Input/output error")]
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if failing and os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")) == "logs.jsonl":
            raise failing.pop()
        real(descriptor)

    monkeypatch.setattr(rolling.os, "fsync", fsync)

    async def run() -> None:
        async with exporting(str(tmp_path / "{signal}.jsonl")) as exporter:
            request = lines("x")
            with pytest.raises(Retryable, match="the disk fails"):
                await send(exporter, request)
            assert (tmp_path / "logs.jsonl").read_bytes() == b""
            assert await send(exporter, request) == Accepted()

    asyncio.run(run())
    assert (tmp_path / "logs.jsonl").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, Retryable, "the disk is full"),
        (errno.EDQUOT, Retryable, "quota"),
        (errno.EIO, Retryable, "the disk fails"),
        (errno.ESTALE, Retryable, "forgotten"),
        (errno.EMFILE, Retryable, "too many files"),
        (errno.ENOMEM, Retryable, "Cannot allocate memory"),
        (errno.EROFS, Unusable, "read-only"),
        (errno.EACCES, Unusable, "may not be written by this user"),
        (errno.EPERM, Unusable, "may not be written by this user"),
        (errno.ENOTDIR, Unusable, "not a directory"),
        (errno.EISDIR, Unusable, "it is a directory"),
        (errno.ELOOP, Unusable, "symbolic link"),
        (errno.EFBIG, Unusable, "so large"),
    ],
)
def test_refusals(number: int, kind: type[Exception], words: str) -> None:
    """What passes is tried again, what a person can mend holds everything, each said in a sentence with its path."""
    error = failure(OSError(number, os.strerror(number)), "/var/log/out.jsonl")
    assert type(error) is kind
    assert str(error).startswith("/var/log/out.jsonl: ")
    assert words in str(error)


def test_a_link_in_its_place(tmp_path: Path) -> None:
    """Nobody can make it write elsewhere by putting a link there."""
    (tmp_path / "logs.jsonl").symlink_to(tmp_path / "passwd")
    with pytest.raises(Unusable, match="symbolic link"):
        sent(f"{tmp_path}/{{signal}}.jsonl", lines("x"))
    assert not (tmp_path / "passwd").exists()


def test_a_local_file_proves_nothing(tmp_path: Path) -> None:
    """A file on a disk of this host is not off it, unless somebody says so."""

    async def run(**settings: Any) -> bool:
        async with exporting(str(tmp_path / "{signal}.jsonl"), **settings) as exporter:
            await send(exporter, lines("x"))
            return exporter.trusted()

    assert asyncio.run(run()) is False
    assert asyncio.run(run(trust_local=True)) is True


def test_a_shared_file_system_is_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on the disk of a file server outlives this host; what only the kernel has does not."""
    monkeypatch.setattr(place, "REMOTE", frozenset(_kinds()))

    async def run(**settings: Any) -> list[bool]:
        async with exporting(str(tmp_path / "{signal}.jsonl"), **settings) as exporter:
            before = exporter.trusted()
            await send(exporter, lines("x"))
            return [before, exporter.trusted()]

    assert asyncio.run(run()) == [False, True]
    assert asyncio.run(run(fsync=False)) == [False, False]


def _kinds() -> set[str]:
    return {line.partition(" - ")[2].split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


@pytest.mark.parametrize(
    ("line", "remote"),
    [
        ("36 35 0:52 / /mnt/logs rw - nfs4 server:/logs rw,vers=4.2,addr=10.0.0.7", True),
        ("36 35 0:52 / /mnt/logs rw shared:5 - cifs //server/logs rw,vers=3.1.1,addr=10.0.0.7", True),
        ("36 35 0:52 / /mnt/logs rw - ceph 10.0.0.7:6789:/ rw", True),
        ("36 35 0:52 / /mnt/logs rw - nfs4 localhost:/logs rw,addr=127.0.0.1", False),
        ("36 35 0:52 / /mnt/logs rw - fuse.s3fs s3fs rw,user_id=0", False),
        ("36 35 0:52 / /mnt/logs rw - ext4 /dev/vda rw", False),
        ("36 35 0:53 / /mnt/other rw - nfs4 server:/logs rw,addr=10.0.0.7", False),
        ("nonsense", False),
    ],
)
def test_which_file_systems_are_elsewhere(line: str, remote: bool) -> None:
    """Those whose servers are not this host, by the line of mountinfo that is of the file's device."""
    assert _remote(line, "0:52") is remote


def test_our_own_file_is_not_read_in_a_circle(tmp_path: Path) -> None:
    """A file that is tailed by the same Shipper ends there: its lines are left out, and said."""
    path = f"{tmp_path}/{{signal}}.jsonl"
    identified = request_of(payload({"body": "real"}))
    sent(path, identified)
    (line,) = (tmp_path / "logs.jsonl").read_text().splitlines()
    (answer,) = sent(path, request_of(log_payload([line, "new"]), records=2))
    assert answer.rejected == 1
    assert "exclude it there" in answer.message
    (_, last) = (tmp_path / "logs.jsonl").read_bytes().splitlines()
    assert lines_of(Signal.LOGS, last) == ("new",)
    (answer,) = sent(path, request_of(log_payload([line])))
    assert answer.rejected == 1


def test_what_is_no_otlp(tmp_path: Path) -> None:
    """Bytes that are no request are refused before anything is written."""
    with pytest.raises(Rejected, match="not valid OTLP"):
        sent(f"{tmp_path}/{{signal}}.jsonl", request_of(b"\xff\xff"))


def test_compressed_files_are_whole(tmp_path: Path) -> None:
    """Over all rotations every record is there once."""
    requests = [lines(f"{n} {'x' * 300}") for n in range(30)]
    sent(f"{tmp_path}/{{signal}}.jsonl", *requests, rotate_bytes=2000, rotate_keep=0)
    found = []
    for path in sorted(tmp_path.iterdir(), key=lambda path: (path.name == "logs.jsonl", path.name)):
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        found += [text for line in data.splitlines() for text in lines_of(Signal.LOGS, line)]
    assert [text.split()[0] for text in found] == [str(n) for n in range(30)]
    assert sum(path.suffix == ".gz" for path in tmp_path.iterdir()) > 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "path: is missing"),
        ({"path": "logs/{signal}.jsonl"}, "must begin with a slash"),
        ({"path": "/var/log/all.jsonl"}, "needs {signal}"),
        ({"path": "/var/log/{signal}/"}, "is a directory"),
        ({"path": "/var/log/{signal}.{date}.jsonl"}, "nothing else in braces"),
        ({"path": "/var/log/{signal!r}"}, "nothing else in braces"),
        ({"path": "/var/log/{signal.x}"}, "nothing else in braces"),
        ({"path": "/var/log/{signal"}, "brace"),
        ({"path": "/var/log/{signal}", "timeout": 0}, "timeout"),
        ({"path": "/var/log/{signal}", "rotate_keep": -1}, "rotate_keep"),
        ({"path": "/var/log/{signal}", "format": "xml"}, "format"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], words: str) -> None:
    """What is wrong is said with its place, before anything is written."""
    with pytest.raises(ConfigError) as caught:
        make_exporter("file", "out", options, ExporterContext(FakeClock(), LIFE, 1, "test"), where="destinations.out")
    assert words in str(caught.value)


@cache
def _reads_lines() -> bool:
    if not COLLECTOR:
        return False
    listed = subprocess.run([COLLECTOR, "components"], capture_output=True, text=True, timeout=60, check=True).stdout
    return "otlpjsonfilereceiver" in listed and "name: file" in listed


@pytest.mark.peer
@pytest.mark.skipif(not _reads_lines(), reason="OTELCOL_BINARY names no Collector with the receiver otlpjsonfile")
def test_an_opentelemetry_collector_reads_it(tmp_path: Path) -> None:
    """The Collector's reader of such files takes every record of every signal, with all fields."""
    now = time.time_ns()
    logs = [
        {"body": f"event {n} é", "time_unix_nano": now + n, "severity_number": 9, "attributes": {"n": n, "l": ["a", 1]}}
        for n in range(1000)
    ]
    sizes = log_payload([f"{n} {'x' * 3000}" for n in range(1000)])  # more than one line holds
    metrics = log_request(log_batch(["a", "b"], signal=Signal.METRICS))
    sent(f"{tmp_path}/in/{{signal}}.jsonl", request_of(payload(*logs)), request_of(sizes), metrics)
    out = {signal: tmp_path / f"out.{signal}" for signal in (Signal.LOGS, Signal.METRICS)}
    pipelines = {signal: {"receivers": [f"otlp_json_file/{signal}"], "exporters": [f"file/{signal}"]} for signal in out}
    config = {
        "receivers": {
            f"otlp_json_file/{signal}": {
                "include": [f"{tmp_path}/in/{signal}.jsonl"],
                "start_at": "beginning",
                "include_file_name": False,
            }
            for signal in out
        },
        "exporters": {f"file/{signal}": {"path": str(path)} for signal, path in out.items()},
        "service": {"telemetry": {"metrics": {"level": "none"}}, "pipelines": pipelines},
    }
    (tmp_path / "collector.json").write_text(json.dumps(config))

    def written(signal: Signal) -> list[Any]:
        path = out[signal]
        whole = (
            [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
            if path.exists()
            else []
        )
        return [record for line in whole for record in records_of(signal, line)]

    with subprocess.Popen(
        [COLLECTOR, f"--config={tmp_path}/collector.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            asyncio.run(until(lambda: len(written(Signal.LOGS)) >= 2000 and written(Signal.METRICS), "all is read"))
        finally:
            process.terminate()
    found = written(Signal.LOGS)
    assert len(found) == 2000
    assert [(one.body, one.time_ns, one.severity, dict(one.attributes)) for one in found[:1000]] == [
        (log["body"], log["time_unix_nano"], 9, log["attributes"]) for log in logs
    ]
    assert [one.body for one in found[1000:]] == [f"{n} {'x' * 3000}" for n in range(1000)]
    assert [one.attributes["line"] for one in written(Signal.METRICS)] == ["a", "b"]
