"""A platform's wall-clock times, brought onto our own monotonic clock without trusting the clock of this host.

A host that was born a minute ago may not have synchronised its clock yet, and one with a wrong clock would drain too late
or at once. The answer that carries a time also carries a ``Date`` header, made by the same platform: the difference of those
two is what counts. Where there is none, or none that can be right, the host's own clock has to do.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from shipper.clock import Clock

_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d+))?\s*([Zz]|UTC|GMT|[+-]\d\d:?\d\d)?")
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)  # a server's clock that says less was never set
BELIEVED_SKEW = 366 * 86_400.0  # seconds; a larger difference between two clocks is rather a broken header


class Times:
    """Converts; one for all watchers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def monotonic_of(self, wall_ns: int, server_date: str | None = None) -> float:
        """The moment ``wall_ns`` (nanoseconds since the epoch, as the platform counts) in monotonic seconds.

        ``server_date``: the ``Date`` header of the answer that stated it, just received.
        """
        now_ns = self._server_now(server_date)
        return self._clock.monotonic() + (wall_ns - now_ns) / 1e9

    def _server_now(self, server_date: str | None) -> int:
        own = self._clock.wall_ns()
        if not server_date:
            return own
        try:
            stated = parse_http_date(server_date)
        except ValueError:
            return own
        skew = (stated - own) / 1e9
        if stated < EARLIEST.timestamp() * 1e9 or abs(skew) > BELIEVED_SKEW:
            return own
        # The header counts whole seconds: a difference below that says nothing, and a finer clock is the better one.
        return own if abs(skew) <= 1.5 else stated


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of an ISO 8601 / RFC 3339 time, or one such as ``21 Jan 2019 09:00:43 GMT`` or
    ``Mon, 19 Sep 2016 18:29:47 GMT``. Without a zone it is UTC. Raises ValueError with the text in it.
    """
    text = text.strip()
    found = _ISO.fullmatch(text)
    if found is None:
        return parse_http_date(text)
    day, time, fraction, zone = found.groups()
    zone = "+00:00" if not zone or zone.upper() in ("Z", "UTC", "GMT") else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{zone}")
    except ValueError as problem:
        raise ValueError(f"{text!r} is no time: {problem}") from None
    return int(moment.timestamp()) * 1_000_000_000 + int((fraction or "").ljust(9, "0")[:9] or 0)


def parse_http_date(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 1123 date, with or without the weekday. Raises ValueError."""
    try:
        moment = parsedate_to_datetime(text.strip())
    except (TypeError, ValueError, IndexError, OverflowError):
        raise ValueError(f"{text[:60]!r} is no time") from None
    if moment.tzinfo is None:  # "-0000": UTC, with nothing known of the place
        moment = moment.replace(tzinfo=UTC)
    try:
        return int(moment.timestamp() * 1e9)
    except (OverflowError, ValueError):
        raise ValueError(f"{text[:60]!r} is no time") from None
