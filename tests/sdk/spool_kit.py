"""What the tests of the hand-off share: a root, a spooler, real child processes, and reading back what they wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import time_ns
from typing import Any

from shipper.handoff.frame import Frame, Kind, walk
from shipper.handoff.liveness import is_alive
from shipper.handoff.places import parse_process, parse_segment
from shipper.sdk.writer.room import Limits
from shipper.sdk.writer.series import Series
from shipper.sdk.writer.spooler import Spooler

SPAN, LOG = int(Kind.SPAN), int(Kind.LOG)
REPOSITORY = Path(__file__).parents[2]


@dataclass
class Made:
    """A spooler with what it said, and the clock it looks at."""

    spooler: Spooler
    said: list[str] = field(default_factory=list)
    now: float = 1000.0

    @property
    def logs(self) -> Series:
        return self.spooler.series("logs")

    @property
    def traces(self) -> Series:
        return self.spooler.series("traces")


def make_root(directory: Path) -> Path:
    root = directory / "spool"
    root.mkdir()
    root.chmod(0o3733)
    return root


def make(root: Path | str, *, hello: Mapping[str, Any] | None = None, **limits: Any) -> Made:
    """A spooler with a clock that stands still. The reserve is off: machines that run tests have full disks."""
    made = Made.__new__(Made)
    made.said, made.now = [], 1000.0
    made.spooler = Spooler(
        str(root),
        hello=lambda: hello or {"service": "checkout"},
        say=made.said.append,
        limits=Limits(**{"reserve": 0.0, "tmpfs_bytes": 64 << 20, **limits}),
        now=lambda: made.now,
    )
    return made


def put(series: Series, body: bytes, kind: int = LOG, **more: Any) -> bool:
    return series.append(kind, body, time_ns(), **more)


def segments(directory: Path, signal: str) -> list[Path]:
    """The segments of a series in a process directory, in order."""
    found = [(parse_segment(path.name), path) for path in directory.iterdir()]
    return [path for parsed, path in sorted(found, key=lambda each: each[1].name) if parsed and parsed[0] == signal]


def processes(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if parse_process(path.name) is not None)


def only(root: Path) -> Path:
    (directory,) = processes(root)
    return directory


def frames(directory: Path, signal: str = "logs") -> list[Frame]:
    """All frames of a series; nothing in it may be damaged."""
    found: list[Frame] = []
    for path in segments(directory, signal):
        walked = walk(path.read_bytes())
        assert not walked.damaged, path
        assert not walked.broken, path
        assert walked.frames[0].kind == Kind.HEAD
        found += walked.frames
    return found


def bodies(directory: Path, signal: str = "logs") -> list[bytes]:
    """The bodies of all records of a series, in the order in which they stand there."""
    return [frame.body for frame in frames(directory, signal) if frame.kind in (Kind.SPAN, Kind.LOG, Kind.REQUEST)]


def all_bodies(root: Path, signal: str = "logs") -> list[bytes]:
    """The same of all processes."""
    return [body for directory in processes(root) for body in bodies(directory, signal)]


def no_holes(found: list[Frame]) -> None:
    """Every sequence number is there once."""
    assert sorted(frame.seq for frame in found) == list(range(len(found)))


def lives(directory: Path) -> bool:
    return is_alive(str(directory / "alive"))


def in_child(work: Callable[[], Any]) -> int:
    """Run ``work`` in a forked child that ends by ``os._exit``; its exit status, 99 for an exception."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"in the child: {error!r}", file=sys.stderr, flush=True)
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def start(code: str, *arguments: str | Path, **more: Any) -> subprocess.Popen[str]:
    """A Python program of its own, with this module imported; its output is text."""
    prefix = "import os, sys, time, signal, threading\nfrom tests.sdk.spool_kit import *\n"
    return subprocess.Popen(
        [sys.executable, "-c", prefix + code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=more.pop("cwd", REPOSITORY),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "error", **more.pop("env", {})},
        **more,
    )


def run(code: str, *arguments: str | Path, status: int = 0, **more: Any) -> str:
    """Run it to its end; what it printed."""
    with start(code, *arguments, **more) as program:
        out, err = program.communicate(timeout=60)
    assert program.returncode == status, err
    return out


def descriptors() -> Iterator[int]:
    """Descriptors of this process."""
    return (int(name) for name in os.listdir("/proc/self/fd"))


def frames_of(path: Path) -> list[Frame]:
    """The frames of one segment."""
    return walk(path.read_bytes()).frames
