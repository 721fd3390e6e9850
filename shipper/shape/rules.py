"""Which records are shipped: those that no rule leaves out, and of these a share.

Each record is judged by itself, and by nothing but what it says, so that a range that is read again, or in halves, has the
same records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any
from zlib import crc32

from shipper.shape.columns import ABSENT, Found
from shipper.shape.pattern import REACH
from shipper.shape.settings import Condition
from shipper.shape.severity import ERROR

_SPREAD = (
    0x9E3779B97F4A7C15  # as for spans (`shipper.sources.services.sampling`): the logs of a trace stay with the trace
)
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Rules:
    """``drop``, ``keep`` and ``sample`` of `ShapeSettings`."""

    drop: tuple[Condition, ...] = ()
    keep: tuple[Condition, ...] = ()
    sample: float = 1.0

    def __bool__(self) -> bool:
        return bool(self.drop or self.keep) or self.sample < 1.0

    @property
    def fields(self) -> frozenset[str]:
        """The fields that are looked at."""
        return frozenset(one.field for one in (*self.drop, *self.keep) if one.field)

    @property
    def by_severity(self) -> bool:
        """Whether severities must be known."""
        return self.sample < 1.0 or any(one.at_least or one.below for one in (*self.drop, *self.keep))

    def choose(self, texts: Sequence[bytes], found: Found) -> tuple[list[int], int, int]:
        """Which records are shipped, how many a rule left out, and how many were left out by chance."""
        out = [False] * len(texts)
        for condition in self.drop:
            out = list(map(bool.__or__, out, _holds(condition, texts, found)))
        if self.keep:
            wanted = [False] * len(texts)
            for condition in self.keep:
                wanted = list(map(bool.__or__, wanted, _holds(condition, texts, found)))
            out = [left or not want for left, want in zip(out, wanted, strict=True)]
        passed = [row for row, left in enumerate(out) if not left]
        kept = passed if self.sample >= 1.0 else list(self._share(passed, texts, found))
        return kept, len(texts) - len(passed), len(passed) - len(kept)

    def _share(self, rows: Sequence[int], texts: Sequence[bytes], found: Found) -> Iterator[int]:
        below = int(self.sample * (1 << 64))
        for row in rows:
            trace = found.traces[row]
            number = int.from_bytes(trace[8:], "big") if trace else crc32(texts[row])
            if found.severities[row].number >= ERROR or number * _SPREAD & _MASK < below:
                yield row


def _holds(condition: Condition, texts: Sequence[bytes], found: Found) -> list[bool]:
    """For which texts a condition holds."""
    holds = [True] * len(texts)
    if condition.at_least or condition.below:
        least, below = condition.at_least or 1, condition.below or 25
        holds = [least <= severity.number < below for severity in found.severities]
    if condition.field:
        values = found.fields[condition.field]
        holds = [held and _says(condition.match, value) for held, value in zip(holds, values, strict=True)]
    elif condition.match is not None:
        matches = map(condition.match.search, texts, repeat(0), repeat(REACH))
        holds = [held and match is not None for held, match in zip(holds, matches, strict=True)]
    return holds


def _says(pattern: re.Pattern[bytes] | None, value: Any) -> bool:
    if value is ABSENT or value is None:
        return False
    return pattern is None or pattern.search(_shown(value), 0, REACH) is not None


def _shown(value: Any) -> bytes:
    """A value as its text, or as JSON where it is none."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "backslashreplace")
