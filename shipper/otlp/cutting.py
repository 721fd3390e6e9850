"""Cutting encoded log records of one form into their parts, all of them at once.

Only the lengths of what varies are looked at record by record. Then `struct` cuts the records into heads and values in one call,
and each head is compared with the one that belongs to the length that it says. What was the same in all records so far is
expected to be so in the next, which saves most of the work; where it is not, they are cut once more without that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import add, and_, eq, sub
from typing import Any, NamedTuple

from shipper.errors import MalformedOtlp
from shipper.otlp.columns import Table
from shipper.otlp.forms import Heads, Segment

FEW = 40
"""With fewer records it is less work to read each by itself."""

_ENOUGH = 32  # records that must have had the same value before it is expected of others

Column = Sequence[Any]


class Cutter:
    """Takes records of one form apart. ``useless``: for who keeps it, how often in a row that was in vain."""

    def __init__(self, form: tuple[Segment, ...]) -> None:
        self.useless = 0
        self._form = form
        self._known: list[_Known] = []
        self._plain = _Plan(form, [_Known()] * len(form))
        self._expecting: _Plan | None = None

    def tables(self, part: bytes, starts: list[int], stops: list[int], places: list[int]) -> Iterator[Table]:
        """Tables of those of the records ``part[starts[place]:stops[place]]`` that have this form; no two hold the same one.

        ``part`` goes on behind the last. What has the form but cannot be read is in no table.
        """
        if self._expecting is not None:
            found = self._expecting.cut(part, starts, stops, places)
            if found is not None:
                yield found.table
                if len(found.table) == len(places):
                    return
                taken = set(found.table.places)
                places = [place for place in places if place not in taken]
        if len(places) >= FEW:
            found = self._plain.cut(part, starts, stops, places)
            if found is not None:
                yield found.table
                if self._known or len(found.table) >= _ENOUGH:
                    self._learn(found)

    def _learn(self, found: _Found) -> None:
        """Expect of the next records what all of these have; what once was not as expected is not expected again."""
        seen = [_Known.of(*one) for one in zip(self._form, found.heads, found.values, strict=True)]
        if self._known:
            seen = [now.unless(before) for now, before in zip(seen, self._known, strict=True)]
        if seen != self._known:
            self._known = seen
            self._expecting = _Plan(self._form, seen)


class _Known(NamedTuple):
    """What is expected of a field besides its form: its length, -1 for nothing at all; perhaps all of it, and its value."""

    length: int = -1
    encoded: bytes = b""
    value: Any = None

    @classmethod
    def of(cls, segment: Segment, heads: Column, values: Column) -> _Known:
        """What all of these have in common."""
        head, value = heads[0], values[0]
        if heads.count(head) != len(heads):
            return cls()
        length = 0 if segment.heads is None else head[1] if head[1] < 0x80 else head[1] & 0x7F | head[2] << 7
        if values.count(value) != len(values) or value != value:
            return cls(length)
        layout = segment.format if segment.heads is None else segment.heads.formats[length]
        return cls(length, struct.pack("<" + layout, head, value), value)

    def unless(self, before: _Known) -> _Known:
        """This, as far as it was so before."""
        if self.length != before.length:
            return _Known()
        return self if self.encoded == before.encoded else _Known(self.length)


@dataclass(slots=True)
class _Found:
    """A table, and what it was made of: for each field what stood in front of the values, and those."""

    table: Table
    heads: list[Column]
    values: list[Column]


class _Plan:
    """How records of a form are cut when certain things are expected of them.

    A record has parts: a head and a value for each field, and one for all fields in a row that are the same in all records.
    ``_measured``: of a field whose length is not known, where it says it (if the lengths before it were 0), and its first part.
    ``_layouts``: for `struct`, what is in front of each of these, and behind the last. ``_expected``: parts that are the same in
    all records, and how they are. ``_heads``: the first part of each field, -1 when it is not by itself.
    """

    def __init__(self, form: tuple[Segment, ...], known: Sequence[_Known]) -> None:
        self._fields = list(zip(form, known, strict=True))
        self._measured: list[tuple[int, int, Heads]] = []
        self._layouts = [""]
        self._expected: list[tuple[int, bytes | int]] = []
        self._heads: list[int] = []
        self._parts = self._size = 0
        together = b""
        for segment, one in self._fields:
            if one.encoded:
                together += one.encoded
                self._heads.append(-1)
                continue
            self._same(together)
            together = b""
            self._heads.append(self._parts)
            self._cut(segment, one.length)
        self._same(together)

    def cut(self, part: bytes, starts: list[int], stops: list[int], places: list[int]) -> _Found | None:
        """Those of the records that are as expected; None when there are none."""
        if len(places) < len(starts):
            starts, stops = [starts[place] for place in places], [stops[place] for place in places]
        lengths, ends = self._lengths(part, starts)
        if ends != stops:
            fits = list(map(eq, ends, stops))
            if not any(fits):
                return None
            starts, stops, places = ([*compress(one, fits)] for one in (starts, stops, places))
            lengths = [[*compress(one, fits)] for one in lengths]
        parts = struct.Struct(self._layout(starts, stops, lengths)).unpack_from(part, starts[0])
        columns: list[Column] = [parts[at :: self._parts] for at in range(self._parts)]
        fits = self._as_expected(columns, lengths)
        if fits:
            if not any(fits):
                return None
            places = [*compress(places, fits)]
            columns = [[*compress(one, fits)] for one in columns]
        return self._found(places, columns)

    def _same(self, encoded: bytes) -> None:
        """Fields are in a row that are the same in all records."""
        if encoded:
            self._expected.append((self._parts, encoded))
            self._parts += 1
            self._size += len(encoded)
            self._layouts[-1] += f"{len(encoded)}s"

    def _cut(self, segment: Segment, length: int) -> None:
        """A field is a head and a value; ``length``: which it has, negative when that is not known."""
        if segment.heads is None:
            self._expected.append((self._parts, segment.head))
            self._size += segment.size
            self._layouts[-1] += segment.format
        elif length < 0:
            self._measured.append((self._size + 1, self._parts, segment.heads))
            self._size += 2  # a second byte of the length is counted with it
            self._layouts.append("")
        else:
            self._expected.append((self._parts, segment.heads[length]))
            layout = segment.heads.formats[length]
            self._size += struct.calcsize("<" + layout)
            self._layouts[-1] += layout
        self._parts += 2

    def _lengths(self, part: bytes, ats: list[int]) -> tuple[list[list[int]], list[int]]:
        """What each measured field says, and where the records end if all is as expected; -1 where that leads out of ``part``."""
        lengths: list[list[int]] = []
        last = len(part) - self._size - 1
        lost: set[int] = set()
        if last < 0:
            return lengths, [-1] * len(ats)
        for before, _, _ in self._measured:
            if max(ats) > last:
                lost.update([number for number, at in enumerate(ats) if at > last])
                ats = [at if at <= last else 0 for at in ats]
            found = [part[at + before] for at in ats]
            if max(found) < 0x80:
                ats = list(map(add, ats, found))
            else:
                more = before + 1
                pairs = zip(ats, found, strict=True)
                found = [one if one < 0x80 else one & 0x7F | part[at + more] << 7 for at, one in pairs]
                ats = [at + one + (one > 0x7F) for at, one in zip(ats, found, strict=True)]
            lengths.append(found)
        size = self._size
        ends = [at + size for at in ats]
        for number in lost:
            ends[number] = -1
        return lengths, ends

    def _layout(self, starts: list[int], stops: list[int], lengths: list[list[int]]) -> str:
        """The format of all these records and what is between them."""
        count, width = len(starts), 2 * len(lengths) + 2
        gaps = list(map(sub, starts[1:], stops))
        pieces = [""] * (count * width)
        for at, layout in enumerate(self._layouts):
            pieces[2 * at :: width] = [layout] * count
        for at, ((_, _, heads), found) in enumerate(zip(self._measured, lengths, strict=True)):
            pieces[2 * at + 1 :: width] = map(heads.formats.__getitem__, found)
        known = {gap: f"{gap}x" for gap in set(gaps)}
        pieces[width - 1 :: width] = [*map(known.__getitem__, gaps), ""]
        return "<" + "".join(pieces)

    def _as_expected(self, columns: list[Column], lengths: list[list[int]]) -> list[bool]:
        """Which records have all that is expected of them; nothing when all of them do."""
        count = len(columns[0])
        odd: list[list[bool]] = []
        for at, expected in self._expected:
            if columns[at].count(expected) != count:
                odd.append([one == expected for one in columns[at]])
        for (_, at, heads), found in zip(self._measured, lengths, strict=True):
            wanted = tuple(map(heads.__getitem__, found))
            if wanted != columns[at]:
                odd.append(list(map(eq, wanted, columns[at])))
        fits = odd[0] if odd else []
        for one in odd[1:]:
            fits = list(map(and_, fits, one))
        return fits

    def _found(self, places: list[int], columns: list[Column]) -> _Found | None:
        table = Table(places)
        found = _Found(table, [], [])
        try:
            for at, (segment, one) in zip(self._heads, self._fields, strict=True):
                if at < 0:
                    table.put(segment, [one.value], True)
                    continue
                found.heads.append(columns[at])
                found.values.append(columns[at + 1])
                table.put(segment, columns[at + 1], False)
        except (ValueError, MalformedOtlp):
            return None
        return found
