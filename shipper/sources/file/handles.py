"""Files that may or may not be open: descriptors are bounded, and none that still guards unread bytes is given up.

A descriptor is what makes deleting or renaming a file harmless, so only files that are idle, read and acknowledged to their
end, and still to be found under a name, are closed to make room. They are opened again when something happens to them, if
it is still the same file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import Gauge

from shipper.sources.file.identity import Key
from shipper.sources.file.nulls import written
from shipper.sources.file.unpack import MAGIC, GzipText

if TYPE_CHECKING:
    from shipper.sources.file.content import Content

T = TypeVar("T")

NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class NotAFile(OSError):
    """The path leads to something that is not a regular file; it was not opened."""


class Replaced(OSError):
    """The path leads to another file than it did."""


def regular(path: str) -> os.stat_result:
    """The status of the regular file at ``path``, links followed. Raises `NotAFile`, and OSError as the kernel says."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise NotAFile(errno.EINVAL, "not a regular file", path)
    return status


class TailedFile:
    """One inode: its names, its descriptor, and the stream that reads it (none while it is empty, or only a copy)."""

    __slots__ = (
        "changed_ns",
        "copy_of",
        "fd",
        "key",
        "lead",
        "led_by",
        "origin",
        "paths",
        "pool",
        "real",
        "rewritten",
        "since",
        "size",
        "stream",
        "text",
        "unopened",
        "watch",
    )

    def __init__(self, pool: Descriptors, key: Key, path: str) -> None:
        self.pool = pool
        self.key = key
        self.paths: dict[str, bool] = {path: True}  # name -> whether a pattern matches it
        self.origin = path  # its first name
        self.real = ""  # where it lay, links followed, when it was opened last
        self.fd = -1
        self.stream: Content | None = None
        self.text: GzipText | None = None  # what it holds, when it is compressed
        self.copy_of: Content | None = None  # the stream whose content this repeats
        self.rewritten = False  # it was truncated in place before, and may be again
        self.lead = ""  # fingerprint of its first bytes
        self.led_by = 0  # of how many: 256, once it has so many
        self.since = 0.0  # monotonic time at which it was first looked at
        self.size = -1  # as of the last look
        self.changed_ns = -1
        self.unopened = 0  # how large it was when no descriptor could be had for it
        self.watch = -1  # an inotify watch on the file itself, when its directory's does not do

    @property
    def path(self) -> str:
        """A name it can be found under, one that matches if there is one; empty when there is none."""
        return next((p for p, wanted in self.paths.items() if wanted), next(iter(self.paths), ""))

    @property
    def wanted(self) -> bool:
        """Whether a pattern matches one of its names."""
        return any(self.paths.values())

    def read(self, size: int, position: int) -> bytes:
        """Up to ``size`` bytes of its text at ``position``, opening it if need be. Raises OSError; `Replaced` if it is another."""
        return self.raw(size, position) if self.text is None else self.text.read(self.raw, size, position)

    def raw(self, size: int, position: int) -> bytes:
        """The same of the bytes on the disk, which differ where the file is compressed."""
        return self._asked(lambda fd: os.pread(fd, size, position))

    def _asked(self, ask: Callable[[int], T]) -> T:
        """What ``ask`` gives for the descriptor; for a new one where the file system has forgotten what the old one was for."""
        try:
            return ask(self.pool.open(self))
        except OSError as error:
            if error.errno != errno.ESTALE or isinstance(error, Replaced):
                raise
        self.pool.close(self)
        return ask(self.pool.open(self))

    def length(self, status: os.stat_result | None = None) -> int:
        """How many bytes of text it holds: what was written, without NULs at its end that only take up room.

        Of a compressed file 0, until it is known. ``status``: its status, where that was just asked for. Raises OSError.
        """
        size = (self.status() if status is None else status).st_size
        if self.stream is None and size >= len(MAGIC):
            packed = self.raw(len(MAGIC), 0) == MAGIC
            if packed != (self.text is not None):
                self.text = GzipText() if packed else None
        if self.text is not None:
            return self.text.size
        return written(self.raw, size, 0 if self.stream is None else self.stream.size)

    def status(self) -> os.stat_result:
        """Its status, without opening it. Raises OSError; `Replaced` when its name leads elsewhere now."""
        if self.fd >= 0:
            return self._asked(os.fstat)
        return self.place()[1]

    def place(self) -> tuple[str, os.stat_result]:
        """A path that leads to it now. Raises what is wrong with the name that it should be found under."""
        problem: OSError | None = None
        for path in filter(None, [self.path, *self.paths, self.real]):
            try:
                status = regular(path)
                if (status.st_dev, status.st_ino) == self.key:
                    return path, status
                raise Replaced(errno.ESTALE, "another file has its name", path)
            except OSError as error:
                problem = problem or error
        raise problem or FileNotFoundError(errno.ENOENT, "it has no name", self.origin)

    def closable(self) -> bool:
        """Whether nothing is lost by closing it now."""
        if not self.paths:
            return False
        if self.text is not None and self.stream is None:
            return True
        return self.stream.idle if self.stream is not None else self.size <= 0 or self.copy_of is not None


