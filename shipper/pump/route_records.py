"""Finds the records of one scope envelope for which a condition holds, looking only at those that may.

Most questions rule out most records at once: an attribute's key that is nowhere in the bytes, plain lines without severity.
A record that has to be looked at and cannot be understood is taken: that is no reason to keep it back.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.scan import LINES
from shipper.otlp.wire import FIXED64, LENGTH, field, fields, read_tag, read_varint, skip
from shipper.pump.route_rules import Condition, Pattern

_VALUE = 2 << 3 | LENGTH  # the tag of the value of a KeyValue
UNIT = 0x12  # the tag of a record in its scope envelope
_ATTRIBUTES = {Signal.LOGS: 6, Signal.TRACES: 9}  # the number of a record's field that holds an attribute
_TIME, _SEVERITY, _EVENT_NAME = 1, 2, 12  # the numbers of such fields of a log record
_TIME_TAG, _SEVERITY_TAG = _TIME << 3 | 1, _SEVERITY << 3


@dataclass(frozen=True, slots=True)
class Run:
    """Records that follow each other in ``data``: where each begins (its tag), and where the last one ends.

    ``plain``: how many of them, from the first on, are lines of which nothing is known but their text.
    """

    data: bytes
    signal: Signal
    starts: array[int]
    stop: int
    plain: int

    def end(self, index: int) -> int:
        """Where a record ends."""
        return self.starts[index + 1] if index + 1 < len(self.starts) else self.stop

    def content(self, index: int) -> tuple[int, int]:
        """Where the fields of a record begin and end."""
        at = self.starts[index] + 1
        while self.data[at] & 0x80:
            at += 1
        return at + 1, self.end(index)

    def pieces(self, indexes: Sequence[int]) -> Iterator[bytes]:
        """The bytes of some records, in order; neighbours in one piece."""
        first = last = -1
        for index in indexes:
            if index != last:
                if first >= 0:
                    yield self.data[self.starts[first] : self.end(last - 1)]
                first = index
            last = index + 1
        if first >= 0:
            yield self.data[self.starts[first] : self.end(last - 1)]


def run_at(data: bytes, signal: Signal, at: int, end: int) -> Run:
    """The records from ``at`` on, up to a field of another kind. Raises `MalformedOtlp`."""
    starts = array("I")
    if signal is Signal.LOGS:
        startswith = data.startswith
        while at < end:
            size, head = LINES[data[at : at + 3]]
            if at + size > end or not startswith(head, at) or data[at + size - 9] != 0x59:
                break
            starts.append(at)
            at += size
    plain = len(starts)
    while at < end and data[at] == UNIT:
        starts.append(at)
        if at + 2 < end and data[at + 1] < 0x80:  # what nearly all of them are: a length of one or two bytes
            stop = at + 2 + data[at + 1]
        elif at + 2 < end and data[at + 2] < 0x80:
            stop = at + 3 + (data[at + 1] & 0x7F) + (data[at + 2] << 7)
        else:
            stop = end + 1
        at = stop if stop <= end else skip(data, LENGTH, at + 1, end)[1]
    return Run(data, signal, starts, at, plain)


def may_hold(data: bytes, at: int, end: int, any_of: Iterable[Condition]) -> bool:
    """False when no record in ``data[at:end]`` can be meant: a key that is asked for is nowhere in these bytes."""
    return any(all(data.find(_needle(key), at, end) >= 0 for key, _ in condition.attributes) for condition in any_of)


def picked(run: Run, any_of: Iterable[Condition]) -> list[int]:
    """The records for which one of the conditions holds, by their number, in order."""
    found: set[int] = set()
    every = range(len(run.starts))
    for condition in any_of:
        rest = [index for index in every if index not in found] if found else every
        found |= _holding(run, condition, rest)
    return sorted(found)


def _holding(run: Run, condition: Condition, among: Sequence[int]) -> set[int]:
    """Those of ``among`` for which a condition holds."""
    if condition.severity is not None:
        among = _of_severity(run, *condition.severity, among)
    for key, glob in condition.attributes:
        among = _with_attribute(run, key, glob, among)
    if condition.event_name is not None:
        among = _with_event_name(run, condition.event_name, among)
    holding = set(among)
    for other in condition.never:
        holding -= _holding(run, other, sorted(holding))
    return holding


def _asked(run: Run, among: Sequence[int]) -> Sequence[int]:
    """Those that are more than a line of text."""
    if run.plain == 0:
        return among
    if isinstance(among, range):
        return range(max(among.start, run.plain), among.stop)
    return [index for index in among if index >= run.plain]


def _of_severity(run: Run, least: int, most: int, among: Sequence[int]) -> list[int]:
    if run.signal is not Signal.LOGS:
        return []
    data = run.data
    found = []
    for index in _asked(run, among):
        at, end = run.content(index)
        if end - at > 11 and data[at] == _TIME_TAG and data[at + 9] == _SEVERITY_TAG and data[at + 10] < 0x80:
            severity = data[at + 10]  # as most encoders write a record
        else:
            severity = _severity(data, at, end, least)
        if least <= severity <= most:
            found.append(index)
    return found


def _severity(data: bytes, at: int, end: int, unknown: int) -> int:
    """The severity of a log record, wherever it stands; ``unknown`` where its bytes cannot be understood."""
    severity = 0
    try:
        while at < end:
            number, wire, behind = read_tag(data, at, end)
            value, at = skip(data, wire, behind, end)
            if number == _SEVERITY:
                severity = read_varint(data, value, at)[0]
    except MalformedOtlp:
        return unknown
    return severity


def _with_attribute(run: Run, key: str, glob: Pattern, among: Sequence[int]) -> list[int]:
    number = _ATTRIBUTES.get(run.signal)
    among = _asked(run, among)
    if number is None or not among:
        return []
    needle = _needle(key)
    candidates = _mentioning(run, needle, among[0])
    wanted = among if isinstance(among, range) else set(among)
    return [index for index in candidates if index in wanted and _has(run, index, number, needle, glob)]


@lru_cache(256)
def _needle(key: str) -> bytes:
    """What a KeyValue of that key begins with."""
    return field(1, key.encode())


def _mentioning(run: Run, needle: bytes, first: int) -> list[int]:
    """The records from ``first`` on in which these bytes are, wherever."""
    find, starts = run.data.find, run.starts
    found: list[int] = []
    at = find(needle, starts[first], run.stop)
    while at >= 0:
        index = bisect_right(starts, at) - 1
        found.append(index)
        at = find(needle, run.end(index), run.stop)
    return found


def _has(run: Run, index: int, number: int, needle: bytes, glob: Pattern) -> bool:
    """Whether a record has an attribute whose KeyValue begins with ``needle`` (its key), and whose value fits."""
    data = run.data
    at, end = run.content(index)
    wanted = number << 3 | LENGTH
    try:
        while at < end:
            tag = data[at]
            if tag < 0x80 and tag & 7 == LENGTH:
                length, behind = data[at + 1], at + 2
                if length >= 0x80:
                    length, behind = read_varint(data, at + 1, end)
                at = behind + length
                if tag == wanted and data.startswith(needle, behind) and _fits(data, behind + len(needle), at, glob):
                    return True
            elif tag & 7 == FIXED64 and tag < 0x80:
                at += 9
            else:
                _, wire, behind = read_tag(data, at, end)
                at = skip(data, wire, behind, end)[1]
    except (MalformedOtlp, IndexError):
        return True
    return at > end


def _fits(data: bytes, at: int, end: int, glob: Pattern) -> bool:
    """Whether the value of a KeyValue fits, of which ``data[at:end]`` is what follows its key."""
    if end - at >= 2 and data[at] == _VALUE and at + 2 + data[at + 1] == end:  # what nearly all of them are
        return glob.fits_value(data[at + 2 : end])
    return any(
        glob.fits_value(data[value:stop]) for number, wire, _, value, stop in fields(data, at, end) if number == 2
    )


def _with_event_name(run: Run, glob: Pattern, among: Sequence[int]) -> list[int]:
    if run.signal is not Signal.LOGS:
        return []
    data = run.data
    found = []
    for index in _asked(run, among):
        at, end = run.content(index)
        name = ""
        try:
            for number, _, _, value, stop in fields(data, at, end):
                if number == _EVENT_NAME:
                    name = data[value:stop].decode()
        except (MalformedOtlp, UnicodeDecodeError):
            found.append(index)
            continue
        if glob.fits(name):
            found.append(index)
    return found
