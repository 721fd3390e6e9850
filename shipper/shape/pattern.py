"""Texts of a form that a regular expression describes: each named group is a field."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import repeat
from typing import Any

from shipper.shape.columns import ABSENT, Parsed, Table

REACH = (
    4 << 10
)  # bytes of a text that a user's pattern sees: one that looks again from each place costs the square of it


class PatternParser:
    """Searches each text for a pattern. A group that took no part in the match is no field."""

    cause = "regex"

    def __init__(self, pattern: re.Pattern[bytes], reach: int = REACH) -> None:
        """``reach``: bytes of a text that the pattern sees."""
        self._reach = reach
        self._search = pattern.search
        self._names = sorted(pattern.groupindex, key=pattern.groupindex.__getitem__)
        self._numbers = [pattern.groupindex[name] for name in self._names]

    def parse(self, texts: Sequence[bytes], rows: Sequence[int]) -> Parsed:
        """The fields of ``texts[row]`` for each of ``rows``."""
        chosen = texts if len(rows) == len(texts) else [texts[row] for row in rows]
        matches = list(map(self._search, chosen, repeat(0), repeat(self._reach)))
        hits = [match for match in matches if match is not None]
        failed: list[int] = []
        if len(hits) < len(matches):
            failed = [row for row, match in zip(rows, matches, strict=True) if match is None]
            rows = [row for row, match in zip(rows, matches, strict=True) if match is not None]
        if not hits:
            return Parsed([], failed, failed)
        groups = list(zip(*[match.groups() for match in hits], strict=True))
        columns = {name: _column(groups[number - 1]) for name, number in zip(self._names, self._numbers, strict=True)}
        return Parsed([Table(rows, columns)], failed, failed)


def _column(values: tuple[bytes | None, ...]) -> list[Any]:
    return [ABSENT if value is None else value for value in values] if None in values else list(values)
