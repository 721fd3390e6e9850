"""A batch that is too large for its destination, as two: cut at the border of an event near its middle."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shipper.contracts import Cut
from shipper.errors import RangeGone
from shipper.sources.file.again import window_again
from shipper.sources.file.identity import GUARD_BYTES, guard_of
from shipper.sources.file.lines import border_near
from shipper.sources.file.nulls import gap_at

if TYPE_CHECKING:
    from shipper.sources.file.stream import FileStream


def halves(stream: FileStream, cut: Cut) -> tuple[Cut, Cut] | None:
    """See `Stream.halve`."""
    try:
        window = window_again(stream, cut)
    except OSError as error:
        raise RangeGone(stream.id, cut.start, cut.end, error.strerror or str(error)) from error
    if gap_at(window.data, cut.start - window.base):
        return None
    border = border_near(stream.form.pieces(window, cut.start, cut.end, cut.resume), (cut.start + cut.end) // 2)
    if border is None:
        return None
    middle, resume = border
    of_first = stream.shaped(stream.form.render(window, cut.start, middle, cut.resume), cut.observed_ns)
    first = replace(
        cut,
        end=middle,
        next_resume=resume,
        records=of_first.records,
        guard=guard_of(window.slice(max(window.base, middle - GUARD_BYTES), middle)),
        filtered=of_first.filtered,
        sampled=of_first.sampled,
    )
    second = replace(
        cut,
        start=middle,
        resume=resume,
        records=cut.records - first.records,
        filtered=cut.filtered - first.filtered,
        sampled=cut.sampled - first.sampled,
    )
    return first, second