class Descriptors:
    """All open descriptors, the least recently used first."""

    def __init__(
        self, limit: int, gauge: Gauge, admits: Callable[[str, os.stat_result], bool] = lambda path, status: True
    ) -> None:
        """``admits``: whether what was opened at a path may be read."""
        self._limit = limit
        self._admits = admits
        self._gauge = gauge
        self._open: OrderedDict[TailedFile, None] = OrderedDict()
        self._idle: OrderedDict[TailedFile, None] = OrderedDict()  # of those, said to be so; looked for where none is
        self.exhausted = False  # all are held by unread files; until one is said to be idle nothing is searched
        self.refusals = 0  # how often there was none to be had

    def open(self, file: TailedFile) -> int:
        """The descriptor of ``file``. Raises OSError as the kernel says, with EMFILE also when our own bound is reached."""
        if file.fd >= 0:
            self._open.move_to_end(file)
            return file.fd
        try:
            return self._opened(file)
        except OSError as error:
            self.refusals += error.errno in NO_DESCRIPTORS
            raise

    def _opened(self, file: TailedFile) -> int:
        if len(self._open) >= self._limit:
            self._make_room()
        path, _ = file.place()  # opening a device could do something
        fd = os.open(path, _FLAGS)
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != file.key or not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise Replaced(errno.ESTALE, "another file has its name", path)
        if not self._admits(path if path in file.paths else file.origin, status):
            os.close(fd)
            raise PermissionError(errno.EPERM, "it does not belong to whom its directory belongs to", path)
        self.hold(file, fd)
        return fd

    def hold(self, file: TailedFile, fd: int) -> None:
        """``fd`` is open already, and that of ``file``."""
        file.fd = fd
        with suppress(OSError):  # then it is found by its names alone
            file.real = os.readlink(f"/proc/self/fd/{fd}")
        file.unopened = 0
        self._open[file] = None
        self._gauge.set(len(self._open))

    def _make_room(self) -> None:
        while self._idle:
            told, _ = self._idle.popitem(last=False)
            if told.closable():
                self.close(told)
                return
        idle = None if self.exhausted else next((file for file in self._open if file.closable()), None)
        if idle is None:
            self.exhausted = True
            raise OSError(errno.EMFILE, f"all {self._limit} descriptors hold unread files (max_open_files)")
        self.close(idle)

    def idle(self, file: TailedFile) -> None:
        """A file may be closable now: it is the next to be closed but for those of which that was said before."""
        self.exhausted = False
        if file in self._open:
            self._idle[file] = None
            self._idle.move_to_end(file)

    def close(self, file: TailedFile) -> None:
        """Give the descriptor of ``file`` back, if it has one."""
        if file.fd >= 0:
            self.exhausted = False
            os.close(file.fd)
            file.fd = -1
            if file.text is not None:
                file.text.rest()
            del self._open[file]
            self._idle.pop(file, None)
            self._gauge.set(len(self._open))

    def close_all(self) -> None:
        """Give all back."""
        for file in list(self._open):
            self.close(file)
