"""Where a run hands over: the root of the sidecar that is there, or one that is made for our own."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from shipper.errors import StateError
from shipper.handoff.card import read_card
from shipper.handoff.jobs import ALIVE, STREAMS, Job, directory_name, write_job
from shipper.handoff.liveness import lock_alive
from shipper.handoff.places import find_root, root_path
from shipper.handoff.prepare import prepare_root
from shipper.ids import uuid7

_DIRECTORY_MODE = 0o770
_FILE_MODE = 0o660  # the sidecar's group (the root is setgid) frees space in it


@dataclass(frozen=True, slots=True)
class Root:
    """The root, and whether a sidecar that is not ours reads it."""

    path: str
    served: bool


def choose(env: Mapping[str, str], own: bool | None) -> Root:
    """Where to hand over. ``own``: with a sidecar of our own (True), with the one that is there (False), or as it comes.

    Raises `StateError` with what to do when there is no such place.
    """
    found = find_root(env)
    served = found.usable and read_card(found.path) is not None and is_read(found.path)
    if own is False or (own is None and served):
        if not served:
            raise StateError(
                f"no sidecar reads {found.path}: {found.why_not or 'start one (shipper run)'}, or use --sidecar own"
            )
        return Root(found.path, served=True)
    path = root_path(env)
    problem = prepare_root(path)
    if problem and not os.access(path, os.W_OK | os.X_OK):
        raise StateError(
            f"the program's output cannot be put aside: {problem}; set SHIPPER_STATE_DIR to a place on disk"
        )
    return Root(path, served=False)


def is_read(path: str) -> bool:
    """Whether a sidecar holds the root (see `shipper.sources.services.root.claim`); taken to be so where we may not look."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks: the card is all there is to go by
        return True
    finally:
        os.close(descriptor)
    return False


class Place:
    """The directory of one run, made before the program begins. Holds the lock that says that its end is waited for."""

    def __init__(self, root: Root, name: str, program: str, service: str) -> None:
        """Raises `StateError` when it cannot be made."""
        now = time.time_ns()
        self.job = Job(uuid7(now), name, program, os.getpid(), now, service)
        self.path = os.path.join(root.path, directory_name(self.job.id))
        hidden = os.path.join(root.path, f".{directory_name(self.job.id)}")
        try:
            os.mkdir(hidden, _DIRECTORY_MODE)
            os.chmod(hidden, os.stat(hidden).st_mode & 0o7000 | _DIRECTORY_MODE)  # whatever the umask is
            self.directory = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            write_job(self.directory, self.job)
            self._alive = self._make(ALIVE)
            lock_alive(self._alive)
            self.outputs = {stream: self._make(stream) for stream in STREAMS}  # for the program; see `let_go`
            os.rename(hidden, self.path)
        except OSError as problem:
            raise StateError(f"{self.path} cannot be made: {problem.strerror}") from problem

    def _make(self, name: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(name, flags, _FILE_MODE, dir_fd=self.directory)
        os.fchmod(descriptor, _FILE_MODE)
        return descriptor

    def let_go(self) -> None:
        """The program has its outputs: keep them open for reading only, so that the end of its writing can be seen."""
        for stream, descriptor in self.outputs.items():
            self.outputs[stream] = os.open(stream, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.directory)
            os.close(descriptor)
