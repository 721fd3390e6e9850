"""A spool's directory: names, safe opening, the lock. Nothing here follows a symbolic link or is readable to others."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from shipper.errors import StateLocked, StateUnwritable

SEGMENT = re.compile(r"(\d{20})\.spool")
LOCK = "lock"
QUARANTINE = "quarantine"
TEMPORARY = ".tmp"
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC


def segment_name(base: int) -> str:
    """The file name of the segment whose first byte has the position ``base``."""
    return f"{base:020d}.spool"


def open_directory(directory: Path) -> int:
    """Make the directory (0700) if needed and open it. Raises `StateUnwritable` when it cannot be used."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _SAFE)
    except OSError as error:
        raise StateUnwritable(f"cannot use the spool directory {directory}: {error.strerror}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        os.close(descriptor)
        raise StateUnwritable(f"cannot write in the spool directory {directory}; mount a writable directory there")
    return descriptor


def take_lock(dir_fd: int, directory: Path) -> int:
    """Lock the directory for this process. Raises `StateLocked` naming the process that has it, if it said."""
    try:
        descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | _SAFE, 0o600, dir_fd=dir_fd)
    except OSError as error:
        raise StateUnwritable(f"cannot lock the spool directory {directory}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise StateLocked(f"another process (pid {owner}) uses the spool directory {directory}") from None
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:  # a full disk: the lock itself is held all the same, only the name of its owner is missing
        os.ftruncate(descriptor, 0)
    return descriptor


def list_segments(dir_fd: int) -> list[int]:
    """The base positions of all segments there, in order; left-over temporary files are removed."""
    bases: list[int] = []
    for name in os.listdir(dir_fd):
        match = SEGMENT.fullmatch(name)
        if match:
            bases.append(int(match.group(1)))
        elif name.endswith(TEMPORARY):
            os.unlink(name, dir_fd=dir_fd)
    return sorted(bases)


def create_segment(dir_fd: int, base: int) -> int:
    """Make an empty segment and open it for writing; the directory entry is not yet durable. Raises OSError."""
    return os.open(segment_name(base), os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE, 0o600, dir_fd=dir_fd)


def open_segment(dir_fd: int, base: int, *, write: bool = False) -> int:
    """Open an existing segment. Raises OSError."""
    return os.open(segment_name(base), (os.O_RDWR if write else os.O_RDONLY) | _SAFE, dir_fd=dir_fd)


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """Exactly ``length`` bytes at ``offset``, fewer only where the file ends."""
    data = os.pread(descriptor, length, offset)
    if len(data) == length:
        return data
    pieces = [data]
    got = len(data)
    while data and got < length:
        data = os.pread(descriptor, length - got, offset + got)
        pieces.append(data)
        got += len(data)
    return b"".join(pieces)


def write_all(descriptor: int, pieces: tuple[bytes, ...], offset: int) -> None:
    """Write the pieces at ``offset`` with one system call, and go on where the kernel wrote less. Raises OSError."""
    wanted = sum(map(len, pieces))
    written = os.pwritev(descriptor, pieces, offset)
    if written == wanted:
        return
    data = memoryview(b"".join(pieces))
    while written < wanted:
        written += os.pwrite(descriptor, data[written:], offset + written)


def write_new(dir_fd: int, name: str, data: bytes) -> None:
    """Make a file whole or not at all: temporary name, fsync, rename, fsync of the directory. Raises OSError."""
    temporary = name + TEMPORARY
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _SAFE, 0o600, dir_fd=dir_fd)
    try:
        write_all(descriptor, (data,), 0)
        os.fsync(descriptor)
        os.rename(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except OSError:
        os.unlink(temporary, dir_fd=dir_fd)
        raise
    finally:
        os.close(descriptor)
    os.fsync(dir_fd)
