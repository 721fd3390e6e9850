"""Records of one form, written many at a time: an example is written as any record is, and the others by it.

An exporter writes a record by a function that takes a `LogRow`. Given a row in which each value is a mark, that function shows what
stands around the values, and for all records of the form these are the same bytes. So nothing is known twice, and whatever the
function learns to do is done for tables, too. What it writes must depend on which fields there are and of what kinds, not on what
they hold; but for what hardly varies (levels, names of events, flags, switches), of which each has a stencil of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from shipper.otlp.columns import LogRow, Table
from shipper.otlp.encode import AttributeValue
from shipper.otlp.forms import INTEGER, TEXT, TRUTH
from shipper.otlp.some import Some

_KEPT = 128
_MOST_VARIANTS = 16
_random = secrets.SystemRandom()
_nonce = secrets.token_hex(8)  # so that no record can hold a mark

BODY = f"~{_nonce}body~"
TRACE_ID, SPAN_ID = secrets.token_hex(16), secrets.token_hex(8)
TIME = _random.randrange(41 * 10**17, 42 * 10**17)  # about 2100, which all formats can hold
OBSERVED = TIME + 50_000_000_123_456_789
NUMBER = _random.randrange(10**17, 10**18)
_INTEGER = _random.randrange(5 * 10**18, 9 * 10**18)
_FLOAT = _random.randrange(10**15, 2 * 10**15) + 0.5

Write = Callable[[LogRow, int], bytes]
"""Writes a record. Beside it, it is told its number: `NUMBER` where that is to be a mark."""

Fill = Callable[[Table], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Kinds:
    """How attributes are written. ``one``: a mark, as it is found in a record; ``many``: the values of a column, by kind."""

    one: Callable[[Any], bytes]
    many: Mapping[int, Callable[[Sequence[Any]], Sequence[bytes]]]


@dataclass(frozen=True, slots=True)
class _Stencil:
    """``around``: what stands before, between and behind the values of a record; ``values``: which those are, by number."""

    around: tuple[bytes, ...]
    values: tuple[int, ...]


class Stencils:
    """Writes records; may be used in several threads.

    ``kinds``: how attributes are written. ``fields``: of each other mark, as it is written, what stands in its place. ``steady``:
    whether how the records of a table are written is the same for all of them but for the values.
    """

    def __init__(
        self, kinds: Kinds, fields: Sequence[tuple[bytes, Fill]], steady: Callable[[Table], bool] = lambda _: True
    ) -> None:
        self._kinds = kinds
        self._marks = [pattern for pattern, _ in fields]
        self._fills = [fill for _, fill in fields]
        self._steady = steady
        self._known: dict[Hashable, _Stencil | None] = {}

    def write(
        self, some: Some, key: Hashable, write: Write, first: int = 0, numbered: Callable[[int], bytes] | None = None
    ) -> list[bytes]:
        """Each of the records as ``write`` writes it, in order.

        ``key``: what the outcome of ``write`` depends on besides the record. ``first``: the number of the first, ``numbered``: how
        numbers are written; None when ``write`` does not look at them.
        """

        def of_table(table: Table) -> list[bytes]:
            made = self._table(table, key, write, first, numbered)
            if made is None:
                rows = zip(table.places, table.rows(), strict=True)
                made = [write(row, first + place) for place, row in rows]
            return made

        return some.in_order(of_table, lambda place, row: write(row, first + place))

    def _table(
        self, table: Table, key: Hashable, write: Write, first: int, numbered: Callable[[int], bytes] | None
    ) -> list[bytes] | None:
        timed = (table.times or table.observed) and 0 not in table.times and 0 not in table.observed
        if not timed or not table.scalar or not self._steady(table):
            return None
        variants = _variants(table)
        stencils: dict[_Variant, _Stencil] = {}
        number = numbered(NUMBER) if numbered else b""
        form = (key, *_form(table))
        for one in dict.fromkeys(variants):
            stencil = self._stencil(table, (form, one), write, number)
            if stencil is None or len(stencils) == _MOST_VARIANTS:
                return None
            stencils[one] = stencil
        usual = stencils[variants[0]]
        if any(stencil.values != usual.values for stencil in stencils.values()):
            return None
        made = Texts(len(table))
        for place, around in enumerate(usual.around):
            if place:
                value = usual.values[place - 1]
                if value == 0 and numbered:
                    made.each([numbered(first + one) for one in table.places])
                else:
                    self._put(made, table, value - 1)
            if all(stencil.around[place] == around for stencil in stencils.values()):
                made.same(around)
            else:
                made.each([stencils[variant].around[place] for variant in variants])
        return made.all()

    def _stencil(self, table: Table, key: tuple[Hashable, _Variant], write: Write, number: bytes) -> _Stencil | None:
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            example, marks = _example(table, key[1])
            written = [b"" if mark is None else self._kinds.one(mark) for mark in marks]
            known = _cut(write(example, NUMBER), [number, *self._marks, *written])
            self._known[key] = known
        return known

    def _put(self, made: Texts, table: Table, value: int) -> None:
        if value < len(self._fills):
            made.each(self._fills[value](table))
            return
        column = table.attributes[value - len(self._fills)]
        many = self._kinds.many[column.kind]
        if column.same:
            made.same(many(column.values[:1])[0])
        else:
            made.each(many(column.values))


class Texts:
    """Texts made piece by piece, all of them at once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pieces: list[Sequence[bytes]] = []
        self._same = b""

    def same(self, piece: bytes) -> None:
        """This goes on in each of them."""
        self._same += piece

    def each(self, pieces: Sequence[bytes]) -> None:
        """Each goes on with its own."""
        self._end()
        self._pieces.append(pieces)

    def all(self) -> list[bytes]:
        """The texts."""
        self._end()
        return list(map(b"".join, zip(*self._pieces, strict=True))) if self._pieces else [b""] * self._count

    def _end(self) -> None:
        if self._same:
            self._pieces.append([self._same] * self._count)
            self._same = b""


