"""Masks secrets in OTLP requests: each by as many asterisks as it has bytes, so that every length stays what it was.

A pure function of the request, because a batch is built anew after a crash and has to be the same. Most requests hold nothing
that even looks like a secret; that is told by one search over their bytes, which may find too much and never too little.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.shape.redact_leaves import Leaf, Touched, leaves
from shipper.shape.redact_patterns import KNOWN, PASSWORDS, SECRET_NAMES, Known
from shipper.shape.redact_regex import compiled, without_assertions

MASK = b"*"
_MOST_SUMS = 1024
_WORD = re.compile(rb"[A-Za-z0-9]+")
_FIELD = "field"  # what a value is counted as whose key says that it is secret


@dataclass(frozen=True, slots=True)
class OwnPattern:
    """A pattern of the user's: ``group`` of its match is masked, 0: all of it."""

    name: str
    pattern: str
    group: int = 0


@dataclass(frozen=True, slots=True)
class Redacted:
    """A request, or a text, as it may leave the host, and how many secrets were masked in it, by name of the pattern."""

    data: bytes
    counts: Mapping[str, int] = field(default_factory=dict)


class Redaction:
    """Of all secrets of these ``kinds`` (`redact_patterns.KINDS`), and those of ``own`` patterns.

    Raises ValueError for a pattern that is none, `MissingExtra` where RE2 is not installed.
    """

    def __init__(self, kinds: Collection[str], own: Sequence[OwnPattern] = ()) -> None:
        known = [one for one in KNOWN if one.kind in kinds]
        self._patterns: list[_Pattern] = [*map(_pattern, known), *map(_OwnPattern, own)]
        self._all = (1 << len(self._patterns)) - 1
        self._chosen: dict[int, Sequence[_Pattern]] = {}
        self._search = _Search(known) if known else None
        self._own = [
            (1 << index, compiled(without_assertions(one.pattern))) for index, one in enumerate(own, len(known))
        ]
        self._key = compiled(SECRET_NAMES + rb"\z") if PASSWORDS in kinds else None

    def request(self, signal: Signal, payload: bytes) -> Redacted:
        """An Export<Signal>ServiceRequest of the same length, masked in its texts alone.

        One that cannot be walked (no destination will take it either) is masked wherever a pattern matches.
        """
        found = list(self._found(payload))
        if not found:
            return Redacted(payload)
        try:
            places = leaves(signal, payload, Touched(found), self._is_secret)
        except MalformedOtlp:
            places = [Leaf(0, len(payload), self._all)]
        return self._masked(payload, places)

    def text(self, text: bytes) -> Redacted:
        """A text by itself."""
        return self._masked(text, [Leaf(0, len(text), self._all)])

    def _found(self, payload: bytes) -> Iterator[tuple[int, int, int]]:
        """Where something may be, and the bits of the patterns that it may be for."""
        if self._search is not None:
            yield from self._search.found(payload)
        for bit, pattern in self._own:
            for match in pattern.finditer(payload):
                yield *match.span(), bit

    def _is_secret(self, key: bytes) -> bool:
        return self._key is not None and self._key.search(key) is not None

    def _masked(self, data: bytes, places: Sequence[Leaf]) -> Redacted:
        out = bytearray(data)
        counts: Counter[str] = Counter()
        for leaf in places:
            text = data[leaf.start : leaf.end]
            if leaf.whole:
                if text.strip(MASK):
                    out[leaf.start : leaf.end] = MASK * len(text)
                    counts[_FIELD] += 1
                continue
            for pattern in self._of(leaf.bits):
                spans = pattern.spans(text)
                if not spans:
                    continue
                for start, end in spans:
                    if text[start:end].strip(MASK):
                        out[leaf.start + start : leaf.start + end] = MASK * (end - start)
                        counts[pattern.name] += 1
                text = bytes(out[leaf.start : leaf.end])
        return Redacted(bytes(out), counts) if counts else Redacted(data)

    def _of(self, bits: int) -> Sequence[_Pattern]:
        """The patterns of these bits; of few sums, because most texts hold one word."""
        chosen = self._chosen.get(bits)
        if chosen is None:
            chosen = [pattern for index, pattern in enumerate(self._patterns) if bits >> index & 1]
            if len(self._chosen) < _MOST_SUMS:
                self._chosen[bits] = chosen
        return chosen


