"""Frames are read in one go, whatever their sizes, and not copied until somebody wants bytes of his own."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import SystemClock
from shipper.events import Reporter
from shipper.spool import Fsync, Spool
from shipper.spool.segment import MARK_EVERY, Segment

KB = 1 << 10


@pytest.mark.parametrize("size", [100, 40 * KB, 150 * KB, 3000 * KB], ids=["tiny", "small", "some", "large"])
def test_whole_frames_are_read_at_once(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read that is not used: reading ends where a frame is known to begin, also behind a large one."""
    spool = Spool.open(tmp_path, name="s", fsync=Fsync.NEVER, report=Reporter(SystemClock()))
    count = max(3, 1000 * KB // size)
    for n in range(count):
        spool.append(b"%d" % n, bytes(size))
    read: list[int] = []
    real = os.pread

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        read.append(length)
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    at = seen = 0
    while frames := spool.frames(at, 512 * KB):
        assert sum(frame.end - frame.start for frame in frames) == read.pop()
        assert not read
        assert [frame.header for frame in frames] == [b"%d" % (seen + n) for n in range(len(frames))]
        assert all(frame.payload == bytes(size) == frame.content for frame in frames)
        seen += len(frames)
        at = frames[-1].end
    assert seen == count
    spool.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(33, 3 * MARK_EVERY), min_size=1, max_size=40),
    st.integers(MARK_EVERY, 8 * MARK_EVERY),
    st.data(),
)
def test_what_is_read_ends_at_a_frame(sizes: list[int], limit: int, data: Any) -> None:
    """From any frame on: at least one whole frame, no more than is wanted or leads to a mark, and it ends where a frame ends."""
    segment = Segment(1000, 1000)
    starts = [1000]
    for size in sizes:
        segment.grow(starts[-1], starts[-1] + size)
        starts.append(segment.end)
    start = data.draw(st.sampled_from(starts[:-1]))
    reach = segment.reach(start, limit)
    first = starts[starts.index(start) + 1] - start
    assert start + reach in starts
    # A mark stands before the first frame that begins this far behind the last one, which may be that much longer.
    assert first <= reach <= max(limit, MARK_EVERY + max(sizes))
