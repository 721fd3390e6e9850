"""Where a batch of events of several lines ends, and what its records are: what `lines` is for single lines.

Like there, everything follows from the bytes and two positions. A batch may end anywhere between two lines, and where an
event was given up waiting for: a position is inside an event when that began before it and its line does not begin another.
"""

from __future__ import annotations

from collections.abc import Iterator

from shipper.otlp.encode import log_attribute
from shipper.shape import Multiline
from shipper.shape.text import NEAR, is_utf8, whole
from shipper.sources.file.lines import BOM, CONTINUED, INCOMPLETE, Piece, Rendered, Window, presentable, readable

EVENT_CONTINUED = log_attribute("shipper.event.continued", True)


def due_end(window: Window, at: int, event: int, rule: Multiline, *, due: bool, closing: bool) -> int:
    """Where a batch from ``at`` ends; ``at`` itself when nothing is to be sent yet.

    ``event``: where the event that ``at`` lies in began. ``due`` and ``closing`` are said only at the end of what there is:
    the last event need not be held any longer, and not even half a CRLF or half a UTF-8 sequence.
    """
    if closing:
        return window.end
    if due:
        return presentable(window, at, window.end + 2 * NEAR)
    lines_end = window.base + window.data.rfind(b"\n", at - window.base) + 1
    if lines_end <= at:
        lines_end = at
    elif (begin := _last_begin(window, at, lines_end, rule)) > at:
        return begin
    else:
        starts = rule.parts(window.slice(at, lines_end), inside=event < at, inner=_inner(window, at, event)).starts
        if len(starts) > 1:
            return at + starts[-1]
    if window.end - at <= rule.max_bytes:
        return at
    return lines_end if lines_end > at else window.base + whole(window.data, at + rule.max_bytes - window.base)


def _last_begin(window: Window, at: int, lines_end: int, rule: Multiline) -> int:
    """Where the last event behind ``at`` begins; ``at`` when none does in the last lines. What is before it is complete."""
    end = lines_end - 1
    for _ in range(rule.max_lines):
        newline = window.data.rfind(b"\n", at - window.base, end - window.base)
        if newline < 0:
            return at
        start = window.base + newline + 1
        if rule.begins(window.slice(start, end).removesuffix(b"\r")):
            return start
        end = start - 1
    return at


def border(window: Window, start: int, position: int, rule: Multiline) -> int | None:
    """Where the last event that is seen to begin at or before ``position`` does; the stream begins at ``start``."""
    end = position - window.base
    while (newline := window.data.rfind(b"\n", 0, end)) >= 0:
        line_end = window.data.find(b"\n", newline + 1)
        if line_end >= 0:  # of an unfinished line nobody can tell
            line = window.data[newline + 1 : line_end]
            if rule.begins(line.removesuffix(b"\r")):
                return window.base + newline + 1
        end = newline
    return start if window.base == start else None


def _inner(window: Window, at: int, event: int) -> bool:
    return event < at and window.slice(at - 1, at) != b"\n"


def render(window: Window, at: int, end: int, event: int, rule: Multiline) -> Rendered:
    """The records of ``[at, end)``, a range that `due_end` gave."""
    chunk = window.slice(at, end)
    if chunk.endswith(b"\n") and b"\r" not in chunk and not (at == 0 and chunk.startswith(BOM)) and is_utf8(chunk):
        found = rule.parts(chunk, inside=event < at, inner=_inner(window, at, event))
        if not found.continued:
            ends = [start - 1 for start in found.starts[1:]]
            ends.append(len(chunk) - 1)
            bodies = list(map(chunk.__getitem__, map(slice, found.starts, ends)))
            return Rendered(bodies, None, end if _begins_at(window, end, rule) else at + found.starts[-1])
    bodies = []
    extra: dict[int, bytes] = {}
    for piece in pieces(window, at, end, event, rule):
        event = piece.line
        if piece.body is None:
            continue
        if piece.extra:
            extra[len(bodies)] = piece.extra
        bodies.append(piece.body)
    return Rendered(bodies, extra, end if _begins_at(window, end, rule) else event)


def _begins_at(window: Window, at: int, rule: Multiline) -> bool:
    """Whether the window shows that another event begins at ``at``."""
    if window.slice(at - 1, at) != b"\n":
        return False
    newline = window.data.find(b"\n", at - window.base)
    return newline >= 0 and rule.begins(window.data[at - window.base : newline].removesuffix(b"\r"))


def pieces(window: Window, at: int, end: int, event: int, rule: Multiline) -> Iterator[Piece]:
    """The events and parts of events in ``[at, end)``, one by one."""
    chunk = window.slice(at, end)
    found = rule.parts(chunk, inside=event < at, inner=_inner(window, at, event))
    for index, (start, stop) in enumerate(zip(found.starts, [*found.starts[1:], len(chunk)], strict=True)):
        continued, inner = index in found.continued, index in found.inner
        if not continued:
            event = at + start
        raw = chunk[start:stop]
        split = index + 1 in found.inner or rule.max_bytes - NEAR <= len(raw) <= rule.max_bytes
        over = stop < len(chunk) and index + 1 not in found.continued
        body = _body(raw, at + start, split=split)
        if not body and (inner or not raw.endswith(b"\n")):
            yield Piece(at + start, at + stop, event, over, None, b"")
            continue
        extra = b""
        if not is_utf8(body):
            body, extra = readable(body)
        if continued:
            extra += EVENT_CONTINUED
        if inner:
            extra += CONTINUED
        if not raw.endswith(b"\n") and not split:
            extra += INCOMPLETE
        yield Piece(at + start, at + stop, event, over, body, extra)


def _body(raw: bytes, position: int, *, split: bool) -> bytes:
    """What is shown of the bytes of an event. ``split``: they end where the limit of bytes is, not at a line's end."""
    if position == 0:
        raw = raw.removeprefix(BOM)
    if raw.endswith(b"\n"):
        raw = raw[:-1].removesuffix(b"\r")
    elif not split:
        raw = raw.rstrip(b"\r")
    return raw.replace(b"\r\n", b"\n")
