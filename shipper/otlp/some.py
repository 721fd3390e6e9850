"""The log records of a block, some at a time: by column as far as they have the same fields, the others one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from shipper.otlp.columns import LogRow, Table
from shipper.otlp.cutting import FEW, Cutter
from shipper.otlp.forms import form_of
from shipper.otlp.rowwalk import Expected, row_at

SOME = 256
"""Records made at a time: with what is made of them they stay in the processor's cache (measured: 1.5 times faster)."""

_MOST_FORMS = 4  # remembered of an origin; of more forms there are too few records each to be worth it
_SHARE = 3  # of the records read at a time, at least one in so many is to have a form
_TRY = 1024  # records read one by one that are worth another look for forms
_MOST_TRIES = 8 * _TRY
_USELESS = 4  # times in a row that hardly a record had a form, after which it is forgotten

T = TypeVar("T")


def _not_encoded(place: int) -> bytes:
    raise LookupError(f"record {place} is of no request")


@dataclass(slots=True)
class Some:
    """Log records in a row. ``rows``: those that are in no table, by their place; ``encoded``: those of a request, as they are."""

    count: int
    tables: Sequence[Table]
    rows: dict[int, LogRow]
    encoded: Callable[[int], bytes] = _not_encoded

    def in_order(self, of_table: Callable[[Table], Sequence[T]], of_row: Callable[[int, LogRow], T]) -> list[T]:
        """What is made of each of them, in their order. ``of_row`` is told the place."""
        if len(self.tables) == 1 and not self.rows:
            return list(of_table(self.tables[0]))
        found = {place: of_row(place, row) for place, row in self.rows.items()}
        for table in self.tables:
            found.update(zip(table.places, of_table(table), strict=True))
        return [found[place] for place in range(self.count)]


def walk(data: bytes, borders: tuple[Sequence[int], Sequence[int]], forms: Forms) -> Iterator[Some]:
    """The records of which ``borders`` tell where they begin and end, some at a time.

    Raises `MalformedOtlp` when it comes to one that is broken.
    """
    layout: list[Expected] = []
    starts, stops = borders
    at, count = 0, len(starts)
    while at < count:
        end = min(at + SOME, count)
        base, last = starts[at], stops[end - 1]
        begins, ends = ([one - base for one in every[at:end]] for every in (starts, stops))
        part = data[base:last] + b"\0"
        tables, left = forms.tables(part, begins, ends)
        rows = {}
        if left:
            text = str(part, "latin-1")  # a slice of it is a string already, and is what it should be when it is ASCII
            rows = {place: row_at(part, text, begins[place], ends[place], layout) for place in left}

        def encoded(place: int, part: bytes = part, begins: list[int] = begins, ends: list[int] = ends) -> bytes:
            return part[begins[place] : ends[place]]

        yield Some(end - at, tables, rows, encoded)
        at = end


class Forms:
    """The forms that the records of one origin have, as far as they were met. May be used in several threads.

    Where records have hardly anything in common it is given up to look for forms, and tried again after many more records.
    """

    def __init__(self) -> None:
        self._cutters: list[Cutter] = []
        self._credit = _MOST_TRIES

    def tables(self, part: bytes, starts: list[int], stops: list[int]) -> tuple[list[Table], list[int]]:
        """Tables of most of these records, and which are in none."""
        found: list[Table] = []
        left = list(range(len(starts)))
        tried = iter(self._cutters.copy())
        while len(left) >= FEW:
            known = next(tried, None)
            if known is None and self._credit <= 0:
                break
            cutter = known or self._new(part, starts, stops, left[len(left) // 2])
            before = len(left)
            for table in cutter.tables(part, starts, stops, left) if cutter else ():
                found.append(table)
                taken = set(table.places) if len(table) < len(left) else ()
                left = [place for place in left if place not in taken] if taken else []
            useful = before - len(left) >= max(FEW, len(starts) // _SHARE)
            if known is None:
                self._remember(cutter if useful else None)
            else:
                self._judge(known, useful)
        self._credit = min(self._credit + len(left), _MOST_TRIES)
        return found, left

    def _remember(self, cutter: Cutter | None) -> None:
        """Keep a new form that was of use."""
        if cutter is None:
            self._credit -= _TRY
        elif len(self._cutters) < _MOST_FORMS:
            self._cutters = [*self._cutters, cutter]

    def _judge(self, cutter: Cutter, useful: bool) -> None:
        """Forget a form that no longer is of use."""
        cutter.useless = 0 if useful else cutter.useless + 1
        if cutter.useless >= _USELESS:
            self._cutters = [one for one in self._cutters if one is not cutter]

    @staticmethod
    def _new(part: bytes, starts: list[int], stops: list[int], place: int) -> Cutter | None:
        form = form_of(part[starts[place] : stops[place]])
        return None if form is None else Cutter(form)
