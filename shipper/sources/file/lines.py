"""Where a batch of lines ends, and what its records are: pure functions of the bytes and two positions.

A batch must come out byte for byte the same when it is built again after a crash, so nothing here depends on how the bytes
came: a line that is too long is split at borders counted from its own beginning, and every mark on a piece of a line can be
told from where the piece begins and ends. A chunk of ordinary lines passes without any Python bytecode per line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from shipper.otlp.encode import log_attribute
from shipper.shape.text import NEAR, is_utf8, whole

BOM = b"\xef\xbb\xbf"
CR = 0x0D

ORIGINAL = "log.record.original"
PART = "shipper.line.part"
LAST = "shipper.line.last"
INCOMPLETE = log_attribute("shipper.line.incomplete", True)
CONTINUED = log_attribute("shipper.line.continued", True)


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes of a file; ``base`` is the position of the first. It begins up to 64 bytes before what is asked for."""

    data: bytes
    base: int

    @property
    def end(self) -> int:
        """The position behind the last byte."""
        return self.base + len(self.data)

    def slice(self, start: int, end: int) -> bytes:
        """The bytes of ``[start, end)``."""
        return self.data[start - self.base : end - self.base]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The texts of a range: further encoded fields by index, where the event at its end began, and when each was written.

    ``times``: nanoseconds since the epoch of each text, where what carries the lines says so. ``unparsed``: how many texts are
    not in the format of the file, by cause.
    """

    lines: list[bytes]
    extra: dict[int, bytes] | None
    next_resume: int
    times: list[int] | None = None
    unparsed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """One line or a part of one. ``end`` includes the line end; ``body`` is None when the piece makes no record."""

    start: int
    end: int
    line: int  # where the line began
    closed: bool  # ends with its line end
    body: bytes | None
    extra: bytes

    @property
    def next_resume(self) -> int:
        """Where the event that goes on behind this piece began."""
        return self.end if self.closed else self.line


def due_end(window: Window, at: int, line: int, limit: int, *, due: bool, closing: bool) -> int:
    """Where a batch from ``at`` ends; ``at`` itself when nothing is to be sent yet.

    ``line``: where the line that ``at`` lies in began. ``due``: an unfinished line need not be held any longer; what may
    yet turn out to be half a CRLF or half a UTF-8 sequence still is, unless ``closing``. The window must reach to the end
    of the file or at least ``limit`` + 2 bytes behind ``at``.
    """
    newline = window.data.rfind(b"\n", at - window.base)
    if newline >= 0:
        return window.base + newline + 1
    end = at
    border = line + ((at - line) // limit + 1) * limit
    while _goes_on(window, border):
        end = max(end, _whole(window, border))
        border += limit
    if end > at or not (due or closing):
        return end
    return window.end if closing else presentable(window, at, border)


def _goes_on(window: Window, border: int) -> bool:
    """True when the line certainly has text at ``border``, so that it is over the limit."""
    if border >= window.end:
        return False
    return window.data[border - window.base] != CR or border + 1 < window.end


def presentable(window: Window, at: int, border: int) -> int:
    """Where an unfinished line can end for now: not in half a CRLF or half a character, nor near ``border``, a part's end."""
    end = window.end
    while (shorter := max(at, _trimmed(window, at, end, border))) < end:
        end = shorter
    return at if at == 0 and window.slice(0, end) == BOM else end


def _trimmed(window: Window, at: int, end: int, border: int) -> int:
    if border - NEAR <= end < border:
        return border - NEAR - 1  # else it could later be taken for the border of a part
    return _whole(window, at + len(window.slice(at, end).rstrip(b"\r")))


def _whole(window: Window, end: int) -> int:
    """``end``, or the beginning of the UTF-8 sequence that the bytes before ``end`` leave unfinished."""
    return window.base + whole(window.data, end - window.base)


def render(window: Window, at: int, end: int, line: int, limit: int) -> Rendered:
    """The records of ``[at, end)``, a range that `due_end` gave."""
    data, base = window.data, window.base
    if at == line and data[end - base - 1 : end - base] == b"\n":
        chunk = data[at - base : end - base - 1]
        if b"\r" in chunk:
            chunk = (chunk + b"\n").replace(b"\r\n", b"\n")[:-1]
        if not _has_long(chunk, limit):
            if at == 0 and chunk.startswith(BOM):
                chunk = chunk[len(BOM) :]
            lines = chunk.split(b"\n")
            return Rendered(lines, None if is_utf8(chunk) else _repair(lines), end)
    return _render_pieces(pieces(window, at, end, line, limit), end)


