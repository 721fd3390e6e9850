"""How ``shipper exec`` hands over what a program writes: one directory a run, in the root of the hand-off.

The program's standard output and error *are* files in it, opened for appending, so nothing stands between the program and the
disk: what it wrote is there whatever is killed, it is never blocked, and it outlives us. The sidecar reads them as it reads
any log file. Beside them lie who it is (`job.json`), a lock that says whether somebody waits for its end (`alive`), the end
itself, as a line of a log (`ended`), and what had to be given up because nobody took it (`given-up`).
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

JOB = "job.json"
ALIVE = "alive"
ENDED = "ended"
GIVEN_UP = "given-up"
STREAMS: tuple[Literal["stdout", "stderr"], ...] = ("stdout", "stderr")
KEPT_HEAD = 4096
"""Bytes at the beginning of a file that are never given up: by them it is recognised."""
MAX_JOB = 64 << 10
VERSION = 1
_DIRECTORY = re.compile(r"job-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

Outcome = Literal["success", "failure", "lost"]
"""How a run ended; ``lost``: whoever waited for it was killed first."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a program. ``name``: of the job, the same for each of its runs. Times in nanoseconds since the epoch."""

    id: str
    name: str
    program: str
    pid: int
    started_ns: int
    service: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: what a shell would say (128 and the signal's number where a signal ended it), -1: not known."""

    outcome: Outcome
    status: int
    seconds: float
    ended_ns: int


def directory_name(id: str) -> str:
    """The name of the directory of the run ``id`` (a UUIDv7) in the root."""
    return f"job-{id}"


def is_job(name: str) -> bool:
    """Whether a name in the root is that of a run's directory."""
    return _DIRECTORY.fullmatch(name) is not None


def write_job(directory: int, job: Job) -> None:
    """Say who it is, before it begins. ``directory``: a descriptor. Raises OSError."""
    content = json.dumps({"version": VERSION, **asdict(job)}).encode()
    descriptor = os.open(JOB, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o644, dir_fd=directory)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def read_job(path: str) -> Job | None:
    """Who the run in the directory ``path`` is; None where nobody says so in a way that can be believed.

    Only a regular file of the directory's owner is read.
    """
    try:
        content = _own_content(path, JOB, MAX_JOB)
        said = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return None
    return _job(said) if isinstance(said, dict) and said.get("version") == VERSION else None


def end_line(job: Job, ended: Ended) -> bytes:
    """The line of `ENDED`: a record of its own in the logs, and what runs are counted by."""
    how = f"exited with {ended.status}" if ended.status >= 0 else "was left by who waited for it"
    said = {
        "time": _rfc3339(ended.ended_ns),
        "level": "INFO" if ended.outcome == "success" else "ERROR",
        "message": f"job {job.name} {how} after {ended.seconds:.3f} s",
        "job": job.name,
        "outcome": ended.outcome,
        "exit_code": ended.status,
        "duration": round(ended.seconds, 6),
    }
    return json.dumps(said).encode() + b"\n"


def write_end(directory: int, job: Job, ended: Ended) -> bool:
    """Say how it ended, once, whole or not at all; False when it is said already. Raises OSError."""
    name = f".{ENDED}-{os.urandom(8).hex()}"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o644, dir_fd=directory)
    try:
        try:
            os.write(descriptor, end_line(job, ended))
        finally:
            os.close(descriptor)
        os.link(name, ENDED, src_dir_fd=directory, dst_dir_fd=directory)
    except FileExistsError:
        return False
    finally:
        os.unlink(name, dir_fd=directory)
    return True


def note_given_up(directory: int, stream: str, start: int, end: int) -> None:
    """Note that ``[start, end)`` of a stream is about to be given up, before it is. Raises OSError."""
    descriptor = os.open(GIVEN_UP, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _FLAGS, 0o644, dir_fd=directory)
    try:
        os.write(descriptor, f"{stream} {start} {end}\n".encode())
    finally:
        os.close(descriptor)


def given_up(path: str) -> dict[str, list[tuple[int, int]]]:
    """What was given up of each stream of the run in the directory ``path``; lines that are none are passed over."""
    found: dict[str, list[tuple[int, int]]] = {}
    try:
        lines = _own_content(path, GIVEN_UP, 16 << 20).decode("ascii", "replace").split("\n")
    except OSError:
        return found
    for line in lines:
        match line.split(" "):
            case [str(stream), start, end] if stream in STREAMS and start.isdecimal() and end.isdecimal():
                found.setdefault(stream, []).append((int(start), int(end)))
    return found


def belongs(path: str, status: os.stat_result) -> bool:
    """Whether a file opened at ``path`` is its directory owner's own, so that nobody has us read what he may not."""
    try:
        above = os.lstat(os.path.dirname(path))
    except OSError:
        return False
    return stat.S_ISDIR(above.st_mode) and status.st_uid == above.st_uid


def _own_content(path: str, name: str, limit: int) -> bytes:
    descriptor = os.open(os.path.join(path, name), os.O_RDONLY | _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not belongs(os.path.join(path, name), status):
            raise PermissionError(f"{path}/{name} is not its directory owner's own file")
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def _job(said: dict[str, Any]) -> Job | None:
    texts = [said.get(key) for key in ("id", "name", "program", "service")]
    numbers = [said.get(key) for key in ("pid", "started_ns")]
    attributes = said.get("attributes")
    if not all(isinstance(text, str) and len(text) <= 1024 for text in texts) or not isinstance(attributes, dict):
        return None
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        return None
    id, name, program, service = map(str, texts)
    known = {key: value for key, value in attributes.items() if isinstance(key, str) and isinstance(value, str)}
    return Job(id, name, program, said["pid"], said["started_ns"], service, known)


def _rfc3339(at_ns: int) -> str:
    from datetime import UTC, datetime

    seconds, rest = divmod(at_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
