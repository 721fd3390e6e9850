"""Texts that are JSON objects, read as columns.

Which fields the objects of a log have is learned: for those a type is made that msgspec fills by itself, several times as fast
as a dict, and a text with any other field is refused by it and read the slow way. So what is learned never decides what a text
says, only how fast it is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import msgspec

from shipper.shape.columns import ABSENT, Parsed, Table
from shipper.shape.nested import TooWide, by_keys, expand

MOST_FIELDS = 64  # of a learned type; a log with more than these has no fixed form
_AHEAD = 32  # texts that are looked at when something is learned
_LONGEST_NAME = 128
_FAULTS = (ValueError, RecursionError)  # msgspec's own errors are ValueErrors

Fields = dict[str, Any]
_object_of = msgspec.json.Decoder(Fields).decode


class JsonParser:
    """Reads JSON objects. ``matters``: whether what a top-level field of this name holds is of any use."""

    cause = "json"

    def __init__(self, matters: Callable[[str], bool]) -> None:
        self._matters = matters
        self._layout = _Layout((), matters)

    def parse(self, texts: Sequence[bytes], rows: Sequence[int]) -> Parsed:
        """The fields of ``texts[row]`` for each of ``rows``."""
        chosen = texts if len(rows) == len(texts) else [texts[row] for row in rows]
        odd: list[tuple[int, Fields]] = []
        failed: list[int] = []
        tables: list[Table] = []
        at = 0
        while at < len(chosen):
            run = _Run(self._layout)
            at = self._follow(run, chosen, rows, at, odd, failed)
            tables += run.tables()
        if odd:
            tables += by_keys([(row, {k: v for k, v in fields.items() if self._matters(k)}) for row, fields in odd])
        return Parsed(tables, failed, failed)

    def _follow(
        self,
        run: _Run,
        texts: Sequence[bytes],
        rows: Sequence[int],
        at: int,
        odd: list[tuple[int, Fields]],
        failed: list[int],
    ) -> int:
        """Read from ``at`` on until something is learned; how far that was."""
        left = iter(texts[at:])
        while at < len(texts):
            at += run.read(left, rows, at)
            if at == len(texts):
                break
            fields = _slowly(texts[at])
            if fields is None:
                failed.append(rows[at])
            elif self._learn(fields, texts[at + 1 : at + _AHEAD]):
                break
            else:
                odd.append((rows[at], fields))
            at += 1
        return at

    def _learn(self, fields: Fields, ahead: Sequence[bytes]) -> bool:
        """Take up fields that are new; False when there are none, or no room for them."""
        names = dict.fromkeys(self._layout.names)
        before = len(names)
        _take(names, fields)
        if len(names) == before or not all(name in names for name in fields):
            return False
        for text in ahead:
            _take(names, _slowly(text) or {})
        self._layout = _Layout(tuple(names), self._matters)
        return True


class _Layout:
    """A type with certain fields. ``getters``: those that matter."""

    def __init__(self, names: tuple[str, ...], matters: Callable[[str], bool]) -> None:
        fields = [(f"f{number}", Any, ABSENT) for number in range(len(names))]
        made = msgspec.defstruct(
            "Layout",
            fields,
            rename={field[0]: name for field, name in zip(fields, names, strict=True)},
            forbid_unknown_fields=True,
            gc=False,  # what is read from JSON has no cycles
        )
        self.names = names
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(made).decode
        self.getters = [(name, attrgetter(f"f{i}")) for i, name in enumerate(names) if matters(name)]


@dataclass(slots=True)
class _Run:
    """Texts that were read with one layout."""

    layout: _Layout
    records: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def read(self, texts: Iterator[bytes], rows: Sequence[int], at: int) -> int:
        """Read up to the first text that has another form, which is then taken from ``texts``; how many were read."""
        before = len(self.records)
        with suppress(*_FAULTS):
            self.records.extend(map(self.layout.decode, texts))
        count = len(self.records) - before
        self.rows += rows[at : at + count]
        return count

    def tables(self) -> list[Table]:
        """What was read."""
        if not self.records:
            return []
        try:
            columns = [((name,), list(map(get, self.records))) for name, get in self.layout.getters]
            return [Table(self.rows, expand(columns))]
        except TooWide:
            return by_keys([(row, self._fields(record)) for row, record in zip(self.rows, self.records, strict=True)])

    def _fields(self, record: Any) -> Fields:
        found = ((name, get(record)) for name, get in self.layout.getters)
        return {name: value for name, value in found if value is not ABSENT}


def _take(names: dict[str, None], fields: Fields) -> None:
    for name in fields:
        if len(names) >= MOST_FIELDS:
            return
        if len(name) <= _LONGEST_NAME and name.isprintable() and '"' not in name and "\\" not in name:
            names[name] = None


def _slowly(text: bytes) -> Fields | None:
    """The object that a text is, also with what only some libraries write (NaN, halves of surrogate pairs)."""
    with suppress(*_FAULTS):
        return _object_of(text)
    try:
        found = json.loads(text.decode())
    except _FAULTS:
        return None
    return found if isinstance(found, dict) else None
