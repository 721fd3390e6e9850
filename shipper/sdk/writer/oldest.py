"""Where a process has put aside more than it may, its oldest records go: the newest say what is wrong now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from shipper.sdk.writer.home import Home
from shipper.sdk.writer.turn import Claim

if TYPE_CHECKING:
    from shipper.sdk.writer.series import Series

CAUSE = "drop_oldest"


def drop_oldest(every: Iterable[Series], home: Home, directory: int) -> bool:
    """Delete the oldest final segments of the longest series until the process is within its limit; whether any was.

    Room is kept for each series' current segment. Raises OSError.
    """
    mine = Claim()
    dropped = False
    try:
        if not home.turn.take(mine):
            return False
        found = [(series, series.keeper.segments) for series in every]
        ours = [(series, segments) for series, segments in found if segments and segments.home is home]
        limit = home.room.process_bytes - len(ours) * home.room.segment_bytes
        sizes = [segments.final_sizes(directory) for _, segments in ours]
        while sum(map(sum, sizes)) > limit and any(sizes):
            longest = max(range(len(sizes)), key=lambda index: sum(sizes[index]))
            del sizes[longest][0]
            series, segments = ours[longest]
            series.losses.add(CAUSE, segments.drop_oldest(directory))
            series.segments = None  # so that the next append tells of it
            dropped = True
    finally:
        home.turn.give_back(mine)
    return dropped
