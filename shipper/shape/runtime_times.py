"""Times as container runtimes write them (RFC 3339 with up to nine decimals), a chunk of them at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import repeat
from operator import add, itemgetter

RFC3339 = rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)"
"""Groups: everything up to the seconds, the decimals, the zone."""

_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_FULL = b"0000-00-00T00:00:00.000000000"
_SPLIT = re.compile(rb"(?m)^(?:" + RFC3339 + rb")?$")
_SECOND_OF, _DECIMALS_OF = itemgetter(slice(0, 19)), itemgetter(slice(20, 29))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_NS = 10**9
_UTC = (b"Z", b"+00:00")
_IMPOSSIBLE = -1  # 30 February, hour 24, ...


def stamps_of(stamps: Sequence[bytes]) -> list[int] | None:
    """Nanoseconds since the epoch of stamps in one zone; None where there are others.

    Nine decimals, or as many as it takes (Go leaves out zeros at the end). It is how runtimes write most of them, and takes
    a third of the time. 0 for a stamp of a time that there is not.
    """
    if not stamps:
        return []
    zone = stamps[0][-6:] if stamps[0][-6:-5] in (b"+", b"-") else b"Z"
    if zone == b"Z":
        if b"".join(stamps).count(zone) != len(stamps):
            return None
        stamps = list(map(bytes.ljust, map(bytes.removesuffix, stamps, repeat(zone)), repeat(29), repeat(b"0")))
    elif any(stamp[29:] != zone for stamp in stamps):
        return None
    shape = _FULL if zone == b"Z" else _FULL + zone.translate(_ALIKE)
    if b"".join(stamps).translate(_ALIKE) != shape * len(stamps):
        return None
    seconds = list(map(_SECOND_OF, stamps))
    known = {second: epoch_ns(second, zone) for second in set(seconds)}
    whole, parts = map(known.__getitem__, seconds), map(int, map(_DECIMALS_OF, stamps))
    return _sums(whole, parts, possible=_IMPOSSIBLE not in known.values())


def any_stamps_of(stamps: Sequence[bytes]) -> list[int]:
    """The same for stamps of any kind, which hold no line end; 0 also for what is none."""
    found = _SPLIT.findall(b"\n".join(stamps)) if stamps else []
    if len(found) != len(stamps):
        return [any_stamps_of([stamp])[0] for stamp in stamps] if len(stamps) > 1 else [0]
    return times_of(*zip(*found, strict=True)) if found else []


def times_of(seconds: Sequence[bytes], decimals: Sequence[bytes], zones: Sequence[bytes]) -> list[int]:
    """The same from the groups of `RFC3339`, one each for many times."""
    known = {pair: epoch_ns(*pair) for pair in set(zip(seconds, zones, strict=True))}
    whole = map(known.__getitem__, zip(seconds, zones, strict=True))
    if set(map(len, decimals)) != {9}:
        decimals = list(map(bytes.ljust, decimals, repeat(9), repeat(b"0")))
    return _sums(whole, map(int, decimals), possible=_IMPOSSIBLE not in known.values())


def _sums(whole: map[int], parts: map[int], *, possible: bool) -> list[int]:
    if possible:
        return list(map(add, whole, parts))
    return [0 if begin == _IMPOSSIBLE else begin + part for begin, part in zip(whole, parts, strict=True)]


@lru_cache(4096)
def epoch_ns(second: bytes, zone: bytes) -> int:
    """A time without decimals in nanoseconds since the epoch; -1 for one that does not exist, or lies before it."""
    offset = "+00:00" if zone in _UTC else zone.decode()
    try:
        at = datetime.fromisoformat(second.decode() + offset)
        return max(_IMPOSSIBLE, (at - _EPOCH) // _SECOND * _NS)
    except (ValueError, OverflowError):
        return _IMPOSSIBLE
