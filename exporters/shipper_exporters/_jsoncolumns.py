"""Columns of log records as they stand in JSON, all values of one at once."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from shipper.otlp.columns import Table
from shipper.otlp.forms import FLOAT, INTEGER, TEXT
from shipper_exporters._stencil import BODY, SPAN_ID, TRACE_ID, Fill, Kinds

_SEPARATORS = ("\x7f", "\ufdd0", "\ufdd1")  # JSON escapes none of them; the last two are no characters at all
_ESCAPED = b'"\\' + bytes(range(0x20))
_SHORTEST, _LATEST = 10**18, 10**19 - 1  # of times with 19 digits
_encode = msgspec.json.Encoder().encode


def json_texts(values: Sequence[bytes]) -> Sequence[bytes]:
    """Each of these UTF-8 texts as it stands between the quotes of a JSON string."""
    joined = b"".join(values)
    if len(joined.translate(None, _ESCAPED)) == len(joined):
        return values
    for separator in _SEPARATORS:
        mark = separator.encode()
        joined = mark.join(values)
        if joined.count(mark) == len(values) - 1:
            return _encode(str(joined, "utf-8"))[1:-1].split(mark)
    return [_encode(str(value, "utf-8"))[1:-1] for value in values]


def json_values(values: Sequence[Any]) -> list[bytes]:
    """Numbers and truth values as JSON."""
    return _encode(values)[1:-1].split(b",")


def digits(values: Sequence[int]) -> list[bytes]:
    """The digits of these whole numbers, of which there is at least one."""
    return str(list(values))[1:-1].encode().split(b", ")


def split_times(times: Sequence[int]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """The seconds of these times in ns, and the nine digits behind each second."""
    if min(times) < _SHORTEST or max(times) > _LATEST:
        written = [b"%010d" % time_ns for time_ns in times]
        return [one[:-9] for one in written], [one[-9:] for one in written]
    together = str(list(times)).encode() + b" "  # behind each a comma and a space, or what is as long
    parts = struct.Struct("10s9s2x" * len(times)).unpack_from(together, 1)
    return parts[::2], parts[1::2]


def _one(mark: Any) -> bytes:
    """A mark, between its quotes if it has some."""
    return mark.encode() if isinstance(mark, str) else _encode(mark)


def _bodies(table: Table) -> Sequence[bytes]:
    return json_texts(table.bodies or ())


def _trace_ids(table: Table) -> Sequence[bytes]:
    return [*map(str.encode, table.trace_ids)]


def _span_ids(table: Table) -> Sequence[bytes]:
    return [*map(str.encode, table.span_ids)]


KINDS = Kinds(_one, {TEXT: json_texts, INTEGER: json_values, FLOAT: json_values})
"""Attributes in JSON. A float that is no number becomes null, as msgspec writes it."""

FIELDS: tuple[tuple[bytes, Fill], ...] = (
    (BODY.encode(), _bodies),
    (TRACE_ID.encode(), _trace_ids),
    (SPAN_ID.encode(), _span_ids),
)
"""The fields that are written the same way in all JSON."""
