"""Times and texts as JSON documents have them, made for a whole run of records at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import add

import msgspec

from shipper_exporters._jsoncolumns import split_times
from shipper_exporters._stencil import OBSERVED, TIME, Fill

_SECOND = 1_000_000_000
_LATEST = 9_223_372_036_854_775_807  # as far as the type ``date_nanos`` reaches: the year 2262
_RUN = 10_000

encode = msgspec.json.Encoder().encode
"""A value as JSON."""


def timestamp(ns: int) -> str:
    """A time in ns since the epoch as ISO 8601 in UTC, always with nine digits.

    Both types that Elasticsearch has for times take it: ``date_nanos`` keeps all of it, ``date`` sorts by its milliseconds.
    """
    seconds, rest = divmod(min(ns, _LATEST), _SECOND)
    return f"{_second(seconds)}.{rest:09d}Z"


def timestamps(times: Sequence[int]) -> list[bytes]:
    """The same for each of these, of which there is at least one, without the letter at its end."""
    if times.count(times[0]) == len(times):
        return [timestamp(times[0])[:-1].encode()] * len(times)
    seconds, behind = split_times([min(time_ns, _LATEST) for time_ns in times] if max(times) > _LATEST else times)
    known = {second: b"%b." % _second(int(second)).encode() for second in set(seconds)}
    return list(map(add, map(known.__getitem__, seconds), behind))


@lru_cache(256)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def numbers(start: int, count: int) -> Iterator[tuple[bytes, list[bytes]]]:
    """``count`` numbers from ``start`` on, in runs: what their digits begin with, and how each goes on.

    So nothing is made for each number, only for each ten thousand.
    """
    end = start + count
    while start < end:
        thousands, first = divmod(start, _RUN)
        last = min(first + end - start, _RUN)
        yield (b"%d" % thousands if thousands else b""), _endings(bool(thousands))[first:last]
        start += last - first


@lru_cache(2)
def _endings(padded: bool) -> list[bytes]:
    return [b"%04d" % number if padded else b"%d" % number for number in range(_RUN)]


TIMES: tuple[tuple[bytes, Fill], ...] = (
    (timestamp(TIME)[:-1].encode(), lambda table: timestamps(table.times)),
    (timestamp(OBSERVED)[:-1].encode(), lambda table: timestamps(table.observed)),
)
"""What stands in a table of records where the times of an example stand."""
