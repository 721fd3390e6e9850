"""Files that are not UTF-8: UTF-16, told by its byte order mark or by the settings, and the one-byte encodings.

Positions stay those of the bytes in the file. Where records begin and end is found by the same rules as everywhere, on a
*skeleton* of the bytes: one byte for each unit of the encoding, ASCII as it is, everything else a letter, the two halves of
a character beyond 16 bits as two bytes that belong together. The texts themselves are then decoded piece by piece.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from shipper.otlp.encode import log_attribute
from shipper.sources.file.form import Form
from shipper.sources.file.lines import ORIGINAL, Piece, Rendered, Window

_MARKS = {b"\xff\xfe": "utf-16le", b"\xfe\xff": "utf-16be"}
ENCODINGS = {
    "utf-8": "",
    "utf-16le": "utf-16le",
    "utf-16be": "utf-16be",
    "latin-1": "latin-1",
    "windows-1252": "windows-1252",
}
"""What can be set; a file is then taken to be that, whatever it begins with."""
_LETTER = 0x78
_PAIR = b"\xc3\xa9"  # what stands for the halves of a surrogate pair: valid UTF-8, so that nobody cuts between them
_HALF = re.compile(rb"\xc3(?!\xa9)|(?<!\xc3)\xa9")
_HALF_INSIDE = re.compile(rb"\xc3(?!\xa9|\Z)|(?<!\xc3)\xa9")


def marked(head: bytes) -> str:
    """The encoding that a file which begins with ``head`` says it has; empty when it says nothing."""
    return _MARKS.get(head[:2], "")


def may_be_marked(head: bytes) -> bool:
    """Whether ``head`` is less than a byte order mark, but may become one."""
    return len(head) == 1 and any(mark.startswith(head) for mark in _MARKS)


def unit_of(encoding: str) -> int:
    """How many bytes a unit has: line ends stand only at multiples of it."""
    return 2 if encoding in _MARKS.values() else 1


@lru_cache(maxsize=8)
def _ascii_only(encoding: str) -> bytes:
    """A table for `bytes.translate`: what is ASCII in a one-byte encoding stays, all else becomes a letter."""
    texts = (bytes([byte]).decode(encoding, "replace") for byte in range(256))
    return bytes(ord(text) if ord(text) < 0x80 else _LETTER for text in texts)


_LOW = _ascii_only("latin-1")
_PLAIN = bytes(0xFF if high == 0 else 0 for high in range(256))
_OTHER = bytes(
    0 if high == 0 else _PAIR[0] if high & 0xFC == 0xD8 else _PAIR[1] if high & 0xFC == 0xDC else _LETTER
    for high in range(256)
)


def _skeleton(data: bytes, encoding: str, *, final: bool) -> bytes:
    """One byte for each unit of ``data``, which begins with a whole unit; ``final``: nothing that goes on follows it."""
    if unit_of(encoding) == 1:
        return data.translate(_ascii_only(encoding))
    size = len(data) // 2
    low, high = data[0 : 2 * size : 2], data[1 : 2 * size : 2]
    if encoding == "utf-16be":
        low, high = high, low
    plain = int.from_bytes(low.translate(_LOW), "little") & int.from_bytes(high.translate(_PLAIN), "little")
    merged = (plain | int.from_bytes(high.translate(_OTHER), "little")).to_bytes(size, "little")
    if _PAIR[:1] in merged or _PAIR[1:] in merged:
        merged = (_HALF if final else _HALF_INSIDE).sub(b"x", merged)
    return merged


class EncodedForm(Form):
    """The records that ``inner`` sees in the skeleton of a file, decoded. ``joins``: they may be of several lines."""

    def __init__(self, inner: Form, encoding: str, *, joins: bool) -> None:
        self.timeout = inner.timeout
        self.holds_finished = inner.holds_finished
        self._inner = inner
        self._encoding = encoding
        self._joins = joins
        self.unit = unit_of(encoding)
        self.reach = inner.reach * self.unit

    def end(self, window: Window, at: int, event: int, *, due: bool, closing: bool, wide: bool) -> int:
        """See `Form.end`."""
        unit = self.unit
        found = self._inner.end(
            self._narrow(window, final=closing), at // unit, event // unit, due=due, closing=closing, wide=wide
        )
        end = found * unit
        if closing and window.end - end < unit:
            return window.end  # half a unit: nothing will complete it
        return at if at == 0 and end == unit == 2 and marked(window.slice(0, 2)) and not closing else end

    def border(self, window: Window, start: int, position: int) -> int | None:
        """See `Form.border`."""
        odd = -window.base % self.unit
        window = Window(window.data[odd:], window.base + odd)
        found = self._inner.border(self._narrow(window, final=False), start // self.unit, position // self.unit)
        return None if found is None else found * self.unit

    def render(self, window: Window, at: int, end: int, event: int) -> Rendered:
        """See `Form.render`."""
        texts: list[bytes] = []
        extra: dict[int, bytes] = {}
        resume = end
        for piece in self.pieces(window, at, end, event):
            resume = piece.next_resume
            if piece.body is None:
                continue
            if piece.extra:
                extra[len(texts)] = piece.extra
            texts.append(piece.body)
        return Rendered(texts, extra or None, resume)

    def pieces(self, window: Window, at: int, end: int, event: int) -> Iterator[Piece]:
        """See `Form.pieces`."""
        unit = self.unit
        narrow = self._narrow(Window(window.slice(window.base, end), window.base), final=True)
        for piece in self._inner.pieces(narrow, at // unit, end // unit, event // unit):
            start, stop = piece.start * unit, piece.end * unit
            body, extra = (None, b"") if piece.body is None else self._decoded(window, narrow, piece)
            yield Piece(start, stop, piece.line * unit, piece.closed, body, extra)
        if end % unit:
            half = window.slice(end - end % unit, end)
            yield Piece(
                end - len(half), end, event, False, "\N{REPLACEMENT CHARACTER}".encode(), log_attribute(ORIGINAL, half)
            )

    def _decoded(self, window: Window, narrow: Window, piece: Piece) -> tuple[bytes | None, bytes]:
        """The text of a piece, and its further fields."""
        bones = narrow.slice(piece.start, piece.end)
        raw = window.slice(piece.start * self.unit, piece.end * self.unit)
        raw = raw[: len(self._trimmed(bones, piece.body or b"")) * self.unit]
        text, extra = raw.decode(self._encoding, "replace"), piece.extra
        if text.encode(self._encoding, "replace") != raw:
            extra = log_attribute(ORIGINAL, raw) + extra
        if piece.start == 0:
            text = text.removeprefix("\ufeff")
        if self._joins:
            text = text.replace("\r\n", "\n")
        return (text.encode(), extra) if text or bones.endswith(b"\n") else (None, b"")

    def _trimmed(self, bones: bytes, body: bytes) -> bytes:
        """The piece without the line end that ``body`` lacks."""
        if bones.endswith(b"\n"):
            return bones[:-1].removesuffix(b"\r")
        return bones if body.endswith(b"\r") else bones.rstrip(b"\r")

    def _narrow(self, window: Window, *, final: bool) -> Window:
        """The skeleton of a window, with positions counted in units."""
        return Window(_skeleton(window.data, self._encoding, final=final), window.base // self.unit)
