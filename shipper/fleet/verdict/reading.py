"""From counters to what was served in each minute: exact at births, resets and gaps, or left out and counted as left out.

Two values of a counter a minute apart are that minute's increase. A counter's first value is one only if it was seen at 0
in that minute, at its birth; one that fell began anew, and what it has since is what was counted since. Over a gap nobody
knows which minute it was, and a host whose clock is fast puts its counts into minutes of others: neither is compared.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from shipper.fleet.questions import NoAnswer
from shipper.fleet.verdict.client import Found
from shipper.fleet.verdict.model import Cell, Count, Group, Host
from shipper.fleet.verdict.queries import AGE, BEGAN, BORN, HOSTS, MINUTE, NOW, PART, STARTED

_PATIENCE = 2
"""Minutes between two values that are still taken for one minute's increase: a push may come late."""
_FAST = 2
"""Minutes; a sample on a full minute is in the next one, too, in Prometheus 2."""


@dataclass(slots=True)
class Generation:
    """What is known of one generation. Times in unix seconds."""

    started: float | None = None
    hosts: float = 0.0
    age: float | None = None
    first: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """The answer about generations."""

    now: float
    generations: Mapping[str, Generation]
    envs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Served:
    """The answer about hosts, by generation. In ``latency`` a bad request is one that took longer than the objective.

    ``no_buckets``: hosts that have no bucket ending there. ``resets``: how often counters began anew. ``fast``: hosts whose
    clock is. ``newest``: the last full minute anything was heard in, 0 for none.
    """

    errors: Mapping[str, Group]
    latency: Mapping[str, Group]
    no_buckets: Mapping[str, int]
    resets: Mapping[str, int]
    fast: tuple[str, ...]
    newest: int


def read_generations(found: Iterable[Found]) -> Known:
    """Take the first answer apart. Raises `NoAnswer` for numbers that are none."""
    generations: dict[str, Generation] = defaultdict(Generation)
    envs: set[str] = set()
    now = math.nan
    for one in found:
        value = one.points[-1][1] if one.points else math.nan
        if not math.isfinite(value):
            raise NoAnswer(f"Prometheus gives {value} for {one.name or one.labels.get(PART)}")
        part = one.labels.get(PART, "")
        if part == NOW:
            now = value
            continue
        about = generations[one.labels.get("generation", "")]
        envs.add(one.labels.get("env", ""))
        if part == STARTED or (part == BEGAN and about.started is None):
            about.started = value
        elif part == HOSTS:
            about.hosts = value
        elif part == AGE:
            about.age = value
        elif not part:
            about.first[one.name] = value
    if math.isnan(now):
        raise NoAnswer("Prometheus does not say what time it is")
    generations.pop("", None)
    return Known(now, generations, frozenset(envs))


def read_hosts(found: Iterable[Found], first: int, last: int, now: float) -> Served:
    """Take the second answer apart: increases in the minutes after ``first`` and up to ``last``. Raises `NoAnswer`."""
    hosts: dict[tuple[str, str], _Counters] = defaultdict(_Counters)
    for one in found:
        hosts[one.labels.get("generation", ""), one.labels.get("instance", "")].take(one)
    errors: dict[str, list[Host]] = defaultdict(list)
    latency: dict[str, list[Host]] = defaultdict(list)
    left: dict[str, int] = defaultdict(int)
    slow_left: dict[str, int] = defaultdict(int)
    no_buckets: dict[str, int] = defaultdict(int)
    resets: dict[str, int] = defaultdict(int)
    fast: list[str] = []
    newest = 0
    for (generation, name), counters in sorted(hosts.items()):
        seen = counters.minutes
        if not seen:
            continue
        newest = max(newest, max((minute for minute in seen if minute <= last), default=0))
        requests, lost, fell = counters.requests(first, last)
        resets[generation] += fell
        if max(seen) > now / MINUTE + _FAST:
            fast.append(name)
            continue
        left[generation] += lost
        born = min(seen) if min(seen) in counters.born and min(seen) > first else None
        errors[generation].append(Host(name, requests, born))
        slow, slow_lost = counters.slow(first, last)
        if slow is None:
            no_buckets[generation] += 1
        else:
            slow_left[generation] += slow_lost
            latency[generation].append(Host(name, slow, born))
    groups = {name: Group(name, tuple(errors[name]), left[name]) for name in sorted({name for name, _ in hosts})}
    slow_groups = {name: Group(name, tuple(some), slow_left[name]) for name, some in latency.items()}
    return Served(groups, slow_groups, dict(no_buckets), dict(resets), tuple(fast), newest)


class _Counters:
    """The counters of one host, by minute."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, bool], dict[int, float]] = {}
        self._within: dict[int, float] = {}
        self._timed: dict[int, float] = {}
        self.born: set[int] = set()

    @property
    def minutes(self) -> set[int]:
        """In which anything was heard."""
        return {minute for values in self._requests.values() for minute in values}

    def take(self, one: Found) -> None:
        """One series of the answer."""
        values = dict(_by_minute(one))
        if BORN in one.labels:
            self.born.update(values)
        elif "le" in one.labels:
            into = self._timed if one.labels["le"] in ("+Inf", "Inf") else self._within
            into.update(values)
        else:
            key = one.labels.get("route", ""), one.labels.get("outcome") == "error"
            known = self._requests.setdefault(key, {})
            for minute, value in values.items():
                known[minute] = known.get(minute, 0.0) + value

    def requests(self, first: int, last: int) -> tuple[dict[Cell, Count], int, int]:
        """By minute and route; how many fell into no minute; how often a counter began anew."""
        totals: dict[Cell, list[int]] = defaultdict(lambda: [0, 0])
        lost = fell = 0
        for (route, is_error), values in self._requests.items():
            for minute, more, told, anew in _increases(values, self.born, first, last):
                fell += anew
                if not told:
                    lost += more
                    continue
                cell = totals[Cell(minute, route)]
                cell[0] += more
                cell[1] += more if is_error else 0
        return {cell: Count(total, bad) for cell, (total, bad) in totals.items() if total}, lost, fell

    def slow(self, first: int, last: int) -> tuple[dict[Cell, Count] | None, int]:
        """How many took longer than the objective, by minute; None without the bucket that ends there."""
        if not self._within or not self._timed:
            return None, 0
        totals: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        lost = 0
        for position, values in enumerate((self._timed, self._within)):
            for minute, more, told, _ in _increases(values, self.born, first, last):
                if told:
                    totals[minute][position] += more
                elif position == 0:
                    lost += more
        return {
            Cell(minute): Count(timed, max(0, timed - within)) for minute, (timed, within) in totals.items() if timed
        }, lost


def _increases(
    values: Mapping[int, float], born: set[int], first: int, last: int
) -> Iterator[tuple[int, int, bool, bool]]:
    """For each minute after ``first``: the increase, whether it is that minute's, and whether the counter began anew."""
    before: tuple[int, float] | None = None
    for minute in sorted(values):
        value = values[minute]
        if before is None:
            if minute in born and first < minute <= last:
                yield minute, round(value), True, False
        elif first < minute <= last:
            anew = value < before[1]
            more = value if anew else value - before[1]
            yield minute, round(more), minute - before[0] <= _PATIENCE, anew
        before = minute, value


def _by_minute(one: Found) -> Iterator[tuple[int, float]]:
    for at, value in one.points:
        if not math.isfinite(value) or value < 0:
            raise NoAnswer(f"Prometheus gives {value} for {one.name or 'a counter'}, which no counter can be")
        yield round(at / MINUTE), value
