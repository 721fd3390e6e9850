"""Reading once more what was cut before: the same bytes, proved by the guard of the cut, or the reason why there are none."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from shipper.contracts import Cut
from shipper.errors import RangeGone
from shipper.sources.file.form import AHEAD
from shipper.sources.file.handles import Replaced
from shipper.sources.file.identity import GUARD_BYTES, guard_of
from shipper.sources.file.lines import Window

if TYPE_CHECKING:
    from shipper.sources.file.stream import FileStream

GIVEN_UP = "it was dropped for want of space before it was read"


def window_again(stream: FileStream, cut: Cut) -> Window:
    """The window of an earlier cut. Raises `RangeGone` when its bytes are nowhere any more, OSError as the kernel says."""
    content = stream.content
    if any(start < cut.end and cut.start < end for start, end in content.gaps):
        raise RangeGone(stream.id, cut.start, cut.end, GIVEN_UP)
    window = _window_of(stream, cut)
    if window is None:
        content.suspect()  # it may find a copy
        window = _window_of(stream, cut)
    if window is None:
        raise RangeGone(stream.id, cut.start, cut.end, content.gone_because or "the file holds other bytes now")
    return window


def _window_of(stream: FileStream, cut: Cut) -> Window | None:
    content = stream.content
    if content.awaited:
        raise OSError(errno.EAGAIN, "its file cannot be read yet")
    file = content.file
    if file is None or cut.end > content.readable_to:
        return None
    base = max(0, cut.start - GUARD_BYTES)
    try:
        window = Window(file.read(cut.end + AHEAD - base, base), base)
    except (FileNotFoundError, Replaced):
        return None
    before_end = window.slice(max(base, cut.end - GUARD_BYTES), cut.end)
    return window if window.end >= cut.end and guard_of(before_end) == cut.guard else None
