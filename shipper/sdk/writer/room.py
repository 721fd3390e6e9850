"""How much a process may put aside, and whether there is room now.

A hand-off that fills the disk would kill the service it serves; on tmpfs its pages are charged to the service's memory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from shipper.handoff.card import read_card
from shipper.handoff.places import open_root, parse_process

HOST_FULL = "host_full"  # the sidecar says so, or all processes together are at their limit
DISK_FULL = "disk_full"
IO_ERROR = "io_error"
NO_SPOOL = "no_spool"
WHY = {
    HOST_FULL: "the limit of this host is reached",
    DISK_FULL: "the disk is full, or nearly",
    IO_ERROR: "the hand-off failed",
    NO_SPOOL: "the spool directory cannot be reached",
}
"""Causes of dropped records, for people."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the hand-off, in bytes and seconds."""

    process_bytes: int = 64 << 20  # all series of a process; the sidecar's card may say otherwise
    tmpfs_bytes: int = 16 << 20  # instead, where the spool is memory
    host_bytes: int = 512 << 20  # all processes, where no sidecar says anything and the root can be listed
    segment_bytes: int = 8 << 20  # a segment of this size is followed by the next; less where a process may have less
    reserve: float = 0.05  # share of the file system that is left alone
    look_bytes: int = 1 << 20  # room is looked at this often
    retry_seconds: float = 5.0  # and this often while there is none
    missing_seconds: float = 0.1  # a root that is not there is looked for this often, which costs a stat
    held_records: int = 2_000  # kept in memory as long as there is no root
    held_bytes: int = 1 << 20  # and no more than this of them


class Room:
    """What one process may put below a root. Raises OSError when the root cannot be opened."""

    def __init__(self, root: str, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        above = open_root(root)
        try:
            self.memory = in_memory(os.fstat(above).st_dev)
            self._ours = min(limits.process_bytes, limits.tmpfs_bytes) if self.memory else limits.process_bytes
            self.process_bytes = self._ours
            self.at_first = self.look(above)  # before anything is made
        finally:
            os.close(above)

    @property
    def segment_bytes(self) -> int:
        """The size at which a segment is followed by the next: small enough that dropping one is not dropping all."""
        return max(min(self._limits.segment_bytes, self.process_bytes // 8), 1)

    def look(self, directory: int) -> str:
        """Why nothing may be written now; empty when something may. Raises OSError."""
        card = read_card(self._root)
        self.process_bytes = (card and card.process_bytes) or self._ours
        if card and card.full:
            return HOST_FULL
        found = os.fstatvfs(directory)
        if found.f_blocks and found.f_bavail < found.f_blocks * self._limits.reserve:
            return DISK_FULL
        if card is None and _bytes_in(self._root) > self._limits.host_bytes:
            return HOST_FULL
        return ""


def _bytes_in(root: str) -> int:
    """What all processes have put aside, as far as this one may look."""
    total = 0
    try:
        with os.scandir(root) as processes:
            for process in processes:
                if parse_process(process.name) is not None and process.is_dir(follow_symlinks=False):
                    total += _bytes_of(process.path)
    except OSError:
        return 0  # other users' services cannot list the root: then only the own limit holds
    return total


def _bytes_of(directory: str) -> int:
    try:
        with os.scandir(directory) as files:
            return sum(file.stat(follow_symlinks=False).st_size for file in files)
    except OSError:
        return 0  # gone meanwhile, or another user's


def in_memory(device: int) -> bool:
    """Whether the file system of this ``st_dev`` is memory (tmpfs, ramfs)."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return False
    for line in lines:
        fields = line.split()
        if len(fields) > 4 and fields[2] == number and "-" in fields:
            return fields[fields.index("-") + 1] in ("tmpfs", "ramfs")
    return False
