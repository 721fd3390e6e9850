"""The files of one series in one process directory: opened, followed by the next, sealed, and dropped when there are too many.

Threads append without a lock, so at the moment of a rotation frames may still be on their way into the old file. What they
may take is set aside: the next segment's base lies ``MARGIN`` and more behind the old end, so positions never overlap.
Frames larger than ``LARGE`` could overrun it: they are written by who has the series' turn.
"""

from __future__ import annotations

import errno
import fcntl
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from time import sleep, time_ns

from shipper.handoff.frame import Kind, pack
from shipper.handoff.places import segment_name
from shipper.sdk.writer.descriptors import clear_of_standard, same_file
from shipper.sdk.writer.home import Home
from shipper.sdk.writer.turn import Claim

MARGIN = 1 << 20
LARGE = 8 << 10
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_RETIRED = 4
_PATIENCE = (0.0, 0.0001, 0.0002, 0.0004, 0.0008)  # seconds for writers that are on their way

Preamble = Callable[[int, Callable[[], int]], bytes]
"""``(base, next number)`` -> the frames a segment begins with."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """The file that is written to."""

    name: str
    base: int
    inode: int
    numbers: tuple[int, ...]  # of the frames it began with


@dataclass(slots=True)
class _Retired:
    """A segment that is followed by another, and not sealed yet."""

    descriptor: int
    inode: int
    next_base: int
    pending: set[int]  # numbers of frames that were on their way into it


@dataclass(frozen=True, slots=True)
class Final:
    """A segment that nothing is appended to any more."""

    name: str
    records: int


class Segments:
    """What threads need to append (public, read without a lock), and how the file is changed (by who has the turn)."""

    def __init__(self, home: Home, signal: str, preamble: Preamble) -> None:
        self.home = home
        self.pid = home.pid
        self.numbers = count()
        self.spare: list[int] = []  # numbers of frames that could not be written: they are used again
        self.inflight: set[int] = set()
        self.turner: weakref.ref[Claim] | None = None  # set by who is about to call `rotate` or `replace`
        self.turns = 0  # how often it was
        self.others = 0  # frames that are no records, behind those a segment begins with
        self.extra = 0  # records beyond one for a frame
        self.finals: list[Final] = []
        self._signal = signal
        self._preamble = preamble
        self._retired: list[_Retired] = []
        with home.opened() as directory:
            self.fd, self._current = self._create(directory, 0)
        self.device = os.fstat(self.fd).st_dev
        self.inodes: tuple[int, ...] = (self._current.inode,)  # of the files that the descriptor may be right now
        self.attention = 0  # size at which there is something to look at
        self.plan()

    def number(self) -> int:
        """The next number, or one that was drawn in vain."""
        try:
            return self.spare.pop()
        except IndexError:
            return next(self.numbers)

    @property
    def turning(self) -> bool:
        """Whether the file is being changed: what is written now may be in the old one."""
        turner = self.turner
        return turner is not None and turner() is not None

    def ours(self) -> bool:
        """Whether the descriptor still is our segment, and not closed, something else's, or of a file that was deleted."""
        try:
            found = os.fstat(self.fd)
        except OSError:
            return False
        return found.st_ino in self.inodes and found.st_dev == self.device and found.st_nlink > 0

    def size(self) -> int:
        """Of the current file. Raises OSError."""
        return os.fstat(self.fd).st_size

    def plan(self) -> None:
        """Set when to look again. Raises OSError."""
        step = min(1 << 20, self.home.room.segment_bytes)
        self.attention = self.size() + (step // 16 if self._retired else step)

    def rotate(self) -> None:
        """Go on in a new segment on the same descriptor number. Raises OSError, and then the old one goes on.

        The same number, because a number that is closed may be a customer's socket when another thread writes to it.
        """
        try:
            old = self._current
            with self.home.opened() as directory:
                fresh, segment = self._create(directory, self._next_base(self.size()))
                try:
                    if self.size() + MARGIN // 2 > segment.base - old.base:
                        raise OSError(errno.EBUSY, "much was written meanwhile")
                    kept = self._keep(old)
                except BaseException:
                    self.spare += segment.numbers
                    os.close(fresh)
                    os.unlink(segment.name, dir_fd=directory)
                    raise
            self.inodes = (old.inode, segment.inode)
            os.dup2(fresh, self.fd, inheritable=False)
            os.close(fresh)
            self._succeed(segment)
            retired = _Retired(kept, old.inode, segment.base, set(self.inflight))
        finally:
            self.turns += 1
            self.turner = None
        self._retire(retired)
        self.plan()

    def replace(self) -> None:
        """Go on in a new segment on a new number: the old one is not ours any more. Raises OSError."""
        try:
            old = self._current
            with self.home.opened() as directory:
                kept = os.open(old.name, _OLD, dir_fd=directory)
                try:
                    fd, segment = self._create(directory, self._next_base(os.fstat(kept).st_size))
                except BaseException:
                    os.close(kept)
                    raise
            self.fd, self.inodes = fd, (old.inode, segment.inode)
            self._succeed(segment)
            retired = _Retired(kept, old.inode, segment.base, set(self.inflight))
        finally:
            self.turns += 1
            self.turner = None
        self._retire(retired)
        self.plan()

    def _next_base(self, size: int) -> int:
        return self._current.base + size + MARGIN + len(self.inflight) * LARGE

    def _create(self, directory: int, base: int) -> tuple[int, _Segment]:
        """A new segment with all that stands at its beginning, appearing under its name as a whole."""
        name = segment_name(self._signal, base)
        hidden = f".{name}"
        drawn: list[int] = []

        def number() -> int:
            drawn.append(self.number())
            return drawn[-1]

        with clear_of_standard():
            descriptor = os.open(hidden, _NEW, 0o600, dir_fd=directory)
        try:
            os.fchmod(descriptor, 0o644)  # whatever the umask is
            content = self._preamble(base, number)
            if os.write(descriptor, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.rename(hidden, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            self.spare += drawn
            os.close(descriptor)
            os.unlink(hidden, dir_fd=directory)
            raise
        return descriptor, _Segment(name, base, os.fstat(descriptor).st_ino, tuple(drawn))

    def _keep(self, old: _Segment) -> int:
        """A second descriptor of the old segment, to seal it by."""
        kept = fcntl.fcntl(self.fd, fcntl.F_DUPFD_CLOEXEC, 3)
        if not same_file(kept, self.device, old.inode):
            os.close(kept)
            raise OSError(errno.EBADF, "the descriptor was taken away")
        return kept

    def _succeed(self, segment: _Segment) -> None:
        old = self._current
        records = segment.numbers[0] - old.numbers[0] - len(old.numbers) - self.others + self.extra
        self.finals.append(Final(old.name, max(0, records)))
        self.others = self.extra = 0
        self._current = segment

    def _retire(self, retired: _Retired) -> None:
        self._retired.append(retired)
        for seconds in _PATIENCE:
            if self.seal():
                return
            sleep(seconds)

    def seal(self) -> bool:
        """Seal old segments that nobody is on the way to any more; whether all are."""
        for retired in tuple(self._retired):
            retired.pending &= self.inflight
            if retired.pending and len(self._retired) <= _MOST_RETIRED:
                continue
            self.inflight -= retired.pending  # left there by an exception; no write takes that many rotations
            self._retired.remove(retired)
            if same_file(retired.descriptor, self.device, retired.inode):
                self._seal(retired)
                os.close(retired.descriptor)
        if self._retired:
            return False
        self.inodes = (self._current.inode,)  # the old inode may become another file's now
        return True

    def _seal(self, retired: _Retired) -> None:
        number = self.number()
        frame = pack(Kind.SEAL, number, b"", time_ns=time_ns(), trace=retired.next_base)
        done = 0
        with suppress(OSError):  # a full disk: then the segment is final when the process ends
            done = os.write(retired.descriptor, frame)
        if done == len(frame):
            self.others += 1
        else:
            self.spare.append(number)

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
        """Remove the oldest final segment; how many records it held, 0 when the sidecar was faster. Raises OSError."""
        final = self.finals.pop(0)
        try:
            os.unlink(final.name, dir_fd=directory)
        except FileNotFoundError:
            return 0
        return final.records

    def let_go(self, alone: bool = False) -> None:
        """Close what is still ours. ``alone``: no other thread is there (a forked child).

        Where a thread is about to write, the file is left open: its number must not become another's before that.
        """
        for seconds in () if alone else _PATIENCE:
            if not self.inflight:
                break
            sleep(seconds)
        if self.inflight and not alone:
            return
        if any(same_file(self.fd, self.device, inode) for inode in self.inodes):
            os.close(self.fd)
        for retired in self._retired:
            if same_file(retired.descriptor, self.device, retired.inode):
                os.close(retired.descriptor)
        self.inodes, self._retired = (), []
