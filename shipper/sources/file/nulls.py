"""Bytes that nobody wrote: holes a writer left by seeking, room that was reserved before there was anything to put there.

Both read as NULs. At the end of a file they are not its text (it may yet be written there), so they do not count for how far
the file reaches; inside it they are no line of anybody's, see `shipper.sources.file.lines`.
"""

from __future__ import annotations

from collections.abc import Callable

RUN = 64  # NULs in a row that are a gap; fewer belong to a line
_BLOCK = 64 << 10
_GAP = bytes(RUN)
_FAR = 4 << 20  # further than this behind the last text nothing is looked for while the file ends in NULs


def written(read: Callable[[int, int], bytes], size: int, known: int) -> int:
    """Where what was written of a file of ``size`` bytes ends; ``known``: it was seen to reach so far.

    ``read`` is as os.pread. A few NULs at the end count as written. Raises OSError.
    """
    if size <= known or read(RUN, max(0, size - RUN)) != _GAP:
        return size
    end = at = known
    while at < size and at - end <= _FAR:
        block = read(min(_BLOCK, size - at), at)
        if not block:
            break
        text = len(block.rstrip(b"\0"))
        if text:
            end = at + text
        at += len(block)
    return end


def gap(data: bytes, start: int, unit: int, *, more: bool) -> tuple[int, int] | None:
    """The first gap in ``data`` behind ``start``, as indices; None when there is none.

    ``unit``: it begins and ends so many bytes, or a multiple, behind ``start``. ``more``: other bytes follow. Then a gap that
    reaches to the end is told up to so far before it that what is left of it is seen to be one.
    """
    end = start
    while (begin := data.find(_GAP, end)) >= 0:
        end = len(data) - len(data[begin:].lstrip(b"\0"))
        first = begin + (start - begin) % unit
        last = end - RUN if more and end == len(data) else end
        last -= (last - start) % unit
        if last - first >= RUN:
            return first, last
    return None


def gap_at(data: bytes, index: int) -> bool:
    """Whether a gap begins there, or goes on."""
    return data[index : index + RUN] == _GAP
