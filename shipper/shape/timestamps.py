"""When a record says that it was written: text and numbers as nanoseconds since the epoch.

Most lines of a log differ from the one before only behind the second, so the date is looked up and the rest is added. What
cannot be a time (30 February, 25 o'clock) is none: a record without a time is shown where it was read, one with a wrong
time is never found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from shipper.shape.timetext import (
    DAY,
    FORMS,
    LEADING,
    MONTHS,
    SECOND,
    epoch,
    fraction,
    latest,
    offset_of,
    seconds_of,
    since_epoch,
    valid,
)

_CACHED = 4096
_LONGEST = 64  # characters of a time
_HEAD = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)", re.ASCII)
_TAIL = re.compile(r"(?:[.,](\d{1,18}))? ?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_NUMBER = re.compile(r"(\d{9,20})(?:\.(\d{0,18}))?", re.ASCII)


class _NotPlain(Exception):
    """Not of the one form that is read by looking up."""


class _Heads(dict[str, int]):
    """Nanoseconds by date and time to the second, as if in UTC."""

    def __missing__(self, head: str) -> int:
        match = _HEAD.fullmatch(head)
        if match is None or match[6] == "60" or (seconds := since_epoch(*map(int, match.groups()))) is None:
            raise _NotPlain
        if len(self) >= _CACHED:
            self.clear()
        self[head] = found = seconds * SECOND
        return found


class _Tails(dict[str, int]):
    """Nanoseconds by what stands behind the seconds: a fraction and a zone; ``default`` is the offset where there is none."""

    def __init__(self, default: int) -> None:
        super().__init__()
        self._default = default

    def __missing__(self, tail: str) -> int:
        match = _TAIL.fullmatch(tail)
        offset = None if match is None else self._default if match[2] is None else offset_of(match[2])
        if match is None or offset is None:
            raise _NotPlain
        if len(self) >= _CACHED:
            self.clear()
        self[tail] = found = fraction(match[1]) - offset * SECOND
        return found


class TimeReader:
    """Reads times. ``zone`` is that of those that name none; ``form``, where not empty, how they are written (``strptime``)."""

    def __init__(self, zone: tzinfo = UTC, form: str = "") -> None:
        self._zone = zone
        self._form = form
        self._fixed = isinstance(zone, timezone)
        self._default = seconds_of(zone.utcoffset(None)) if self._fixed else 0
        self._heads = _Heads()
        self._tails = _Tails(self._default)
        self._known: dict[str, int] = {}  # of what is not read by looking up; several lines share a second

    def column(self, values: Sequence[Any], observed_ns: int) -> list[int]:
        """Nanoseconds since the epoch of each value, 0 for what is no time.

        ``observed_ns``: when they were read; a time without a year is the last such before, or within a day after.
        """
        if values and isinstance(values[0], bytes):
            values = [value.decode() if isinstance(value, bytes) else value for value in values]
        if values and self._fixed and not self._form:
            heads, tails = self._heads, self._tails
            with suppress(_NotPlain, TypeError, KeyError):
                found = [heads[value[:19]] + tails[value[19:]] for value in values]
                return found if all(map(valid, (min(found), max(found)))) else list(map(valid, found))
        try:
            known = {value: self.one(value, observed_ns) for value in set(values)}
        except TypeError:  # an object or a list
            return [self.one(value, observed_ns) for value in values]
        return list(map(known.__getitem__, values))

    def leading(self, texts: Sequence[bytes], observed_ns: int) -> list[int]:
        """The time that each of these lines begins with, 0 where it begins with none."""
        matches = list(map(LEADING.match, texts))
        found = [0] * len(texts)
        rows = [row for row, match in enumerate(matches) if match is not None]
        times = self.column([match[1].decode() for match in matches if match is not None], observed_ns)
        for row, at in zip(rows, times, strict=True):
            found[row] = at
        return found

    def one(self, value: Any, observed_ns: int) -> int:
        """One value. See `column`."""
        if isinstance(value, bytes):
            value = value.decode()
        if isinstance(value, str):
            return self._text(value.strip(), observed_ns)
        if isinstance(value, bool) or self._form:
            return 0
        if isinstance(value, int):
            return epoch(value, 0)
        return epoch(int(value), round(value % 1 * 1e6) * 1000) if isinstance(value, float) and 0 < value < 1e19 else 0

    def _text(self, text: str, observed_ns: int) -> int:
        if len(text) > _LONGEST:
            return 0
        known = self._known.get(text)
        if known is not None:
            return known
        try:
            found, for_good = self._read(text, observed_ns)
        except (ValueError, OverflowError):
            found, for_good = 0, False
        if for_good:
            if len(self._known) >= _CACHED:
                self._known.clear()
            self._known[text] = found
        return found

    def _read(self, text: str, observed_ns: int) -> tuple[int, bool]:
        """The time, and whether it is the same whenever it is read. Raises ValueError, OverflowError."""
        if self._form:
            return self._formatted(text, observed_ns)
        number = _NUMBER.fullmatch(text)
        if number is not None:
            return epoch(int(number[1]), fraction(number[2])), True
        for form in FORMS:
            match = form.fullmatch(text)
            if match is not None:
                return self._of(match.groupdict(), observed_ns)
        return 0, False

    def _of(self, part: dict[str, str | None], observed_ns: int) -> tuple[int, bool]:
        month = int(part.get("m") or 0) or MONTHS.get(part.get("mon") or "", 0)
        hour = int(part["h"] or 0)
        if part.get("half"):
            if not 1 <= hour <= 12:
                return 0, True
            hour = hour % 12 + (12 if part["half"] == "PM" else 0)
        clock = (int(part["d"] or 0), hour, int(part["mi"] or 0), int(part["s"] or 0))
        rest = fraction(part.get("f"))
        zone = part.get("z")
        offset = None if zone is None else offset_of(zone)
        if zone is not None and offset is None:
            return 0, True

        def at(year: int) -> int:
            seconds = since_epoch(year, month, *clock)
            if seconds is None:
                return 0
            seconds -= self._offset_at(seconds) if offset is None else offset
            return valid(seconds * SECOND + rest) if clock[-1] < 60 or seconds % DAY == 0 else 0

        year = part.get("y") or part.get("y2")
        return (at(int(year)), True) if year else (latest(at, observed_ns), False)

    def _offset_at(self, seconds: int) -> int:
        """The zone's offset at a local time given as if it were UTC."""
        if self._fixed:
            return self._default
        local = datetime(1970, 1, 1) + timedelta(seconds=seconds)
        return seconds_of(local.replace(tzinfo=self._zone).utcoffset())

    def _formatted(self, text: str, observed_ns: int) -> tuple[int, bool]:
        if any(year in self._form for year in ("%Y", "%y", "%c", "%x", "%G")):
            return self._nanoseconds(datetime.strptime(text, self._form)), True
        if "%s" in self._form:
            return 0, True

        def at(year: int) -> int:
            try:
                return self._nanoseconds(datetime.strptime(f"{year} {text}", f"%Y {self._form}"))
            except ValueError:
                return 0

        return latest(at, observed_ns), False

    def _nanoseconds(self, when: datetime) -> int:
        aware = when if when.tzinfo is not None else when.replace(tzinfo=self._zone)
        since = aware - datetime(1970, 1, 1, tzinfo=UTC)
        return valid(((since.days * DAY + since.seconds) * 10**6 + since.microseconds) * 1000)
