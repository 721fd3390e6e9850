"""Runs of programs that ``shipper exec`` hands over: whose each file is, how a run ended, and when its directory may go.

The files themselves are read as any log file is (`shipper.sources.file`). What is here is what only runs have: an end that
nobody lived to tell, space that is given back while a program still writes, and a directory to remove when all is shipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from shipper.clock import Clock
from shipper.contracts import Source
from shipper.events import Problem, Reporter
from shipper.handoff.jobs import (
    ALIVE,
    ENDED,
    GIVEN_UP,
    KEPT_HEAD,
    STREAMS,
    Ended,
    Job,
    belongs,
    given_up,
    is_job,
    read_job,
    write_end,
)
from shipper.handoff.liveness import is_alive
from shipper.holes import punch
from shipper.otlp.encode import AttributeValue, resource
from shipper.sources.file.lease import has_writers
from shipper.sources.file.settings import FileGroup
from shipper.sources.file.stream import FileStream

LOOK_SECONDS = 1.0
QUIET_SECONDS = 60.0
_STEP = 1 << 20  # space is given back in such pieces, not for every line


class Streams(Protocol):
    """Where the streams of files are to be had: a `shipper.sources.file.source.FileSource`."""

    def stream_at(self, path: str) -> FileStream | None:
        """Who reads the file of this name; None where there is none (it is empty, or not yet looked at)."""

    def caught_up(self, path: str) -> bool:
        """Whether all that the file of this name holds was acknowledged everywhere, and counted."""


def group_of_runs(root: str, host: Mapping[str, AttributeValue], stream: str) -> FileGroup:
    """The files of one kind (`STREAMS`, `ENDED`) of all runs below the root."""

    def resource_of(path: str) -> bytes | None:
        job = read_job(os.path.dirname(path))
        return None if job is None else resource({**host, **attributes_of(job)})

    return FileGroup(
        include=(os.path.join(root, "job-*", stream),), resource_of=resource_of, admits=belongs, format="plain"
    )


def attributes_of(job: Job) -> dict[str, AttributeValue]:
    """What a run says of itself, beside what is known of the host."""
    own: dict[str, AttributeValue] = {
        "job.name": job.name,
        "process.executable.name": os.path.basename(job.program),
        "shipper.job.run.id": job.id,
    }
    if job.service:
        own["service.name"] = job.service
    return {**job.attributes, **own}


class Jobs(Source):
    """Looks after the directories of runs below ``root``. It announces no stream of its own."""

    name = "jobs"

    def __init__(self, root: str, files: Streams, clock: Clock, report: Reporter) -> None:
        self._root = root
        self._files = files
        self._clock = clock
        self._report = report
        self._freed: dict[str, int] = {}  # up to where space was given back, by path
        self._noted: dict[str, int] = {}  # size of what was noted as given up, by path

    async def run(self) -> None:
        """See `Source.run`."""
        while True:
            self.look()
            await self._clock.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Look at every run once."""
        try:
            names = [name for name in os.listdir(self._root) if is_job(name)]
        except OSError:  # no root, or not ours to list: the source of services says so
            return
        for name in names:
            path = os.path.join(self._root, name)
            try:
                self._look(path)
            except OSError as problem:
                self._report(Problem("job", f"{path} cannot be looked after: {problem.strerror or problem}", path))

    def _look(self, path: str) -> None:
        self._learn_gaps(path)
        if os.path.exists(os.path.join(path, ENDED)):
            self._remove(path)
            return
        for stream in STREAMS:
            self._give_back(os.path.join(path, stream))
        if not is_alive(os.path.join(path, ALIVE)) and not _written(path, self._clock.wall_ns() / 1e9):
            self._left(path)

    def _left(self, path: str) -> None:
        """Whoever waited for the run was killed, and nobody writes any more: how it ended is not known."""
        job = read_job(path)
        if job is None:
            return
        now = self._clock.wall_ns()
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            write_end(directory, job, Ended("lost", -1, max(0.0, (now - job.started_ns) / 1e9), now))
        finally:
            os.close(directory)

    def _learn_gaps(self, path: str) -> None:
        with suppress(FileNotFoundError):
            size = os.stat(os.path.join(path, GIVEN_UP), follow_symlinks=False).st_size
            if self._noted.get(path) == size:
                return
            for stream, gaps in given_up(path).items():
                found = self._files.stream_at(os.path.join(path, stream))
                if found is None:
                    return  # once it is read
                found.give_up(gaps)
            self._noted[path] = size

    def _give_back(self, path: str) -> None:
        """The space of what is acknowledged; the beginning and what lies before the next byte stay, to recognise it by."""
        stream = self._files.stream_at(path)
        if stream is None:
            return
        start = self._freed.get(path, KEPT_HEAD)
        end = (min(stream.released_to, stream.measured_to) - KEPT_HEAD) // KEPT_HEAD * KEPT_HEAD
        if end - start < _STEP:
            return
        self._freed[path] = int(end)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if belongs(path, os.fstat(descriptor)):
                punch(descriptor, start, int(end))  # where that cannot be done, the space goes with the directory
        finally:
            os.close(descriptor)

    def _remove(self, path: str) -> None:
        if not all(self._files.caught_up(os.path.join(path, name)) for name in (*STREAMS, ENDED)):
            return
        shutil.rmtree(path)
        self._noted.pop(path, None)
        for stream in STREAMS:
            self._freed.pop(os.path.join(path, stream), None)

    def stop_reading(self) -> None:
        """See `Source.stop_reading`; the files' source reads."""

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`; the files' source knows."""
        return True

    def close_events(self) -> None:
        """See `Source.close_events`."""

    async def aclose(self) -> None:
        """See `Source.aclose`: remove what is shipped by now."""
        self.look()


def _written(path: str, now: float) -> bool:
    """Whether a process may still write to an output of the run; where the kernel does not tell, quiet does."""
    for stream in STREAMS:
        try:
            descriptor = os.open(os.path.join(path, stream), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            writers = has_writers(descriptor)
            if writers or (writers is None and now - os.fstat(descriptor).st_mtime < QUIET_SECONDS):
                return True
        finally:
            os.close(descriptor)
    return False
