"""The structured metadata of records of one form, made by column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from shipper.otlp.columns import Table
from shipper.otlp.forms import INTEGER, TEXT
from shipper_exporters._jsoncolumns import digits
from shipper_exporters._loki.names import loki_text
from shipper_exporters._loki.wire import pair_heads
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
            _put(made, name, "\n".join(ids).encode().split(b"\n"))
    for name, column in zip(names, table.attributes, strict=True):
        values = column.values[:1] if column.same else column.values
        _put(made, name, values if column.kind == TEXT else _written(column.kind, values))
    made.same(behind)
    return made.all()


def _put_heads(made: Texts, table: Table, head: Head) -> None:
    columns = (table.severities, table.flags, table.severity_texts, table.events)
    every = list(zip(*(column or repeat(0) for column in columns), table.places, strict=False))
    if all(column.count(column[0]) == len(table) for column in columns if column):
        every = every[:1]
    known = {one[:4]: head(one[0], one[1], str(one[2] or b"", "utf-8"), str(one[3] or b"", "utf-8")) for one in every}
    if len(known) == 1:
        made.same(known[every[0][:4]])
    else:
        made.each([known[one[:4]] for one in every])


def _put(made: Texts, name: str, values: Sequence[bytes]) -> None:
    """A pair of each record; of all records, where there is one value."""
    heads = pair_heads(name, values)
    if len(values) == 1 or values.count(values[0]) == len(values):
        made.same(heads[0] + values[0])
        return
    if heads.count(heads[0]) == len(heads):
        made.same(heads[0])
    else:
        made.each(heads)
    made.each(values)


def _written(kind: int, values: Sequence[Any]) -> Sequence[bytes]:
    return digits(values) if kind == INTEGER else [loki_text(value).encode() for value in values]
