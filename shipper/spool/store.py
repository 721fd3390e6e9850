"""The segment files of one spool: which there are, appending to the last, closing it, deleting the first.

No policy here and no lock: `shipper.spool.spool` decides when, and calls these methods one at a time; only `write` may
run beside others, except `rotate`.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from pathlib import Path

from shipper.errors import SpoolFull, StateUnwritable
from shipper.events import Problem, Reporter
from shipper.spool import files, frame
from shipper.spool.recovery import recover
from shipper.spool.segment import Segment
from shipper.spool.sync import Unsynced


class SegmentStore:
    """Opens a directory, locks it, repairs it, and owns its descriptors from then on.

    ``synced`` false means that nobody will ever ask for `collect`, so full segments are closed at once.
    """

    def __init__(self, directory: Path, name: str, report: Reporter, *, synced: bool) -> None:
        self._directory = directory
        self._name = name
        self._report = report
        self._synced = synced
        self._rotated: list[int] = []  # descriptors of full segments that are not yet synced
        self._new_entry = True  # a directory entry may not be on disk yet
        self._active_fd = -1
        self._undo_to: int | None = None  # a half-written frame starts here and could not be cut off yet
        self.dir_fd = files.open_directory(directory)
        try:
            self._lock_fd = files.take_lock(self.dir_fd, directory)
        except BaseException:
            os.close(self.dir_fd)
            raise
        try:
            self.segments = self._load()
        except BaseException:
            os.close(self._lock_fd)
            os.close(self.dir_fd)
            raise
        self.size = sum(segment.size for segment in self.segments)

    @property
    def active(self) -> Segment:
        """The segment that is appended to."""
        return self.segments[-1]

    @property
    def end(self) -> int:
        """The position that the next frame gets."""
        return self.segments[-1].end

    def holding(self, position: int) -> int:
        """The index of the last segment that begins at or before ``position``; 0 when none does."""
        return max(0, bisect_right(self.segments, position, key=lambda segment: segment.base) - 1)

    def write(self, header: bytes, payload: bytes) -> tuple[int, int]:
        """Write a frame behind the last one; `grew` makes it part of the segment. Raises `SpoolFull`, with nothing written."""
        self._undo()
        start = self.end
        pieces = frame.encode(start, header, payload)
        length = sum(map(len, pieces))
        try:
            files.write_all(self._active_fd, pieces, self.active.size)
        except OSError as error:
            self._undo_to = self.active.size
            self._undo()
            raise self.full(f"writing {length} bytes failed: {error.strerror}") from error
        return start, start + length

    def grew(self, start: int, end: int) -> None:
        """The frame at ``[start, end)`` was written: readers may see it."""
        self.active.grow(start, end)
        self.size += end - start

    def rotate(self, base: int | None = None) -> None:
        """Begin a new segment at ``base`` (default: where the last one ends). Raises `SpoolFull`."""
        self._undo()
        base = self.end if base is None else base
        try:
            descriptor = files.create_segment(self.dir_fd, base)
        except OSError as error:
            raise self.full(f"a new segment cannot be made: {error.strerror}") from error
        if self._synced:
            self._rotated.append(self._active_fd)
        else:
            os.close(self._active_fd)
        self._active_fd = descriptor
        self._new_entry = True
        self.segments.append(Segment(base, base))
        if not self.segments[-2].size:
            self.delete(len(self.segments) - 2)

    def delete(self, index: int) -> Segment:
        """Delete a segment that is not the active one."""
        segment = self.segments.pop(index)
        self.size -= segment.size
        try:
            os.unlink(files.segment_name(segment.base), dir_fd=self.dir_fd)
        except OSError as error:  # gone already, or a disk that refuses: it is not read any more in either case
            message = f"{self._directory}/{files.segment_name(segment.base)} cannot be deleted: {error.strerror}"
            self._report(Problem("spool_delete", message, self._name))
        return segment

    def free_bytes(self) -> int:
        """What the file system has left for us."""
        disk = os.fstatvfs(self.dir_fd)
        return disk.f_bavail * disk.f_frsize

    def collect(self) -> Unsynced:
        """Everything that is not known to be on disk; the caller syncs it and closes the descriptors. Raises OSError."""
        active = os.dup(self._active_fd)
        rotated, self._rotated = self._rotated, []
        new_entry, self._new_entry = self._new_entry, False
        return Unsynced(self.end, [*rotated, active], self.dir_fd if new_entry else None)

    def sync_all(self) -> None:
        """Wait until every segment is on disk: after a kill, frames that nobody synced may be there. Raises OSError."""
        for segment in self.segments:
            descriptor = files.open_segment(self.dir_fd, segment.base)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        os.fsync(self.dir_fd)

    def close(self) -> None:
        """Let go of all descriptors, and with them of the lock."""
        for descriptor in (*self._rotated, self._active_fd, self._lock_fd, self.dir_fd):
            os.close(descriptor)

    def full(self, problem: str) -> SpoolFull:
        """The error for a limit reached."""
        return SpoolFull(f"spool {self._name} ({self._directory}) takes nothing more: {problem}")

    def _load(self) -> list[Segment]:
        segments = recover(self.dir_fd, str(self._directory), self._name, self._report)
        try:
            if segments:
                self._active_fd = files.open_segment(self.dir_fd, segments[-1].base, write=True)
                return segments
            self._active_fd = files.create_segment(self.dir_fd, 0)
        except OSError as error:
            raise StateUnwritable(f"cannot write in the spool {self._directory}: {error.strerror}") from error
        return [Segment(0, 0)]

    def _undo(self) -> None:
        """Cut off a half-written frame, so that it is never taken for damage."""
        if self._undo_to is None:
            return
        try:
            os.ftruncate(self._active_fd, self._undo_to)
        except OSError as error:
            raise self.full(f"a half-written frame cannot be cut off: {error.strerror}") from error
        self._undo_to = None
