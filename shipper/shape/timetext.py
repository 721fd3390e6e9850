"""The forms in which times are written, and the arithmetic of dates: all that `timestamps` needs besides looking things up."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

SECOND = 10**9
DAY = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST = 1 << 63  # receivers keep times as signed numbers
_YEARS = 9  # how far back a 29 February may lie at most

_ZONE = r"\s*(?P<z>[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?(?: [A-Z]{1,5})?(?:\[[\w/+-]+\])?)?"
_CLOCK = r"(?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)(?:[.,](?P<f>\d{1,18}))?"
FORMS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        # 2026-11-23T02:00:08.123+01:00 and its kin, 2026/11/23 02:00:08, 20261123T020008Z, Go's time.String()
        r"(?P<y>\d{4})(?P<sep>[-/]?)(?P<m>\d\d)(?P=sep)(?P<d>\d\d)[Tt _] ?(?P<h>\d\d):?(?P<mi>\d\d)"
        rf"(?::?(?P<s>\d\d)(?:[.,](?P<f>\d{{1,18}}))?)?{_ZONE}(?: m=[+-][\d.]+)?",
        # Nov 23 02:00:08, Mon Nov 23 02:00:08.123 2026, Nov 23, 2026 2:00:08 AM
        r"(?:[A-Z][a-z]{2},? )?(?P<mon>[A-Z][a-z]{2}) +(?P<d>\d{1,2})(?:,? (?P<y>\d{4}))?,? "
        r"(?P<h>\d{1,2}):(?P<mi>\d\d):(?P<s>\d\d)(?:[.,](?P<f>\d{1,18}))?(?: (?P<half>[AP]M))?"
        rf"{_ZONE}(?: (?P<y2>\d{{4}}))?",
        # 23/Nov/2026:02:00:08 +0000, Mon, 23 Nov 2026 02:00:08 GMT
        rf"(?:[A-Z][a-z]+, ?)?(?P<d>\d{{1,2}})[-/ ](?P<mon>[A-Z][a-z]{{2}})[-/ ](?P<y>\d{{4}})[: ]{_CLOCK}{_ZONE}",
        rf"(?P<m>\d\d)(?P<d>\d\d) +{_CLOCK}",  # glog, klog
    )
)
_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTHS = {name: n for n, name in enumerate(_NAMES, 1)}
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?", re.ASCII)

LEADING = re.compile(
    rb"[\[(]?(?:[IWEF](?=\d{4} )|[DIWEFA], \[(?=\d{4}-))?("
    rb"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,18})?(?:Z| ?[+-]\d\d:?\d\d)?(?![\d:])"
    rb"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,18})? \d{4}(?!\d)"
    rb"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,18})?(?![\d:])"
    rb"|\d{4} \d\d:\d\d:\d\d\.\d{6}(?!\d)"
    rb"|\d{10}\.\d{3,9}(?= ))"
)
"""The time that a plain line begins with."""


def zone(name: str) -> tzinfo:
    """``UTC``, ``local``, an offset such as ``+02:00``, or a name of the time zone data base. Raises ValueError."""
    if name in ("UTC", "Z"):
        return UTC
    if name == "local":
        return _Local()
    if _OFFSET.fullmatch(name):
        offset = offset_of(name)
        if offset is None:
            raise ValueError(f"{name} is no offset from UTC")
        return timezone(timedelta(seconds=offset))
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as problem:
        raise ValueError(
            f"there is no time zone {name} on this machine (is tzdata installed?); write an offset such as +02:00, UTC, local"
        ) from problem


class _Local(tzinfo):
    """The zone of this machine."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """See `datetime.tzinfo.utcoffset`."""
        return None if when is None else when.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, when: datetime | None) -> timedelta | None:
        """See `datetime.tzinfo.dst`."""
        return None

    def tzname(self, when: datetime | None) -> str:
        """See `datetime.tzinfo.tzname`."""
        return "local"


def latest(at: Callable[[int], int], observed_ns: int) -> int:
    """The last time, of those that ``at`` gives by year, that is not more than a day after ``observed_ns``; 0: there is none."""
    this = datetime.fromtimestamp(observed_ns // SECOND, UTC).year
    for year in range(this + 1, this - _YEARS, -1):
        found = at(year)
        if 0 < found <= observed_ns + DAY * SECOND:
            return found
    return 0


def since_epoch(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int | None:
    """Seconds since the epoch, as if in UTC; None where there is no such time.

    A leap second is the second after it, as in POSIX; only the last minute of a day in UTC can have one.
    """
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    return days * DAY + hour * 3600 + minute * 60 + second


def offset_of(zone: str) -> int | None:
    """Seconds east of UTC; None for an impossible one."""
    match = _OFFSET.match(zone)
    if match is None:
        return 0  # Z, UTC, GMT
    hours, minutes = int(match[2]), int(match[3] or 0)
    if hours > 23 or minutes > 59:
        return None
    return (hours * 3600 + minutes * 60) * (-1 if match[1] == "-" else 1)


def fraction(digits: str | None) -> int:
    """Nanoseconds of the digits behind a decimal point."""
    return int(digits[:9].ljust(9, "0")) if digits else 0


def epoch(value: int, fraction_ns: int) -> int:
    """Seconds, milli-, micro- or nanoseconds since the epoch, told apart by magnitude: all lie between 1973 and 2262.

    ``fraction_ns``: what was behind the decimal point, as if of a second."""
    if value < 10**8:
        return 0
    scale = next((10**power for power, limit in ((9, 10**11), (6, 10**14), (3, 10**17)) if value < limit), 1)
    return valid(value * scale + fraction_ns * scale // SECOND)


def valid(nanoseconds: int) -> int:
    """``nanoseconds``, or 0 when a receiver could not keep it."""
    return nanoseconds if 0 < nanoseconds < _LAST else 0


def seconds_of(offset: timedelta | None) -> int:
    """An offset in whole seconds."""
    return 0 if offset is None else round(offset.total_seconds())
