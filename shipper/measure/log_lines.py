"""Finding requests in the text of a log: which lines are requests, whether they failed, how long they took.

A service that logs each request says all that is needed to count it; nothing has to be built into it. Work is done by
chunk: a pattern is searched for in all of it at once, and lines are only taken apart where one of them is unusual.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

COMMON = (
    r'^\S+ \S+ [^\[\n]*\[[^\]\n]*\] "(?P<method>[A-Z]+) (?P<route>[^\s"?]*)[^"\n]*" (?P<status>[0-9]{3}) \S+'
    r'(?: "(?:[^"\\\n]|\\.)*" "(?:[^"\\\n]|\\.)*")?(?: "?(?P<duration>[0-9]+(?:\.[0-9]+)?)"?)?'
)
"""An access log in the common or the combined format, as Apache, nginx and most servers write it; a number behind it is the
duration, which both can be told to add."""

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "μs": 10**3, "ns": 1}
FAILED_STATUS = 500
FAILED_LEVELS = frozenset(("error", "fatal", "critical", "panic", "alert", "emergency", "err", "crit", "emerg"))
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(s|ms|us|µs|μs|ns)?\s*", re.ASCII)
_MOST_NS = 1 << 62


class Request(NamedTuple):
    """One request that a line tells of. ``duration_ns`` is None where the line does not say it."""

    error: bool
    duration_ns: int | None
    route: str


@dataclass(frozen=True, slots=True)
class Names:
    """Which field, or group of a pattern, says what. A number of ``duration`` without a unit is in ``unit_ns``."""

    status: str = "status"
    duration: str = "duration"
    level: str = "level"
    route: str = "route"
    unit_ns: int = UNITS["s"]


class LineFormat(ABC):
    """What lines look like."""

    @abstractmethod
    def requests(self, chunk: bytes) -> Iterator[Request]:
        """Those that a chunk of whole lines tells of, one a line at most."""


def line_format(text: str, names: Names) -> LineFormat:
    """``common``, ``json``, or a regular expression with named groups. Raises ValueError for an expression that is none."""
    if text == "json":
        return JsonLines(names)
    return PatternLines(COMMON if text == "common" else text, names)


class PatternLines(LineFormat):
    """A line in which the pattern is found is a request."""

    def __init__(self, pattern: str, names: Names) -> None:
        """Raises ValueError: not a regular expression, or it has neither a group for the status nor one for the level."""
        try:
            self._pattern = re.compile(pattern.encode(), re.MULTILINE)
        except re.error as problem:
            raise ValueError(f"not a regular expression: {problem}") from problem
        groups = self._pattern.groupindex
        if names.status not in groups and names.level not in groups:
            raise ValueError(f"has no group (?P<{names.status}>...), so nothing tells which requests failed")
        self._names = names
        self._status, self._duration, self._level, self._route = (
            groups.get(name) for name in (names.status, names.duration, names.level, names.route)
        )

    def requests(self, chunk: bytes) -> Iterator[Request]:
        """See `LineFormat.requests`."""
        behind = 0  # the end of the line that was counted last
        for match in self._pattern.finditer(chunk):
            start, end = match.span()
            if start < behind:
                continue
            line_end = chunk.find(b"\n", start)
            line_end = len(chunk) if line_end < 0 else line_end
            if end > line_end:  # it reaches over the end of its line, which is not what a pattern for lines means
                yield from self._by_line(chunk[chunk.rfind(b"\n", 0, start) + 1 :])
                return
            behind = line_end + 1
            yield self._request(match)

    def _by_line(self, chunk: bytes) -> Iterator[Request]:
        for line in chunk.split(b"\n"):
            match = self._pattern.search(line)
            if match is not None:
                yield self._request(match)

    def _request(self, match: re.Match[bytes]) -> Request:
        def group(number: int | None) -> str:
            found = match[number] if number is not None else None
            return found.decode("utf-8", "replace") if found else ""

        return _request(group(self._status), group(self._level), group(self._duration), group(self._route), self._names)


class JsonLines(LineFormat):
    """A line that is a JSON object with a status or a duration is a request. Dots in a name lead into objects."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._hints = [f'{name.rpartition(".")[2]}"'.encode() for name in (names.status, names.duration)]

    def requests(self, chunk: bytes) -> Iterator[Request]:
        """See `LineFormat.requests`."""
        names = self._names
        for line in chunk.split(b"\n"):
            if not any(hint in line for hint in self._hints):  # most lines of most logs
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not isinstance(found, dict):
                continue
            status, duration = _at(found, names.status), _at(found, names.duration)
            if status or duration:
                yield _request(status, _at(found, names.level), duration, _at(found, names.route), names)


def _at(record: dict[str, Any], name: str) -> str:
    """A field as text; empty where there is none."""
    value: Any = record.get(name)
    if value is None and "." in name:
        value = record
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _request(status: str, level: str, duration: str, route: str, names: Names) -> Request:
    failed = status.isdecimal() and len(status) < 9 and int(status) >= FAILED_STATUS
    return Request(failed or level.lower() in FAILED_LEVELS, _nanoseconds(duration, names.unit_ns), route)


def _nanoseconds(text: str, unit_ns: int) -> int | None:
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    duration = float(found[1]) * (UNITS[found[2]] if found[2] else unit_ns)
    return round(duration) if math.isfinite(duration) and duration < _MOST_NS else None
