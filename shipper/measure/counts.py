"""How many requests were served, by whom and how fast: plain values, and the one rule for adding to them.

Nothing here waits, writes or knows a clock: a `Book` is replaced by the next one as a whole, so that what is committed
to the ledger, shown and shipped is always one and the same object.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

VERSION = 1
OTHER = "other"
IDLE_NS = 600 * 10**9
"""A service that was neither declared nor asked for so long gives way to a new one where there is no room for both."""


class Serving(NamedTuple):
    """Who served: the identity of a service, as the numbers are kept apart by it. Empty: not known."""

    service: str
    release: str = ""
    generation: str = ""
    environment: str = ""


REST = Serving(OTHER)
"""Who served what there was no room for."""


class Key(NamedTuple):
    """What one line of the book is about. ``route`` is empty unless routes are asked for.

    ``job``: the runs of a job, counted here by its name beside being requests of who runs it.
    """

    who: Serving
    route: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """The numbers of one key since ``start_ns``; they only grow. ``buckets`` has one more entry than there are bounds.

    ``untimed``: requests of which nobody said how long they took; they are in no bucket.
    """

    start_ns: int
    seen_ns: int
    buckets: tuple[int, ...]
    errors: int = 0
    duration_ns: int = 0
    untimed: int = 0

    @property
    def requests(self) -> int:
        """All requests, whatever became of them."""
        return sum(self.buckets) + self.untimed


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a book may become, and where its latency buckets end (nanoseconds, ascending; each end is inside)."""

    buckets_ns: tuple[int, ...]
    max_services: int
    max_routes: int  # of one service; as many jobs


class Tally:
    """What was found in one look at the streams, not yet in any book."""

    def __init__(self, buckets_ns: Sequence[int]) -> None:
        self._bounds = buckets_ns
        self.lines: dict[Key, list[int]] = {}  # errors, duration, untimed, then the buckets

    def declare(self, key: Key) -> None:
        """It exists, even if it never serves a request."""
        self._numbers(key)

    def count(self, key: Key, *, error: bool, duration_ns: int | None) -> None:
        """One request; None: nobody said how long it took."""
        numbers = self._numbers(key)
        numbers[0] += error
        if duration_ns is None:
            numbers[2] += 1
            return
        numbers[1] += duration_ns
        numbers[3 + bisect_left(self._bounds, duration_ns)] += 1

    def _numbers(self, key: Key) -> list[int]:
        numbers = self.lines.get(key)
        if numbers is None:
            numbers = self.lines[key] = [0] * (len(self._bounds) + 4)
        return numbers


