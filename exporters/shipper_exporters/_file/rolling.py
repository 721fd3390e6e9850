"""A file of lines to which whole lines are appended or nothing, and which is set aside when it is large or old.

All of it blocks, and is meant for a thread. Several writers may share a file: each append holds a lock on it. Nothing of an
append that failed is left behind, and a half line that a crash left is removed before the next, so that readers never see one
between two lines. A line that may have been written by an attempt whose end nobody saw is looked for before it is written.
"""

from __future__ import annotations

import calendar
import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from isal import isal_zlib

_MODE = 0o640
_DIRECTORY_MODE = 0o750
_LOOK_BACK = 64 << 20  # as much as can have been under way, several times over
_PIECE = 1 << 20
_SECOND = 1_000_000_000
_LEVEL = 1  # of gzip
_GZIP_FORMAT = 31  # the zlib way to ask for a gzip header


@dataclass(frozen=True, slots=True)
class Rolling:
    """When a file is set aside (0: never for that), how many such files are kept (0: all), whether they are compressed."""

    bytes: int = 0
    seconds: float = 0.0
    keep: int = 0
    gzip: bool = False


class RollingFile:
    """The file at ``path``, made with its directories when something is appended. Methods raise OSError."""

    def __init__(self, path: str, rolling: Rolling, *, sync: bool) -> None:
        self.path = path
        self._rolling = rolling
        self._sync = sync
        self._descriptor = -1
        self._span = -1
        head, name = os.path.split(path)
        self._directory = head
        self._stem, self._suffix = os.path.splitext(name)
        self._set_aside = re.compile(
            rf"{re.escape(self._stem)}-\d{{8}}T\d{{6}}\.\d{{9}}Z{re.escape(self._suffix)}(\.gz)?"
        )

    @property
    def descriptor(self) -> int:
        """Of the open file; -1 when it is closed."""
        return self._descriptor

    def append(self, lines: bytes, wall_ns: int, *, doubt: bool = False) -> None:
        """Add lines, all with their ends; with ``doubt`` only those that are not there.

        Returns when they are on the disk (with ``sync``), or in the kernel's hands. After an error none of them is there.
        """
        size = self._locked(wall_ns, len(lines))
        try:
            if doubt:
                lines = self._missing(lines)
            if lines:
                self._write(lines, size)
        finally:
            if self._descriptor >= 0:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _locked(self, wall_ns: int, more: int) -> int:
        """Open and lock the file that is at the path now, set aside if it is due; its size, all whole lines."""
        span = int(wall_ns / 1e9 // self._rolling.seconds) if self._rolling.seconds else 0
        while True:
            if self._descriptor < 0:
                self._open()
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if not self._is_current():  # somebody set it aside, or removed it
                self.close()
                continue
            size = self._whole_lines()
            full = self._rolling.bytes and size + more > self._rolling.bytes
            if size and (full or span > self._span >= 0):
                self._roll(wall_ns)
                continue
            self._span = span
            return size

    def _open(self) -> None:
        os.makedirs(self._directory, _DIRECTORY_MODE, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        self._descriptor = os.open(self.path, flags, _MODE)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise OSError(errno.ENXIO, "not a regular file", self.path)
        if status.st_size and self._rolling.seconds:
            self._span = int(status.st_mtime // self._rolling.seconds)
        elif not status.st_size:
            self._span = -1
            _sync_directory(self._directory)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path, follow_symlinks=False), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _whole_lines(self) -> int:
        """The file's size, once a half line at its end is cut off: its writer died, and was never told that it is there."""
        size = end = os.fstat(self._descriptor).st_size
        while end:
            start = max(0, end - _PIECE)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._descriptor, end)
        return end

    def _write(self, lines: bytes, size: int) -> None:
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            if self._sync:
                os.fsync(self._descriptor)
        except BaseException:
            # After a failed fsync the kernel may forget what it could not write: it is taken back, and written anew.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)
            self.close()
            raise

    def _missing(self, lines: bytes) -> bytes:
        """The lines that are neither at the end of this file nor of the newest one set aside."""
        wanted = lines.split(b"\n")[:-1]
        there: set[bytes] = set()
        for path in (Path(self.path), *self._aside()[-1:]):
            there |= _found(path, frozenset(wanted))
        return b"".join(line + b"\n" for line in wanted if line not in there)

    def _roll(self, wall_ns: int) -> None:
        newest = max((_time_of(path) for path in self._aside()), default=-1)
        stamp = max(wall_ns, newest + 1)  # the order of names is the order of files, also when the clock was set back
        second, rest = divmod(stamp, _SECOND)
        name = f"{self._stem}-{datetime.fromtimestamp(second, UTC):%Y%m%dT%H%M%S}.{rest:09d}Z{self._suffix}"
        os.rename(self.path, Path(self._directory, name))
        _sync_directory(self._directory)
        self.close()
        self._tidy()

    def _tidy(self) -> None:
        aside = self._aside()
        if self._rolling.keep:
            for path in aside[: -self._rolling.keep]:
                path.unlink(missing_ok=True)
            aside = aside[-self._rolling.keep :]
        if self._rolling.gzip:
            # The newest stays as it is: it may hold what is looked for, and who follows the file has not read it to its end.
            for path in aside[:-1]:
                if path.suffix != ".gz":
                    _compress(path)

    def _aside(self) -> list[Path]:
        """The files set aside, the oldest first."""
        names = (entry for entry in os.listdir(self._directory) if self._set_aside.fullmatch(entry))
        return [Path(self._directory, name) for name in sorted(names)]


def _time_of(path: Path) -> int:
    """The moment in the name of a file that was set aside."""
    day, rest = path.name.rpartition("-")[2].split(".")[:2]
    return calendar.timegm(time.strptime(day, "%Y%m%dT%H%M%S")) * _SECOND + int(rest[:9])


def _found(path: Path, wanted: Set[bytes]) -> set[bytes]:
    """Which of some lines are among the last of a file."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > _LOOK_BACK:
            file.seek(size - _LOOK_BACK)
            file.readline()
        return {line for line in (one.rstrip(b"\n") for one in file) if line in wanted}


def _compress(path: Path) -> None:
    """Replace a file by its compressed form; where that fails the file stays, and it is tried when the next is set aside."""
    target = path.with_name(path.name + ".gz")
    half = path.with_name(path.name + ".gz.part")
    try:
        with open(path, "rb") as source, open(half, "wb", opener=_private) as packed:
            packer = isal_zlib.compressobj(_LEVEL, wbits=_GZIP_FORMAT)
            while piece := source.read(_PIECE):
                packed.write(packer.compress(piece))
            packed.write(packer.flush())
            packed.flush()
            os.fsync(packed.fileno())
        os.rename(half, target)
        path.unlink()
    except OSError:
        half.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, _MODE)


def _sync_directory(path: str) -> None:
    """Make names that were given or changed in a directory survive a crash."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
