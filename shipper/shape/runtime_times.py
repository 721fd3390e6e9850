"""Times as container runtimes write them (RFC 3339 with up to nine decimals), a chunk of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import repeat
from operator import add

RFC3339 = rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)"
"""Groups: everything up to the seconds, the decimals, the zone."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_NS = 10**9
_UTC = (b"Z", b"+00:00")
_IMPOSSIBLE = -1  # 30 February, hour 24, ...


def times_of(seconds: Sequence[bytes], decimals: Sequence[bytes], zones: Sequence[bytes]) -> list[int]:
    """Nanoseconds since the epoch, from the groups of `RFC3339`, one each for many times; 0 for one that there is not."""
    known = {pair: epoch_ns(*pair) for pair in set(zip(seconds, zones, strict=True))}
    whole = map(known.__getitem__, zip(seconds, zones, strict=True))
    if set(map(len, decimals)) != {9}:
        decimals = list(map(bytes.ljust, decimals, repeat(9), repeat(b"0")))
    parts = map(int, decimals)
    if _IMPOSSIBLE in known.values():
        return [0 if begin == _IMPOSSIBLE else begin + part for begin, part in zip(whole, parts, strict=True)]
    return list(map(add, whole, parts))


@lru_cache(4096)
def epoch_ns(second: bytes, zone: bytes) -> int:
    """A time without decimals in nanoseconds since the epoch; -1 for one that does not exist, or lies before it."""
    offset = "+00:00" if zone in _UTC else zone.decode()
    try:
        at = datetime.fromisoformat(second.decode() + offset)
        return max(_IMPOSSIBLE, (at - _EPOCH) // _SECOND * _NS)
    except (ValueError, OverflowError):
        return _IMPOSSIBLE