_Variant = tuple[Any, ...]
"""Severity, its text, the event, flags, whether both times are the same, and all switches of a record."""


def _variants(table: Table) -> list[_Variant]:
    """The one of each record."""
    same = [*map(int.__eq__, table.times, table.observed)] if table.times and table.observed else ()
    switches = [column.values for column in table.attributes if column.kind == TRUTH]
    columns = [table.severities, table.severity_texts, table.events, table.flags, same, *switches]
    if all(column.count(column[0]) == len(table) for column in columns if column):
        return [tuple(column[0] if column else 0 for column in columns)] * len(table)
    every = zip(*(column or repeat(0) for column in columns), table.places, strict=False)
    return [one[:-1] for one in every]


def _form(table: Table) -> tuple[Hashable, ...]:
    """All that a stencil depends on besides the variant."""
    present = (table.times, table.observed, table.bodies is not None, table.trace_ids, table.span_ids)
    return (*map(bool, present), *[(column.name, column.kind) for column in table.attributes])


def _example(table: Table, variant: _Variant) -> tuple[LogRow, list[AttributeValue]]:
    """A record of which each value is a mark, and the marks of its attributes; none for a switch."""
    severity, text, event, flags, same, *switches = variant
    left = iter(switches)
    marks: list[AttributeValue] = []
    for number, column in enumerate(table.attributes):
        marks.append(next(left) if column.kind == TRUTH else _mark(column.kind, number))
    row = LogRow(
        TIME if table.times else 0,
        (TIME if same else OBSERVED) if table.observed else 0,
        severity,
        str(text, "utf-8") if text else "",
        None if table.bodies is None else BODY,
        {column.name: mark for column, mark in zip(table.attributes, marks, strict=True)},
        str(event, "utf-8") if event else "",
        TRACE_ID if table.trace_ids else "",
        SPAN_ID if table.span_ids else "",
        flags,
    )
    return row, [None if isinstance(mark, bool) else mark for mark in marks]


def _mark(kind: int, number: int) -> AttributeValue:
    if kind == TEXT:
        return f"~{_nonce}{number:04}~"
    return _INTEGER + number if kind == INTEGER else _FLOAT + number


def _cut(written: bytes, patterns: Sequence[bytes]) -> _Stencil | None:
    """The stencil of an example; None when one of its marks is not written as it should be. No pattern: no mark."""
    found: list[tuple[int, int, int]] = []
    for number, pattern in enumerate(patterns):
        at = written.find(pattern) if pattern else -1
        while at >= 0:
            found.append((at, -len(pattern), number))
            at = written.find(pattern, at + len(pattern))
    around: list[bytes] = []
    values: list[int] = []
    behind = 0
    for at, size, number in sorted(found):
        if at >= behind:  # of two that begin at the same place the longer one counts
            around.append(written[behind:at])
            values.append(number)
            behind = at - size
    around.append(written[behind:])
    if any(_nonce.encode() in piece for piece in around):
        return None
    return _Stencil(tuple(around), tuple(values))
