"""Masks secrets in OTLP requests: each by as many asterisks as it has bytes, so that every length stays what it was.

A pure function of the request, because a batch is built anew after a crash and has to be the same. Most requests hold nothing
that even looks like a secret; that is told by one search over their bytes, which may find too much and never too little.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.shape.redact_leaves import Leaf, Touched, leaves
from shipper.shape.redact_match import Own, OwnPattern, Pattern, pattern_of
from shipper.shape.redact_patterns import KNOWN, PASSWORDS, SECRET_NAMES, Known
from shipper.shape.redact_regex import compiled, without_assertions

MASK = b"*"
_MOST_SUMS = 1024
_FIELD = "field"  # what a value is counted as whose key says that it is secret


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
        self._patterns: list[Pattern] = [*map(pattern_of, known), *map(Own, own)]
        self._all = (1 << len(self._patterns)) - 1
        self._chosen: dict[int, Sequence[Pattern]] = {}
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

    def _of(self, bits: int) -> Sequence[Pattern]:
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
