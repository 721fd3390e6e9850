"""The structured metadata of records of one form, made by column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shipper.otlp.columns import Column, Table
from shipper.otlp.forms import INTEGER, TEXT
from shipper_exporters._jsoncolumns import digits
from shipper_exporters._loki.names import loki_text
from shipper_exporters._loki.wire import pairs
from shipper_exporters._stencil import Texts

OBSERVED, TRACE, SPAN = "observed_timestamp", "trace_id", "span_id"

Head = Callable[[int, int, str, str], bytes]
"""The metadata of a record's severity, its flags, the severity's text, and the name of the event."""


def own_metadata(table: Table, names: Sequence[str], head: Head, behind: bytes) -> list[bytes]:
    """The metadata of each record; ``names``: of the attributes, ``behind``: what all records have."""
    made = Texts(len(table))
    _put_heads(made, table, head)
    if table.times and table.observed:
        _put(made, OBSERVED, digits(table.observed))
    for name, ids in ((TRACE, table.trace_ids), (SPAN, table.span_ids)):
        if ids:
            _put(made, name, [*map(str.encode, ids)])
    for name, column in zip(names, table.attributes, strict=True):
        if column.same:
            made.same(pairs(name, _written(column, column.values[:1]))[0])
        else:
            made.each(pairs(name, _written(column, column.values)))
    made.same(behind)
    return made.all()


def _put_heads(made: Texts, table: Table, head: Head) -> None:
    nothing = [b""] * len(table)
    texts = [[str(one, "utf-8") for one in column or nothing] for column in (table.severity_texts, table.events)]
    numbers = [column or [0] * len(table) for column in (table.severities, table.flags)]
    every = list(zip(*numbers, *texts, strict=True))
    known = {one: head(*one) for one in set(every)}
    if len(known) == 1:
        made.same(known[every[0]])
    else:
        made.each([*map(known.__getitem__, every)])


def _put(made: Texts, name: str, values: Sequence[bytes]) -> None:
    if values.count(values[0]) == len(values):
        made.same(pairs(name, values[:1])[0])
    else:
        made.each(pairs(name, values))


def _written(column: Column, values: Sequence[Any]) -> Sequence[bytes]:
    if column.kind == INTEGER:
        return digits(values)
    return values if column.kind == TEXT else [loki_text(value).encode() for value in values]
