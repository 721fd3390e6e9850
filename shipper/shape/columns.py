"""What the parsers find, by column: one list for each field, over all texts that have it, so that work is done by list.

The order and the contents of everything depend on the single texts only, never on what stood beside them: a chunk that is cut
in two gives the same records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from msgspec import UNSET

from shipper.shape.severity import NONE, Severity

ABSENT = UNSET
"""Stands in a column for a text that has no such field."""

T = TypeVar("T")


@dataclass(slots=True)
class Table:
    """Fields of some of the texts of a chunk. ``rows``: which texts, ascending; ``columns``: by dotted name, a value for each.

    Values are what JSON knows, or bytes, which are text (UTF-8), or `ABSENT`.
    """

    rows: Sequence[int]
    columns: dict[str, list[Any]]

    def use(self, name: str, used: Sequence[bool]) -> None:
        """What was understood is no field any more: take the values out for which ``used`` says so, all when it is empty."""
        if all(used):
            del self.columns[name]
        elif any(used):
            values = self.columns[name]
            self.columns[name] = [ABSENT if gone else value for value, gone in zip(values, used, strict=True)]


@dataclass(slots=True)
class Parsed:
    """``tables``: what was found; ``plain``: texts that are looked at as plain; ``failed``: those of them that should not be."""

    tables: list[Table]
    plain: Sequence[int] = ()
    failed: Sequence[int] = ()


@dataclass(slots=True)
class Found:
    """What is known of each text of a chunk, as encoded fields of its LogRecord where there is nothing more to decide.

    ``traces``: trace ids of 16 bytes, or none. ``fields``: values that rules look at, by name, `ABSENT` where there is none.
    ``failures``: by cause, how many texts were passed on without being understood.
    """

    bodies: list[bytes]
    times: list[int]
    severities: list[Severity]
    contexts: list[bytes]
    traces: list[bytes]
    attributes: list[bytes]
    fields: dict[str, list[Any]] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)

    @classmethod
    def nothing(cls, texts: Sequence[bytes], times: Sequence[int] | None) -> Found:
        """Nothing but what was known before: when the texts were written, perhaps."""
        n = len(texts)
        return cls(list(texts), [0] * n if times is None else list(times), [NONE] * n, [b""] * n, [b""] * n, [b""] * n)

    def fail(self, cause: str, count: int) -> None:
        """``count`` texts failed for this reason, a fixed word."""
        if count:
            self.failures[cause] = self.failures.get(cause, 0) + count


def scatter(target: list[T], rows: Sequence[int], values: Sequence[T]) -> None:
    """``target[row] = value`` for each."""
    if len(rows) == len(target):
        target[:] = values
        return
    for row, value in zip(rows, values, strict=True):
        target[row] = value
