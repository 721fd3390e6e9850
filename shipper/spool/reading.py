"""Reading frames out of one segment file while the spool runs."""

from __future__ import annotations

from shipper.spool import files, frame
from shipper.spool.frame import Frame


def walk_to(descriptor: int, base: int, start: int, at: int, end: int) -> int:
    """The start of the frame that holds ``at``, found by going from frame to frame; ``start`` is a frame start.

    Where damage is in the way, the position of the damage.
    """
    position = start
    while position < end:
        extent = frame.read_extent(files.read_at(descriptor, frame.FIXED, position - base), 0, position)
        if extent is None or extent.end > at:
            return position
        position = extent.end
    return position


def read_frames(
    descriptor: int, base: int, start: int, end: int, limit: int, first: int, *, must: bool
) -> tuple[list[Frame], list[tuple[int, int]]]:
    """Intact frames of ``[start, end)`` up to ``limit`` bytes (with ``must`` at least one), and damaged ranges met.

    ``first``: bytes to read at first, which may turn out not to be enough.
    """
    found: list[Frame] = []
    damaged: list[tuple[int, int]] = []
    data = files.read_at(descriptor, min(max(first, frame.FIXED), end - start), start - base)
    at = total = 0
    while start + at < end and not (found and total >= limit):
        extent = frame.read_extent(data, at, start + at)
        length = extent.length if extent else frame.FIXED
        if at + length > len(data) and start + len(data) < end:
            if found or not must:
                break
            data = files.read_at(descriptor, min(length, end - start - at), start + at - base)
            start, at = start + at, 0
            continue
        if extent is not None and frame.intact(data, at, extent):
            found.append(frame.cut_out(data, at, extent))
            at += extent.length
            total += extent.length
            continue
        skipped = start + at
        data = files.read_at(descriptor, end - skipped, skipped - base)
        following = frame.find_next(data, 1, skipped)
        start, at = skipped, len(data) if following is None else following
        damaged.append((skipped, end if following is None else start + at))
        if following is None:
            break
    return found, damaged
