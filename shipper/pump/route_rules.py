"""What a route asks of records, made ready to be answered: first by what many of them share, then by each one's own bytes.

Resource and scope stand once for all records below them, so most questions are answered there for thousands of records at
a time. What is left is asked of the bytes of the records themselves; none is decoded for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate
from functools import lru_cache

from shipper.contracts import Signal
from shipper.otlp.encode import AttributeValue
from shipper.otlp.values import plain_value

REMEMBERED = 4096  # values of an attribute whose answer is kept: routes and services come again and again
SEVERITIES = (1, 24)  # the least and the most of a SeverityNumber that is known


class Pattern:
    """Some globs, of which one has to fit: ``*``, ``?`` and ``[...]``; letters as they are written."""

    def __init__(self, globs: Sequence[str]) -> None:
        self.globs = tuple(globs)
        self._matches = re.compile("|".join(f"(?:{translate(glob)})" for glob in globs)).match
        self.fits_value = lru_cache(REMEMBERED)(self._fits_value)
        """Whether one fits an encoded AnyValue: its text, its number, ``true`` or ``false``, or one of a list."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.globs == other.globs

    def __hash__(self) -> int:
        return hash(self.globs)

    def fits(self, value: AttributeValue) -> bool:
        """Whether one of them fits a value."""
        if isinstance(value, list | tuple):
            return any(self.fits(each) for each in value)
        if value is None or isinstance(value, Mapping | bytes):
            return False
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return self._matches(text) is not None

    def _fits_value(self, encoded: bytes) -> bool:
        return self.fits(plain_value(encoded, 0, len(encoded)))


@dataclass(frozen=True, slots=True)
class Shared:
    """What records have in common: attributes of their resource, name of their scope."""

    resource: Mapping[str, AttributeValue]
    scope: str


@dataclass(frozen=True, slots=True)
class Condition:
    """Everything given must hold, and none of ``never``. Nothing given holds for every record.

    ``severity``: of log records, from ... to, both included; one that has none is in no range. ``attributes`` are the
    record's own.
    """

    severity: tuple[int, int] | None = None
    event_name: Pattern | None = None
    attributes: tuple[tuple[str, Pattern], ...] = ()
    resource: tuple[tuple[str, Pattern], ...] = ()
    scope: Pattern | None = None
    never: tuple[Condition, ...] = field(default=())

    @property
    def asks_records(self) -> bool:
        """Whether a record has to be looked at, as it is not answered by what it shares with others."""
        own = self.severity is not None or self.event_name is not None or bool(self.attributes)
        return own or any(other.asks_records for other in self.never)

    def given(self, shared: Shared) -> Condition | bool:
        """What is still to be asked of records that share this; or the answer for all of them."""
        if self.scope is not None and not self.scope.fits(shared.scope):
            return False
        if not all(key in shared.resource and glob.fits(shared.resource[key]) for key, glob in self.resource):
            return False
        never: list[Condition] = []
        for other in self.never:
            answer = other.given(shared)
            if answer is True:
                return False
            if answer is not False:
                never.append(answer)
        rest = replace(self, resource=(), scope=None, never=tuple(never))
        return rest if rest.asks_records else True


@dataclass(frozen=True, slots=True)
class Rule:
    """One route: records of these signals for which one of ``any_of`` holds."""

    signals: frozenset[Signal]
    any_of: tuple[Condition, ...] = (Condition(),)


def left_to_ask(conditions: Sequence[Condition], shared: Shared) -> tuple[Condition, ...] | bool:
    """What is still to be asked, of which one must hold; or the answer for all records that share this."""
    rest: list[Condition] = []
    for condition in conditions:
        answer = condition.given(shared)
        if answer is True:
            return True
        if answer is not False:
            rest.append(answer)
    return tuple(rest) or False
