"""Times and texts as JSON documents have them, made for a whole run of records at once."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

_SECOND = 1_000_000_000
_LATEST = 9_223_372_036_854_775_807  # as far as the type ``date_nanos`` reaches: the year 2262
_CONTROLS = bytes(range(0x0A)) + bytes(range(0x0B, 0x20))
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_RUN = 10_000

encode = msgspec.json.Encoder().encode
"""A value as JSON."""


def timestamp(ns: int) -> str:
    """A time in ns since the epoch as ISO 8601 in UTC, always with nine digits.

    Both types that Elasticsearch has for times take it: ``date_nanos`` keeps all of it, ``date`` sorts by its milliseconds.
    """
    seconds, rest = divmod(min(ns, _LATEST), _SECOND)
    return f"{_second(seconds)}.{rest:09d}Z"


@lru_cache(256)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def json_texts(lines: Sequence[bytes]) -> list[bytes]:
    """Each of these UTF-8 texts as it stands between the quotes of a JSON string."""
    joined = b"\n".join(lines)
    if (
        joined.count(b"\n") != len(lines) - 1
    ):  # some have several lines, so the joined text does not tell where one ends
        return [encode(str(line, "utf-8"))[1:-1] for line in lines]
    if b"\\" in joined:
        joined = joined.replace(b"\\", b"\\\\")
    if b'"' in joined:
        joined = joined.replace(b'"', b'\\"')
    if len(joined.translate(None, _CONTROLS)) != len(joined):
        joined = _CONTROL.sub(_escaped, joined)
    return joined.split(b"\n")


def _escaped(found: re.Match[bytes]) -> bytes:
    return encode(str(found[0], "ascii"))[1:-1]


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