class _Search:
    """All words of known patterns at once."""

    _CARD = re.compile(rb"[2-6](?:[ -]?[0-9]){12}")  # what an issuer begins a number with

    def __init__(self, known: Sequence[Known]) -> None:
        self._all = (1 << len(known)) - 1
        self._exact: dict[bytes, int] = {}
        self._folded: dict[bytes, int] = {}
        self._numbers = 0
        self._cards = 0
        arounds: list[bytes] = []
        for index, one in enumerate(known):
            for words, by in ((one.exact, self._exact), (one.folded, self._folded)):
                for word in words:
                    by[word] = by.get(word, 0) | 1 << index
            if one.around:
                arounds.append(one.around)
            if one.name == "card":
                self._cards = 1 << index
            elif one.name == "ssn":
                self._numbers = 1 << index
        self._behind = _behind({**self._folded, **self._exact})
        exact = [re.escape(word) for word in sorted(self._exact)]
        folded = [b"(?i:%s)" % re.escape(word) for word in sorted(self._folded)]
        self._pattern = compiled(b"|".join([*exact, *folded, *arounds]))

    def found(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """Where a word is, and the bits of its patterns."""
        for match in self._pattern.finditer(data):
            start, end = match.span()
            text = data[start:end]
            word = text if text in self._exact else text.lower()
            bits = self._exact.get(word) or self._folded.get(word)
            if bits is None:
                bits = self._of_numbers(text) if text[:1].isdigit() else self._all
            else:
                for rest, more in self._behind[word]:
                    if data[end : end + len(rest)].lower() == rest:
                        bits |= more
            if bits:
                yield start, end, bits

    def _of_numbers(self, text: bytes) -> int:
        return self._numbers | (self._cards if self._CARD.search(text) else 0)


def _behind(words: Mapping[bytes, int]) -> dict[bytes, list[tuple[bytes, int]]]:
    """Of each word, what has to stand behind it for another one to begin inside, where the search passes it over."""
    found: dict[bytes, list[tuple[bytes, int]]] = {}
    for word in words:
        text = word.lower()
        found[word] = [
            (other[size:].lower(), bits)
            for other, bits in words.items()
            for size in range(1, len(other) + 1)
            if word != other and (text.endswith(other[:size].lower()) or (size == len(other) and other.lower() in text))
        ]
    return found


class _Pattern(Protocol):
    """One of those that are tried on a text."""

    name: str

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """What of ``text`` is secret; may have been masked before."""
        ...


def _pattern(known: Known) -> _Pattern:
    return _WordPattern(known) if known.at_word else _KnownPattern(known)


class _WordPattern:
    """What follows a word; every word of a text is tried."""

    def __init__(self, known: Known) -> None:
        self.name = known.name
        self._words = compiled(b"|".join(b"(?i:%s)" % re.escape(word) for word in known.folded))
        self._pattern = re.compile(known.pattern)

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """See `_Pattern.spans`."""
        found: list[tuple[int, int]] = []
        at = 0
        for word in self._words.finditer(text):
            start = word.start()
            if start >= at and (match := self._pattern.match(text, start)) is not None:
                found.append(match.span(match.lastindex or 0))
                at = match.end()
        return found


class _KnownPattern:
    def __init__(self, known: Known) -> None:
        self.name = known.name
        self._check = known.check
        self._apart = known.apart
        self._needs = known.needs
        self._pattern = compiled(known.pattern)
        self._groups = range(1, self._pattern.groups + 1) or range(1)

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """See `_Pattern.spans`. What fails its check is passed over up to the end of its first word, and not by a byte."""
        found: list[tuple[int, int]] = []
        at = 0 if self._needs in text else len(text) + 1
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


class _OwnPattern:
    def __init__(self, own: OwnPattern) -> None:
        self.name = own.name
        self._group = own.group
        self._pattern = compiled(own.pattern)
        if not 0 <= own.group <= self._pattern.groups:
            raise ValueError(f"there is no group {own.group}")
        if self._pattern.search(b"") is not None:
            raise ValueError("matches where nothing is")

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """See `_Pattern.spans`."""
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
