"""Log records by column: one list for each field, over many records of one form, so that what is done with them is done by list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

from shipper.otlp.decode import value_of
from shipper.otlp.encode import AttributeValue
from shipper.otlp.forms import (
    ATTRIBUTE,
    BODY,
    EVENT,
    FLAGS,
    INTEGER,
    OBSERVED,
    OTHER,
    SEVERITY,
    SEVERITY_TEXT,
    SPAN,
    TEXT,
    TIME,
    TRACE,
    TRUTH,
    Segment,
)
from shipper.otlp.messages import parse_part
from shipper.otlp.wire import read_varint

_SIGN = 1 << 63
_SHORT = 4  # bytes of most numbers


class LogRow(NamedTuple):
    """One log record. Times in ns since the epoch, 0 for unknown; ids in hex, "" for none; severity is a SeverityNumber."""

    time_ns: int
    observed_ns: int
    severity: int
    severity_text: str
    body: AttributeValue
    attributes: Mapping[str, AttributeValue]
    event_name: str
    trace_id: str
    span_id: str
    flags: int


row_of_parts: Callable[[tuple[Any, ...]], LogRow] = partial(tuple.__new__, LogRow)
"""A `LogRow` of its fields, in a third of the time that a call of the class takes."""


@dataclass(slots=True)
class Column:
    """The values of one attribute. ``same``: they are known to be equal (others may be, too).

    Texts are UTF-8, which was looked at; other values are what they are.
    """

    name: str
    kind: int
    values: Sequence[Any]
    same: bool = False


@dataclass(slots=True)
class Table:
    """Records of one form. ``places``: which they are of those that were given, ascending.

    Times in ns since the epoch, 0 for unknown; texts as UTF-8 and ids in hex, empty for none. What no record has is empty as a
    whole, but ``bodies``, which are None then. ``scalar``: all attributes are texts, numbers or truth values.
    """

    places: Sequence[int]
    times: Sequence[int] = ()
    observed: Sequence[int] = ()
    severities: Sequence[int] = ()
    severity_texts: Sequence[bytes] = ()
    bodies: Sequence[bytes] | None = None
    trace_ids: Sequence[str] = ()
    span_ids: Sequence[str] = ()
    flags: Sequence[int] = ()
    events: Sequence[bytes] = ()
    attributes: list[Column] = field(default_factory=list)
    scalar: bool = True

    def __len__(self) -> int:
        return len(self.places)

    def put(self, segment: Segment, values: Sequence[Any], same: bool) -> None:
        """Take up a field of all records, as it stands in them. Raises ValueError when one of the values is none."""
        if same:
            values = values[:1]
        number = segment.number
        if number == ATTRIBUTE:
            values = _VALUES[segment.kind](values, segment.name) if segment.kind in _VALUES else values
            self.scalar &= segment.kind != OTHER
        elif number in _TEXTS:
            values = _checked(values)
        elif number in (TRACE, SPAN):
            values = b"".join(values).hex("\n", len(values[0])).split("\n")
        elif number == SEVERITY and max(values) >= 0x80:
            raise ValueError("a number of several bytes")
        if same:
            values = list(values) * len(self.places)
        if number == ATTRIBUTE:
            self.attributes.append(Column(segment.name, segment.kind, values, same))
        else:
            setattr(self, _FIELDS[number], values)

    def rows(self) -> list[LogRow]:
        """Each record by itself."""
        names = [column.name for column in self.attributes]
        values = [texts(column.values) if column.kind == TEXT else column.values for column in self.attributes]
        attributes = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
        fields = zip(
            self.times or repeat(0, len(self)),
            self.observed or repeat(0),
            self.severities or repeat(0),
            texts(self.severity_texts) if self.severity_texts else repeat(""),
            repeat(None) if self.bodies is None else texts(self.bodies),
            attributes or [{} for _ in self.places],
            texts(self.events) if self.events else repeat(""),
            self.trace_ids or repeat(""),
            self.span_ids or repeat(""),
            self.flags or repeat(0),
            strict=False,
        )
        return list(map(row_of_parts, fields))


def texts(values: Sequence[bytes]) -> list[str]:
    """These texts, of which there is at least one, as strings."""
    found = str(b"\0".join(values), "utf-8").split("\0")
    return found if len(found) == len(values) else [str(value, "utf-8") for value in values]


def _checked(values: Sequence[bytes], _: str = "") -> Sequence[bytes]:
    """The same; raises UnicodeDecodeError unless all are UTF-8."""
    if not b"".join(values).isascii():
        str(b"\0".join(values), "utf-8")
    return values


def _truths(values: Sequence[int], _: str) -> list[bool]:
    if max(values) >= 0x80:
        raise ValueError("a truth value of several bytes")
    return [value != 0 for value in values]


def _integers(values: Sequence[bytes], _: str) -> list[int]:
    """The signed numbers of 64 bits that these varints are. Raises ValueError for one that is none."""
    known: dict[bytes, int] = {}
    distinct = set(values)
    widths = set(map(len, distinct))
    for width in widths:
        some = [value for value in distinct if len(value) == width] if len(widths) > 1 else list(distinct)
        known.update(zip(some, _short(some, width) if width <= _SHORT else map(_long, some), strict=True))
    return list(map(known.__getitem__, values))


def _short(values: list[bytes], width: int) -> list[int]:
    """Numbers of ``width`` bytes each: in all but the last of these the highest bit is set."""
    joined = b"".join(values)
    found = list(joined[::width])
    for at in range(1, width):
        if min(joined[at - 1 :: width]) < 0x80:
            raise ValueError("bytes behind a number")
        found = [low + ((high - 1) << 7 * at) for low, high in zip(found, joined[at::width], strict=True)]
    if max(joined[width - 1 :: width]) >= 0x80:
        raise ValueError("a number goes on behind its end")
    return found


def _long(value: bytes) -> int:
    number, behind = read_varint(value, 0, len(value))
    if behind != len(value):
        raise ValueError("bytes behind a number")
    return number if number < _SIGN else number - 2 * _SIGN


def _others(values: Sequence[bytes], name: str) -> list[AttributeValue]:
    found = []
    for value in values:
        pair = parse_part("KeyValue", value)
        if pair.key != name:
            raise ValueError("another attribute")
        found.append(value_of(pair.value))
    return found


_VALUES: Mapping[int, Callable[[Sequence[Any], str], Sequence[Any]]] = {
    TEXT: _checked,
    INTEGER: _integers,
    TRUTH: _truths,
    OTHER: _others,
}
_TEXTS = frozenset({SEVERITY_TEXT, BODY, EVENT})
_FIELDS = {
    TIME: "times",
    OBSERVED: "observed",
    SEVERITY: "severities",
    SEVERITY_TEXT: "severity_texts",
    BODY: "bodies",
    TRACE: "trace_ids",
    SPAN: "span_ids",
    FLAGS: "flags",
    EVENT: "events",
}
