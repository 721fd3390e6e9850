"""The spool: an append-only log of frames on disk, which makes what came by network a stream that can be read again.

Everything accepted lies here before anyone is told so. FORMAT.md, beside this file, describes the bytes and what a
crash can do to them. All methods may be called from any thread; none of them waits for the disk except `durable`,
`open` and `close`.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from pathlib import Path

from shipper.errors import SpoolFull, StateUnwritable
from shipper.events import BytesLost, Problem, Reporter
from shipper.intervals import IntervalSet
from shipper.spool import files, frame
from shipper.spool.frame import Frame
from shipper.spool.policy import Fsync, Limits, Policy
from shipper.spool.reading import read_frames, walk_to
from shipper.spool.segment import MARK_EVERY, Segment
from shipper.spool.store import SegmentStore
from shipper.spool.sync import Syncer, Unsynced

_BORDERS_KNOWN = 64


class Spool:
    """One directory of segments. Make it with `Spool.open`."""

    def __init__(
        self, store: SegmentStore, name: str, fsync: Fsync, interval: float, limits: Limits, report: Reporter
    ) -> None:
        """Not for callers: `open` does the work."""
        self.name = name
        self._store = store
        self._fsync = fsync
        self._limits = limits
        self._report = report
        self._appending = threading.Lock()  # one writer at a time; taken before the other, never waited for by readers
        self._mutex = threading.Lock()
        self._borders: OrderedDict[int, None] = OrderedDict()  # positions lately found to be frame starts
        self._damaged = IntervalSet()  # met while reading, and said
        self._released = 0
        self._closed = False
        self._bytes = report.metrics.spool_bytes.labels(name)
        self._syncer = Syncer(self._collect, interval if fsync is Fsync.INTERVAL else None, store.end, name, report)
        self._gauge()

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        name: str,
        fsync: Fsync,
        fsync_interval: float = 0.2,
        segment_bytes: int = 16 << 20,
        max_bytes: int = 1 << 30,
        keep_free_bytes: int = 0,
        policy: Policy = "refuse",
        report: Reporter,
    ) -> Spool:
        """Open or make the spool in ``directory``, after repairing what a crash or the disk did to it.

        ``segment_bytes``: a segment is closed when the next frame would make it larger (at most ``max_bytes``).
        ``max_bytes``: the spool never holds more than this. ``keep_free_bytes``: it never leaves the file system with
        less than this. ``policy``: at a limit, refuse new frames or delete the oldest segment (each is reported by
        range). ``fsync_interval``: seconds, for `Fsync.INTERVAL`.

        Raises `StateLocked` when another process has it, `StateUnwritable` when the directory cannot be used.
        """
        fsync = Fsync(fsync)
        store = SegmentStore(Path(directory), name, report, synced=fsync is not Fsync.NEVER)
        if fsync is Fsync.ALWAYS:
            try:
                store.sync_all()
            except OSError as error:
                store.close()
                raise StateUnwritable(f"cannot make the spool {directory} durable: {error.strerror}") from error
        return cls(
            store,
            name,
            fsync,
            fsync_interval,
            Limits(min(segment_bytes, max_bytes), max_bytes, keep_free_bytes, policy),
            report,
        )

    def append(self, header: bytes, payload: bytes) -> tuple[int, int]:
        """Write one frame; its positions ``(start, end)``. Whether it is durable by now is `durable`'s matter.

        Raises `SpoolFull` when a limit is reached or the disk is full; nothing was accepted then. Raises ValueError
        for parts of 4 GiB and more.
        """
        length = frame.FIXED + len(header) + len(payload)
        with self._appending:
            with self._mutex:
                self._make_room(length)
                if self._store.active.size and self._store.active.size + length > self._limits.segment_bytes:
                    self._store.rotate()
            span = self._store.write(header, payload)
            with self._mutex:
                self._store.grew(*span)
                self._gauge()
        if self._fsync is Fsync.INTERVAL:
            self._syncer.want(span[1])
        return span

    async def durable(self, position: int) -> None:
        """Return when everything below ``position`` is as durable as the policy says (`Fsync`).

        Raises `StateError` when the disk refused: the frame may be there or not, and must not be acknowledged.
        """
        if self._fsync is Fsync.ALWAYS:
            await self._syncer.reached(position)

    def frames(self, at: int, limit: int) -> list[Frame]:
        """Whole frames in order, from the one that holds ``at``, else the next one, up to ``limit`` bytes of them.

        At least one frame comes if there is one below `frontier`. Damaged frames are left out (and reported): then, as
        where a segment is gone, the first frame starts behind ``at``, or two frames do not meet. Raises OSError when
        the process has no descriptor left to read with.
        """
        with self._mutex:
            frontier = self.frontier()
            found: list[Frame] = []
            room = limit
            for segment in self._store.segments[self._store.holding(at) :]:
                start, end = max(at, segment.base), min(segment.end, frontier)
                if start >= end:
                    continue
                frames = self._read(segment, start, end, room, must=not found)
                found += frames
                room -= sum(f.end - f.start for f in frames)
                if room <= 0 or (found and (not frames or frames[-1].end < end)):
                    break
            if found:
                self._remember(found[-1].end)
            return found

    def first(self) -> int:
        """The first position that is still there; where the next frame will begin when there is none."""
        with self._mutex:
            return self._store.segments[0].base

    def frontier(self) -> int:
        """The position up to which frames may be read: with `Fsync.ALWAYS` only what is durable, else all."""
        return self._syncer.synced if self._fsync is Fsync.ALWAYS else self._store.end

    def size(self) -> int:
        """Bytes on disk, without quarantine."""
        return self._store.size

    def release(self, below: int) -> None:
        """Positions below ``below`` are not needed any more; whole segments of them are deleted."""
        with self._mutex:
            self._released = max(self._released, min(below, self._store.end))
            half_full = self._store.active.size > self._limits.segment_bytes // 2
            if half_full and self._all_released() and self._appending.acquire(blocking=False):
                try:
                    self._rotate_if_possible()
                finally:
                    self._appending.release()
            self._delete_released()
            self._gauge()

    def skip_to(self, position: int) -> None:
        """Never give a position below ``position`` away: a ledger knows that they were used, whatever the disk lost.

        To be called after opening by whoever has such a ledger: a power cut (with a policy other than `Fsync.ALWAYS`) or
        a deleted directory can set a spool back. Raises `SpoolFull` when the new segment cannot be made.
        """
        with self._appending, self._mutex:
            end = self._store.end
            if position <= end:
                return
            self._store.rotate(position)
            message = (
                f"spool {self.name}: positions [{end}, {position}) were used but are not there; a crash of the machine took"
                " them, or somebody deleted them"
            )
            self._report(Problem("spool_behind", message, self.name))
            if self._fsync is not Fsync.NEVER:
                self._syncer.want(position)

    def close(self) -> None:
        """Make everything durable (unless the policy is `Fsync.NEVER`) and let go of the directory."""
        with self._appending, self._mutex:
            if self._closed:
                return
            self._closed = True
            if self._fsync is not Fsync.NEVER:
                self._syncer.want(self._store.end)
        self._syncer.close()
        self._store.close()

    def _read(self, segment: Segment, at: int, end: int, limit: int, *, must: bool) -> list[Frame]:
        """Frames of one segment that reach beyond ``at``."""
        try:
            descriptor = files.open_segment(self._store.dir_fd, segment.base)
        except FileNotFoundError:
            self._say_damaged([(segment.base, segment.end)])
            return []
        try:
            start = at
            if at not in self._borders and at != segment.base:
                start = walk_to(descriptor, segment.base, segment.mark_before(at), at, end)
            while True:
                first = segment.reach(start, limit) if must and limit >= MARK_EVERY else limit
                frames, damaged = read_frames(descriptor, segment.base, start, end, limit, first, must=must)
                self._say_damaged(damaged)
                wanted = [f for f in frames if f.end > at]
                if wanted or not frames:
                    return wanted
                start = frames[-1].end  # damage before ``at`` made the walk stop early
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._say_damaged([(at, segment.end)])
            return []
        finally:
            os.close(descriptor)

    def _say_damaged(self, ranges: list[tuple[int, int]]) -> None:
        for start, end in ranges:
            if self._damaged.covers(start, end):
                continue
            self._damaged.add(start, end)
            message = (
                f"spool {self.name}: positions [{start}, {end}) are damaged or gone and were skipped;"
                " what is there is set aside at the next start"
            )
            self._report(Problem("spool_damaged", message, f"{self.name} {start}"))

    def _remember(self, position: int) -> None:
        self._borders[position] = None
        if len(self._borders) > _BORDERS_KNOWN:
            self._borders.popitem(last=False)

    def _make_room(self, length: int) -> None:
        """Raise `SpoolFull` unless ``length`` more bytes fit, after deleting what may be deleted."""
        if length > self._limits.max_bytes:
            raise self._store.full(
                f"a frame of {length} bytes is larger than its limit of {self._limits.max_bytes} bytes"
            )
        while problem := self._lack(length):
            if self._all_released() and self._store.active.size:
                self._store.rotate()
                self._delete_released()
            elif self._limits.policy == "drop_oldest" and self._store.size and self._dropping_helps(length):
                self._drop_oldest()
            else:
                raise self._store.full(problem)

    def _lack(self, length: int) -> str:
        if self._store.size + length > self._limits.max_bytes:
            return f"its limit of {self._limits.max_bytes} bytes is reached"
        reserve = self._limits.keep_free_bytes
        if reserve and self._store.free_bytes() - length < reserve:
            return f"less than {reserve} bytes would be left on the disk"
        return ""

    def _dropping_helps(self, length: int) -> bool:
        """False when others have filled the disk so far that giving up all our frames would still not make room."""
        reserve = self._limits.keep_free_bytes
        return not reserve or self._store.free_bytes() + self._store.size - length >= reserve

    def _drop_oldest(self) -> None:
        if len(self._store.segments) == 1:
            self._store.rotate()
        oldest = self._store.delete(0)
        start = max(oldest.base, self._released)
        if start < oldest.end:
            self._report(BytesLost(self.name, self.name, start, oldest.end, "dropped to make room"))

    def _all_released(self) -> bool:
        return self._released >= self._store.end

    def _rotate_if_possible(self) -> None:
        try:
            self._store.rotate()
        except SpoolFull as error:
            self._report(Problem("spool_full", str(error), self.name))

    def _delete_released(self) -> None:
        segments = self._store.segments
        while len(segments) > 1 and segments[0].end <= self._released:
            self._store.delete(0)

    def _collect(self) -> Unsynced:
        with self._mutex:
            return self._store.collect()

    def _gauge(self) -> None:
        self._bytes.set(self._store.size)
