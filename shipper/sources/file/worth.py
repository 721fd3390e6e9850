"""Which ranges of a file are worth most when time is short, and where a range may begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipper.sources.file.lines import Window
from shipper.sources.file.severity import tells_of_errors

if TYPE_CHECKING:
    from shipper.sources.file.stream import FileStream

BLOCK = 64 << 10  # of a range whose value is judged; an event longer than this has no place of its own in the order
PREFIX = 4 << 10  # bytes behind a position that tell whether an event begins there


def border(stream: FileStream, position: int) -> int | None:
    """See `Stream.border`."""
    found = _bytes_around(stream, position)
    return None if found is None else stream.form.border(found, stream.start, position)


def valuable(stream: FileStream, start: int, end: int) -> list[tuple[int, int]]:
    """See `Stream.valuable`: 64 KiB each, from one line's or event's beginning to another's.

    Where events begin is only looked for where there is an error: it costs as much again as the search.
    """
    low, high = border(stream, start), border(stream, end)
    file = stream.content.file
    if file is None or low is None or high is None:
        return []
    try:
        data = file.read(high - low, low)
    except OSError:
        return []
    found: list[tuple[int, int]] = []
    at = low
    while at < high:
        to = min(at + BLOCK, high)
        line = data.rfind(b"\n", at - low, to - low)
        to = low + line + 1 if line >= 0 else to
        if tells_of_errors(data[at - low : to - low]):
            found += _events_with_errors(stream, data, (low, at, to, high))
        at = to
    return found


def _events_with_errors(stream: FileStream, data: bytes, places: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    """The events that begin in a block ``[at, to)`` of ``data``, and those after them if the last has its error there."""
    low, at, to, high = places
    begin, end, after = (border(stream, position) for position in (at, to, min(to + BLOCK, high)))
    if begin is None or end is None:
        return []
    found = [(begin, end)] if begin < end else []
    if end < to and after is not None and tells_of_errors(data[end - low : to - low]):
        found.append((end, after))
    return [(a, b) for a, b in found if a < b]


def _bytes_around(stream: FileStream, position: int) -> Window | None:
    """What is needed to tell where an event begins that lies around a position."""
    content, file = stream.content, stream.content.file
    if file is None or not stream.start <= position <= content.extent:
        return None
    base = max(stream.start, position - BLOCK)
    try:
        return Window(file.read(min(content.size, position + PREFIX) - base, base), base)
    except OSError:
        return None
