"""What a spool does when it is opened: read every frame, cut off a torn tail, set damaged bytes aside.

The steps are ordered so that a crash between any two of them is repaired by doing them again (FORMAT.md, "Recovery").
"""

from __future__ import annotations

import os

from shipper.errors import DamagedSegment, StateUnwritable
from shipper.events import BytesLost, Problem, Reporter
from shipper.spool import files, frame
from shipper.spool.segment import Segment

_BLOCK = 4096


def recover(dir_fd: int, directory: str, name: str, report: Reporter) -> list[Segment]:
    """Make every segment of a directory good and return them in order; what was lost is reported by range.

    Raises `StateUnwritable` when damage has to be set aside and there is no room for it: nothing was changed then.
    """
    try:
        bases = files.list_segments(dir_fd)
        segments: list[Segment] = []
        for index, base in enumerate(bases):
            following = bases[index + 1] if index + 1 < len(bases) else None
            segments += _Recovery(dir_fd, directory, name, report).segment(base, following)
    except OSError as error:
        raise StateUnwritable(
            f"cannot recover the spool {directory}: {error.strerror}; give it room and start again"
        ) from error
    return segments


class _Recovery:
    def __init__(self, dir_fd: int, directory: str, name: str, report: Reporter) -> None:
        self._dir_fd = dir_fd
        self._directory = directory
        self._name = name
        self._report = report

    def segment(self, base: int, following: int | None) -> list[Segment]:
        """Recover one segment. ``following`` is the base of the next one; only the last segment can have a torn tail."""
        descriptor = files.open_segment(self._dir_fd, base, write=True)
        try:
            data = _read_all(descriptor)
            if following is not None and base + len(data) > following:
                # A crash in the middle of `_set_aside`: what lies behind was already written to its own segment.
                data = data[: following - base]
                os.ftruncate(descriptor, len(data))
            runs, damaged = _sort_out(data, base)
            if following is None and damaged and damaged[-1][1] == len(data):
                if _is_torn(data, damaged[-1][0], base):
                    self._cut_torn(descriptor, base, damaged.pop()[0], len(data))
                else:  # those positions were given away: the next frame must not get them again
                    runs.append(Segment(base + len(data), base + len(data)))
            if damaged:
                self._set_aside(descriptor, data, base, runs, damaged)
            return self._keep(runs, base, following)
        finally:
            os.close(descriptor)

    def _keep(self, runs: list[Segment], base: int, following: int | None) -> list[Segment]:
        """The segments that are there now; an empty file is kept only as the very last, where it holds the position."""
        if runs and runs[0].base == base:
            return runs
        if not runs and following is None:
            return [Segment(base, base)]
        os.unlink(files.segment_name(base), dir_fd=self._dir_fd)
        return runs

    def _cut_torn(self, descriptor: int, base: int, offset: int, size: int) -> None:
        os.ftruncate(descriptor, offset)
        os.fdatasync(descriptor)
        message = (
            f"{self._directory}/{files.segment_name(base)}: {size - offset} bytes of an unfinished frame at byte {offset}"
            " were cut off; its writer died before it was accepted"
        )
        self._report(Problem("spool_torn_tail", message, self._name))

    def _set_aside(
        self, descriptor: int, data: bytes, base: int, runs: list[Segment], damaged: list[tuple[int, int]]
    ) -> None:
        """Copy damaged bytes to quarantine, give what is intact behind them segments of their own, then cut the file."""
        os.makedirs(os.path.join(self._directory, files.QUARANTINE), mode=0o700, exist_ok=True)
        quarantine = os.open(
            files.QUARANTINE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._dir_fd
        )
        try:
            for a, b in damaged:
                files.write_new(quarantine, f"{base + a:020d}-{base + b:020d}.damaged", data[a:b])
        finally:
            os.close(quarantine)
        for run in reversed(runs):  # from the end, because a repeated recovery cuts the file where the next one begins
            if run.base != base:
                files.write_new(self._dir_fd, files.segment_name(run.base), data[run.base - base : run.end - base])
        os.ftruncate(descriptor, damaged[0][0])
        os.fdatasync(descriptor)
        for a, b in damaged:
            problem = DamagedSegment(self._directory, files.segment_name(base), a, "checksum or layout is wrong")
            self._report(
                Problem("spool_damaged", f"{problem}; {b - a} bytes were set aside in quarantine/", self._name)
            )
            self._report(BytesLost(self._name, self._directory, base + a, base + b, "damaged"))


def _sort_out(data: bytes, base: int) -> tuple[list[Segment], list[tuple[int, int]]]:
    """The runs of intact frames as segments, and the damaged stretches as offsets."""
    runs: list[Segment] = []
    damaged: list[tuple[int, int]] = []
    for at, extent in frame.walk(data, base):
        if damaged and damaged[-1][1] == len(data):
            damaged[-1] = (damaged[-1][0], at)
        if extent is None:
            damaged.append((at, len(data)))
            continue
        if not runs or runs[-1].end != extent.start:
            runs.append(Segment(extent.start, extent.start))
        runs[-1].grow(extent.start, extent.end)
    return runs, damaged


def _is_torn(data: bytes, offset: int, base: int) -> bool:
    """True when the bytes from ``offset`` on can be the beginning of a frame whose writer died: cut short, or zeros."""
    tail = data[offset:]
    if not tail.strip(b"\0"):
        return True  # the size reached the disk, the content did not
    if len(tail) < frame.FIXED:
        return frame.MAGIC.startswith(tail[: len(frame.MAGIC)])
    extent = frame.read_extent(data, offset, base + offset)
    return extent is not None and extent.end - base > len(data)


def _read_all(descriptor: int) -> bytes:
    """A segment's bytes; a block that the disk cannot read is taken as zeros, which no checksum will accept."""
    size = os.fstat(descriptor).st_size
    try:
        return files.read_at(descriptor, size, 0)
    except OSError:
        return b"".join(_read_block(descriptor, at, min(_BLOCK, size - at)) for at in range(0, size, _BLOCK))


def _read_block(descriptor: int, at: int, length: int) -> bytes:
    try:
        return files.read_at(descriptor, length, at)
    except OSError:
        return bytes(length)
