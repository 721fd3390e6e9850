"""Lines of a container: joined from the lines of its file, made records of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shipper.otlp.encode import log_attribute
from shipper.shape.containers import Unit
from shipper.shape.text import is_utf8
from shipper.sources.file.events import EVENT_CONTINUED
from shipper.sources.file.lines import CONTINUED, LAST, Piece, Rendered, readable

STRANGE = log_attribute("shipper.container.unparsed", True)
NOT_LAST = log_attribute(LAST, False)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the container, or a part of one: where its lines of the file begin and end, and what it says."""

    start: int
    end: int
    text: bytes
    time: int
    closed: bool  # the line ends with it
    extra: bytes  # further fields, of its first part
    marks: tuple[bytes, ...]


def line_of(units: list[Unit], base: int, marks: tuple[bytes, ...]) -> Line:
    """The line, or the part of one, that ``units`` are; they lie in a chunk that begins at ``base``."""
    last = units[-1]
    text = last.text if len(units) == 1 else b"".join([unit.text for unit in units])
    return Line(
        base + units[0].start,
        base + last.end,
        text.removesuffix(b"\r") if last.ends else text,
        units[0].time,
        last.ends,
        units[0].extra,
        (STRANGE, *marks) if last.strange else marks,
    )


def record_of(lines: list[Line], continued: bool) -> tuple[Piece, int]:
    """A record of one or several lines, and its time."""
    first, last = lines[0], lines[-1]
    body = first.text if first is last else b"".join(_with_ends(lines))
    original = b""
    if not is_utf8(body):
        body, original = readable(body)
    marks = dict.fromkeys(mark for line in lines for mark in line.marks)
    if first is not last:  # what joins its own lines is none of a record's business
        marks = {mark: None for mark in marks if not (mark is CONTINUED and mark not in first.marks)}
        marks = {mark: None for mark in marks if not (mark is NOT_LAST and mark not in last.marks)}
    extra = b"".join([original, first.extra, *marks, EVENT_CONTINUED if continued else b""])
    return Piece(first.start, last.end, last.end - 1, last.closed, body, extra), first.time


def _with_ends(lines: list[Line]) -> Iterator[bytes]:
    """The texts of lines with what lies between them."""
    yield lines[0].text
    for line in lines[1:]:
        yield b"" if CONTINUED in line.marks else b"\n"
        yield line.text


def finished(texts: list[bytes], times: list[int], extra: dict[int, bytes] | None, end: int) -> Rendered:
    """Lines that are records as they are, but for what cannot be read as text."""
    joined = b"\n".join(texts)
    if b"\r" in joined:
        texts = [text.removesuffix(b"\r") for text in texts]
    if not is_utf8(joined):
        extra = dict(extra or {})
        for index, text in enumerate(texts):
            if not is_utf8(text):
                texts[index], original = readable(text)
                extra[index] = original + extra.get(index, b"")
    return Rendered(texts, extra, end, times)