def _has_long(chunk: bytes, limit: int) -> bool:
    """True when a line of the chunk is longer than ``limit``; looks only at one line in ``limit`` bytes."""
    at, size = 0, len(chunk)
    while size - at > limit:
        newline = chunk.rfind(b"\n", at, at + limit + 1)
        if newline < 0:
            return True
        at = newline + 1
    return False


def _repair(lines: list[bytes]) -> dict[int, bytes]:
    """Replace in place what is not UTF-8; the original bytes become an attribute."""
    extra: dict[int, bytes] = {}
    for index, raw in enumerate(lines):
        if not is_utf8(raw):
            lines[index], extra[index] = readable(raw)
    return extra


def readable(raw: bytes) -> tuple[bytes, bytes]:
    """What is not UTF-8 with replacement characters, and the attribute that keeps the original bytes."""
    return raw.decode("utf-8", "replace").encode(), log_attribute(ORIGINAL, raw)


def _render_pieces(found: Iterator[Piece], end: int) -> Rendered:
    lines: list[bytes] = []
    extra: dict[int, bytes] = {}
    resume = end
    for piece in found:
        resume = piece.next_resume
        if piece.body is None:
            continue
        if piece.extra:
            extra[len(lines)] = piece.extra
        lines.append(piece.body)
    return Rendered(lines, extra, resume)


def pieces(window: Window, at: int, end: int, line: int, limit: int) -> Iterator[Piece]:
    """The lines and parts of lines in ``[at, end)``, one by one: the general and slow way."""
    while at < end:
        newline = window.data.find(b"\n", at - window.base, end - window.base)
        closed = newline >= 0
        raw_end = window.base + newline + 1 if closed else end
        text_end = raw_end
        if closed:
            text_end -= 2 if newline > at - window.base and window.data[newline - 1] == CR else 1
        for border in _borders(window, at, text_end, line, limit):
            yield _piece(window, at, border, border, line, limit, closed=False)
            at = border
        yield _piece(window, at, text_end, raw_end, line, limit, closed=closed)
        at = raw_end
        if closed:
            line = raw_end


def _borders(window: Window, at: int, text_end: int, line: int, limit: int) -> Iterator[int]:
    """Where a line is split between ``at`` and ``text_end``."""
    for nominal in range(line + ((at - line) // limit + 1) * limit, text_end, limit):
        border = _whole(window, nominal)
        if border > at:
            yield border


def _part_at(window: Window, position: int, line: int, limit: int) -> tuple[int, bool]:
    """Which part of its line begins at or before ``position``, and whether it begins exactly there."""
    part = (position + NEAR - line) // limit
    if part <= 0:
        return 0, position == line
    nominal = line + part * limit
    border = _whole(window, nominal) if nominal <= window.end else nominal
    return (part, border == position) if border <= position else (part - 1, False)


def _piece(window: Window, start: int, text_end: int, end: int, line: int, limit: int, *, closed: bool) -> Piece:
    part, at_border = _part_at(window, start, line, limit)
    cut_at_border = not closed and _part_at(window, end, line, limit)[1]
    body = window.slice(start, text_end)
    if start == 0 and body.startswith(BOM):
        body = body[len(BOM) :]
    if not closed and not cut_at_border:
        body = body.rstrip(b"\r")
    if not body and not (closed and start == line):
        return Piece(start, end, line, closed, None, b"")
    extra = b""
    if not is_utf8(body):
        body, extra = readable(body)
    if part or cut_at_border:
        extra += log_attribute(PART, part) + log_attribute(LAST, closed)
    if not at_border:
        extra += CONTINUED
    if not closed and not cut_at_border:
        extra += INCOMPLETE
    return Piece(start, end, line, closed, body, extra)


def border_near(found: Iterator[Piece], middle: int) -> tuple[int, int] | None:
    """A border between pieces, nearest to ``middle``, with records on both sides: position and where its event began."""
    listed = list(found)
    with_record = [index for index, piece in enumerate(listed) if piece.body is not None]
    if len(with_record) < 2:
        return None
    candidates = listed[with_record[0] : with_record[-1]]
    best = min(candidates, key=lambda piece: abs(piece.end - middle))
    return best.end, best.next_resume
