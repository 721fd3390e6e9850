"""The files of one series in one process directory: opened, followed by the next, sealed, and dropped when there are too many.

Threads append without a lock, so at the moment of a rotation frames may still be on their way into the old file. What they
may take is set aside: the next segment's base lies ``MARGIN`` and more behind the old end, and positions never overlap.
Frames larger than ``LARGE`` are the exception, as they could overrun it: they are written by who has the series' turn.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from time import sleep, time_ns

from shipper.handoff.frame import Kind, pack
from shipper.handoff.places import segment_name
from shipper.sdk.home import Home
from shipper.sdk.room import same_file

MARGIN = 256 << 10
LARGE = 16 << 10
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_RETIRED = 4
_PATIENCE = (0.0, 0.0001, 0.0002, 0.0004, 0.0008)  # seconds for writers that are on their way


@dataclass(slots=True)
class _Retired:
    """A segment that is followed by another, and not sealed yet."""

    descriptor: int
    inode: int
    next_base: int
    pending: set[int]  # numbers of frames that were on their way into it


@dataclass(slots=True)
class Final:
    """A segment that nothing is appended to any more."""

    name: str
    records: int


Preamble = Callable[[int, int, "Callable[[], int]"], tuple[bytes, int]]
"""``(base, head number, next number)`` -> all frames a segment begins with, and how many they are."""


class Segments:
    """What a thread needs to append (public, read without a lock), and how the file is changed (by who has the turn)."""

    def __init__(self, home: Home, signal: str, preamble: Preamble) -> None:
        self.home = home
        self.pid = home.pid
        self.numbers = count()
        self.spare: list[int] = []  # numbers of frames that could not be written: they are used again
        self.inflight: set[int] = set()
        self.device = 0
        self.inodes: tuple[int, ...] = ()  # of the files that the descriptor may be right now
        self.fd = -1
        self.attention = 0  # size at which there is something to look at
        self.turns = 0  # changes of the file begun and ended: odd while one is under way
        self.extra = 0  # records beyond one for a frame
        self.others = 0  # frames that are no records
        self.finals: list[Final] = []
        self._signal = signal
        self._preamble = preamble
        self._retired: list[_Retired] = []
        self._base = 0
        self._name = ""
        self._first = 0
        with home.opened() as directory:
            self.fd, inode = self._create(directory, 0)
        self.inodes = (inode,)
        self.plan(os.fstat(self.fd).st_size)

    def _create(self, directory: int, base: int) -> tuple[int, int]:
        """A new segment with all that stands at its beginning, under its name; its descriptor and inode."""
        name = segment_name(self._signal, base)
        hidden = f".{name}"
        descriptor = os.open(hidden, _FLAGS, 0o600, dir_fd=directory)
        try:
            os.fchmod(descriptor, 0o644)
            first = self.number()
            content, frames = self._preamble(base, first, self.number)
            if os.write(descriptor, content) != len(content):
                raise OSError(28, "No space left on device")
            os.rename(hidden, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.close(descriptor)
            os.unlink(hidden, dir_fd=directory)
            raise
        found = os.fstat(descriptor)
        self.device = found.st_dev
        if self._name:
            self.finals.append(Final(self._name, max(0, first - self._first - self.others + self.extra)))
        self._name, self._base, self._first, self.others, self.extra = name, base, first, frames, 0
        return descriptor, found.st_ino

    def number(self) -> int:
        """The next number, or one that was drawn in vain."""
        try:
            return self.spare.pop()
        except IndexError:
            return next(self.numbers)

    def ours(self) -> bool:
        """Whether the descriptor still is our segment."""
        return any(same_file(self.fd, self.device, inode) for inode in self.inodes)

    def rotate(self) -> None:
        """Go on in a new segment, on the same descriptor. By who has the turn. Raises OSError, and then nothing changed."""
        old = os.fstat(self.fd)
        base = self._base + old.st_size + MARGIN + len(self.inflight) * LARGE
        self.turns += 1
        try:
            with self.home.opened() as directory:
                fresh, inode = self._create(directory, base)
            try:
                kept = fcntl.fcntl(self.fd, fcntl.F_DUPFD_CLOEXEC, 3)
                if not same_file(kept, self.device, old.st_ino):
                    os.close(kept)
                    raise OSError(9, "the descriptor was taken away")
                self.inodes = (old.st_ino, inode)
                os.dup2(fresh, self.fd, inheritable=False)
            finally:
                os.close(fresh)
        finally:
            self.turns += 1
        self._retire(_Retired(kept, old.st_ino, base, set(self.inflight)), inode)
        self.plan(os.fstat(self.fd).st_size)

    def replace(self) -> None:
        """Go on in a new segment on a new descriptor: the old number is another's now. By who has the turn."""
        self.turns += 1
        try:
            with self.home.opened() as directory:
                kept = os.open(self._name, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                old = os.fstat(kept)
                base = self._base + old.st_size + MARGIN + len(self.inflight) * LARGE
                fd, inode = self._create(directory, base)
        finally:
            self.turns += 1
        self.fd, self.inodes = fd, (old.st_ino, inode)
        self._retire(_Retired(kept, old.st_ino, base, set(self.inflight)), inode)
        self.plan(os.fstat(self.fd).st_size)

    def _retire(self, retired: _Retired, current: int) -> None:
        self._retired.append(retired)
        for seconds in _PATIENCE:
            sleep(seconds)
            if self.seal():
                self.inodes = (current,)
                return

    def seal(self) -> bool:
        """Seal the old segments that nobody writes to any more; whether all are. By who has the turn."""
        for retired in tuple(self._retired):
            retired.pending &= self.inflight
            if retired.pending and len(self._retired) <= _MAX_RETIRED:
                continue
            self._retired.remove(retired)
            if same_file(retired.descriptor, self.device, retired.inode):
                if not retired.pending:
                    os.write(
                        retired.descriptor,
                        pack(Kind.SEAL, self.number(), b"", time_ns=time_ns(), trace=retired.next_base),
                    )
                    self.others += 1
                os.close(retired.descriptor)
        return not self._retired

    def plan(self, size: int) -> None:
        """When to look again."""
        step = 64 << 10 if self._retired else min(1 << 20, self.home.room.segment_bytes)
        self.attention = size + step

    def final_sizes(self, directory: int) -> list[int]:
        """Sizes of the final segments that are still there, oldest first; the others are forgotten."""
        sizes = []
        for final in tuple(self.finals):
            try:
                sizes.append(os.stat(final.name, dir_fd=directory, follow_symlinks=False).st_size)
            except FileNotFoundError:  # the sidecar is done with it
                self.finals.remove(final)
        return sizes

    def drop_oldest(self, directory: int) -> int:
        """Remove the oldest final segment; how many records it held, 0 when the sidecar was faster."""
        final = self.finals.pop(0)
        try:
            os.unlink(final.name, dir_fd=directory)
        except FileNotFoundError:
            return 0
        return final.records

    def let_go(self) -> None:
        """Close what is still ours."""
        if self.ours():
            os.close(self.fd)
        for retired in self._retired:
            if same_file(retired.descriptor, self.device, retired.inode):
                os.close(retired.descriptor)
        self.fd, self.inodes, self._retired = -1, (), []
