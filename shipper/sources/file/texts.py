"""The lines of a file as text, for those who count what they tell of and ship none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipper.errors import RangeGone
from shipper.sources.file.content import Changed

if TYPE_CHECKING:
    from shipper.sources.file.stream import FileStream


def text(stream: FileStream, at: int, limit: int) -> tuple[bytes, int]:
    """Whole lines from ``at`` on, and the position behind them; see `shipper.measure.spans.TextStream`."""
    content, form, frontier = stream.content, stream.form, stream.frontier()
    if at >= frontier or content.awaited:
        return b"", at
    if content.file is None or at >= content.readable_to:
        raise RangeGone(stream.id, at, frontier, content.gone_because or "the file is gone")
    until = int(min(frontier, content.readable_to))
    gap_start = stream.next_gap(at, frontier)
    if gap_start is not None:
        until = min(until, gap_start)
    try:
        window = content.window(at, min(until, at + limit))
    except Changed:
        content.suspect()
        return b"", at
    end = form.text_end(window, at)
    complete = window.end == gap_start or (window.end == until and (content.closing or content.finished))
    if end <= at and (complete or window.end - at >= limit):
        end = window.end
    if end <= at:
        return b"", at
    content.remember(window, end)
    return form.text(window, at, end), end
