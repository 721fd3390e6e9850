"""How each pattern is tried on a text that may hold its secret.

Nothing here goes back and forth in a text: RE2 never does, and where the module `re` is used, because it is quicker on a word
that was found already, an expression goes on from there without a choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from shipper.shape.redact_patterns import STEMS, Known, Way
from shipper.shape.redact_regex import compiled

_WORD = re.compile(rb"[A-Za-z0-9]+")
_LOCAL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-"


@dataclass(frozen=True, slots=True)
class OwnPattern:
    """A pattern of the user's: ``group`` of its match is masked, 0: all of it."""

    name: str
    pattern: str
    group: int = 0


class Pattern(Protocol):
    """One kind of secret."""

    name: str

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """What of ``text`` is secret; may have been masked before."""
        ...


def pattern_of(known: Known) -> Pattern:
    """How a known one is tried."""
    ways: dict[Way, Callable[[Known], Pattern]] = {Way.RE2: _Searched, Way.WORD: _BehindWord, Way.ADDRESS: _Address}
    return ways[known.way](known)


class _BehindWord:
    """What follows a word; each place of a text where one begins is tried."""

    def __init__(self, known: Known) -> None:
        self.name = known.name
        self._pattern = re.compile(known.pattern)

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """See `Pattern.spans`."""
        found: list[tuple[int, int]] = []
        at = 0
        lower = text.lower()
        for start in sorted([place for stem in STEMS for place in _places(lower, stem)]):
            if start >= at and (match := self._pattern.match(text, start)) is not None:
                found.append(match.span(match.lastindex or 0))
                at = match.end()
        return found


class _Address:
    """What stands around an at sign: letters before it, and what ``known.pattern`` matches from it on."""

    def __init__(self, known: Known) -> None:
        self.name = known.name
        self._signs = known.exact
        self._pattern = re.compile(known.pattern)

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """See `Pattern.spans`."""
        found: list[tuple[int, int]] = []
        at = 0
        for sign in sorted([place for word in self._signs for place in _places(text, word)]):
            match = self._pattern.match(text, sign) if sign >= at else None
            if match is not None:
                start = at + len(text[at:sign].rstrip(_LOCAL))
                at = sign
                if start < sign:
                    found.append((start, match.end()))
                    at = match.end()
        return found


def _places(text: bytes, word: bytes) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


class _Searched:
    def __init__(self, known: Known) -> None:
        self.name = known.name
        self._check = known.check
        self._apart = known.apart
        self._needs = known.needs
        self._pattern = compiled(known.pattern)
        self._groups = range(1, self._pattern.groups + 1) or range(1)

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """See `Pattern.spans`. What fails its check is passed over up to the end of its first word, and not by a byte."""
        found: list[tuple[int, int]] = []
        at = 0
        if self._needs not in text:
            return found
        while (match := self._pattern.search(text, at)) is not None:
            secrets = [span for group in self._groups if (span := self._secret(text, *match.span(group)))]
            found += secrets
            at = match.end() if secrets else _word_end(text, match.start())
        return found

    def _secret(self, text: bytes, start: int, end: int) -> tuple[int, int] | None:
        if start < 0 or (length := self._check(text[start:end])) == 0:
            return None
        end = start + length
        return None if self._apart and not _is_apart(text, start, end) else (start, end)


class Own:
    """A pattern of the user's. Raises ValueError for one that cannot work."""

    def __init__(self, own: OwnPattern) -> None:
        self.name = own.name
        self._group = own.group
        self._pattern = compiled(own.pattern)
        if not 0 <= own.group <= self._pattern.groups:
            raise ValueError(f"there is no group {own.group}")
        if self._pattern.search(b"") is not None:
            raise ValueError("matches where nothing is")

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """See `Pattern.spans`."""
        spans = [match.span(self._group) for match in self._pattern.finditer(text)]
        return [_whole_characters(text, start, end) for start, end in spans if 0 <= start < end]


def _is_apart(text: bytes, start: int, end: int) -> bool:
    """Neither a part of a longer word nor the end of a fraction. The n of a line feed in JSON is no letter."""
    before = text[max(0, start - 2) : start]
    escaped = before in (rb"\n", rb"\r", rb"\t")
    fraction = before[-1:] == b"." and before[:1].isdigit()
    return (escaped or not before[-1:].isalnum()) and not fraction and not text[end : end + 1].isalnum()


def _word_end(text: bytes, at: int) -> int:
    """Where the letters and digits at ``at`` end; behind it in any case."""
    match = _WORD.match(text, at)
    return match.end() if match else at + 1


def _whole_characters(text: bytes, start: int, end: int) -> tuple[int, int]:
    """With the rest of a character of which only some bytes matched."""
    while start > 0 and text[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(text) and text[end] & 0xC0 == 0x80:
        end += 1
    return start, end