@dataclass(frozen=True, slots=True)
class Book:
    """All numbers of a life. Never changed: `plus` makes the next one."""

    bounds: Bounds
    lines: Mapping[Key, Line] = field(default_factory=dict)
    folded: Mapping[str, int] = field(
        default_factory=dict
    )  # requests counted under `OTHER`, by what there was no room for

    def plus(self, tally: Tally, now_ns: int) -> Book:
        """The book with what was found. The same arguments always give the same book, so a failed commit may be repeated."""
        lines, folded = dict(self.lines), dict(self.folded)
        for wanted, (errors, duration, untimed, *buckets) in tally.lines.items():
            key, cause = self._place(lines, wanted, now_ns)
            if cause:
                folded[cause] = folded.get(cause, 0) + sum(buckets) + untimed
            old = lines.get(key) or Line(now_ns, now_ns, (0,) * len(buckets))
            lines[key] = replace(
                old,
                seen_ns=max(old.seen_ns, now_ns),
                buckets=tuple(map(int.__add__, old.buckets, buckets)),
                errors=old.errors + errors,
                duration_ns=old.duration_ns + duration,
                untimed=old.untimed + untimed,
            )
        return Book(self.bounds, lines, folded)

    def by_service(self) -> Iterator[tuple[Serving, list[tuple[str, Line]]]]:
        """The requests of each service, with their routes."""
        groups: dict[Serving, list[tuple[str, Line]]] = {}
        for key, line in self.lines.items():
            if not key.job:
                groups.setdefault(key.who, []).append((key.route, line))
        yield from groups.items()

    def by_job(self) -> Iterator[tuple[Serving, list[tuple[str, Line]]]]:
        """The runs of each service's jobs, with their names."""
        groups: dict[Serving, list[tuple[str, Line]]] = {}
        for key, line in self.lines.items():
            if key.job:
                groups.setdefault(key.who, []).append((key.job, line))
        yield from groups.items()

    def encode(self) -> str:
        """As JSON for the ledger."""
        rows = [
            [*key.who, key.route, line.start_ns, line.seen_ns, line.errors, line.duration_ns, *line.buckets]
            for key, line in self.lines.items()
        ]
        whole: dict[str, Any] = {
            "version": VERSION,
            "buckets": self.bounds.buckets_ns,
            "lines": rows,
            "folded": dict(self.folded),
        }
        if any(line.untimed for line in self.lines.values()):
            whole["untimed"] = [line.untimed for line in self.lines.values()]
        if any(key.job for key in self.lines):
            whole["jobs"] = [key.job for key in self.lines]
        return json.dumps(whole, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str, bounds: Bounds) -> Book:
        """What `encode` gave. Raises ValueError for anything else, and for a book with other buckets."""
        try:
            whole: dict[str, Any] = json.loads(text)
            if whole["version"] != VERSION:
                raise ValueError(f"version {whole['version']}")
            if tuple(whole["buckets"]) != bounds.buckets_ns:
                raise ValueError("other latency buckets")
            untimed = whole.get("untimed") or [0] * len(whole["lines"])
            jobs = whole.get("jobs") or [""] * len(whole["lines"])
            rows = zip(whole["lines"], untimed, jobs, strict=True)
            lines = dict(_line(row, len(bounds.buckets_ns) + 1, count, job) for row, count, job in rows)
            return cls(bounds, lines, {str(cause): int(count) for cause, count in whole["folded"].items()})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a book: {error!r}") from error

    def _place(self, lines: dict[Key, Line], key: Key, now_ns: int) -> tuple[Key, str]:
        """Where ``key`` is counted, and what there was no room for. An idle service is struck out to make room."""
        cause = ""
        if key in lines:
            return key, cause
        services = {other.who for other in lines} - {REST}
        if key.who not in services | {REST} and len(services) >= self.bounds.max_services:
            idle = _idlest(lines, services)
            if now_ns - idle[0] >= IDLE_NS:
                for gone in [other for other in lines if other.who == idle[1]]:
                    del lines[gone]
            else:
                key, cause = Key(REST, key.route and OTHER, key.job and OTHER), "service"
        if key.route and key not in lines:
            routes = sum(1 for other in lines if other.who == key.who and other.route not in ("", OTHER))
            if routes >= self.bounds.max_routes:
                key, cause = Key(key.who, OTHER), cause or "route"
        if key.job and key not in lines:
            jobs = sum(1 for other in lines if other.who == key.who and other.job not in ("", OTHER))
            if jobs >= self.bounds.max_routes:
                key, cause = Key(key.who, job=OTHER), cause or "job"
        return key, cause


def _idlest(lines: Mapping[Key, Line], services: set[Serving]) -> tuple[int, Serving]:
    """When the service that was idle longest was last seen, and which it is."""
    return min((max(line.seen_ns for key, line in lines.items() if key.who == who), who) for who in services)


def _line(row: Sequence[Any], buckets: int, untimed: int, job: str) -> tuple[Key, Line]:
    service, release, generation, environment, route, *numbers = row
    every = [*numbers, untimed]
    if len(numbers) != 4 + buckets or not all(isinstance(number, int) and number >= 0 for number in every):
        raise ValueError("not a line of a book")
    start, seen, errors, duration, *counts = numbers
    key = Key(Serving(str(service), str(release), str(generation), str(environment)), str(route), str(job))
    return key, Line(start, seen, tuple(counts), errors, duration, untimed)
