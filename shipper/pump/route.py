"""Which records a destination gets: a view of every stream, of which the others stand in each cut as filtered.

Positions, borders and keys are those of the stream itself. So a destination with a route has cursors, resends and halves like any
other, and what it was not to get is neither missing nor pending: it was looked at, and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from shipper.contracts import Batch, Cut, Signal, Stream, StreamKind
from shipper.errors import MalformedOtlp
from shipper.intervals import IntervalSet
from shipper.pump.route_rules import Condition, Rule
from shipper.pump.route_select import AnyOf, take

EVERYTHING = Condition()


@dataclass(frozen=True, slots=True)
class Unrouted:
    """Counts what no route at all takes. ``rules``: those of every destination; ``count`` gets the stream and how many."""

    rules: Sequence[Rule]
    count: Callable[[Stream, int], None]


class Route:
    """The rules of one destination. ``signals``: what they are about; of streams of others it gets nothing."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self.signals: frozenset[Signal] = frozenset().union(*(rule.signals for rule in rules))
        self.unrouted: dict[Signal, Unrouted] = {}
        """By signal: where every destination has a route, one of them counts what none of them takes."""

    def takes(self, stream: Stream) -> bool:
        """Whether anything of a stream may be for this destination; what tells of the life always is."""
        return stream.kind is not StreamKind.DATA or stream.signal in self.signals

    def view(self, stream: Stream) -> Stream:
        """The stream as this destination gets it."""
        any_of = conditions_of(self.rules, stream.signal)
        if stream.kind is not StreamKind.DATA or EVERYTHING in any_of:
            return stream
        return RoutedStream(stream, any_of, self.unrouted.get(stream.signal))


def conditions_of(rules: Iterable[Rule], signal: Signal) -> AnyOf:
    """Of which one must hold for a record of that signal."""
    return tuple(condition for rule in rules if signal in rule.signals for condition in rule.any_of)


class RoutedStream(Stream):
    """``stream``, less the records for which none of the conditions holds."""

    def __init__(self, stream: Stream, any_of: AnyOf, unrouted: Unrouted | None = None) -> None:
        self.id = stream.id
        self.signal = stream.signal
        self.kind = stream.kind
        self.name = stream.name
        self.start = stream.start
        self._stream = stream
        self._any_of = any_of
        self._unrouted = unrouted
        self._all = conditions_of(unrouted.rules, stream.signal) if unrouted is not None else ()
        self._counted = IntervalSet()

    def frontier(self) -> int:
        """See `Stream.frontier`."""
        return self._stream.frontier()

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut`."""
        return self._cut(self._stream.cut(at, resume, limit, observed_ns))

    def cut_up_to(self, at: int, resume: int, end: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut_up_to`."""
        return self._cut(self._stream.cut_up_to(at, resume, end, limit, observed_ns))

    def reread(self, cut: Cut) -> Batch:
        """See `Stream.reread`. With other routes since, the records are those of the routes now."""
        return self._part(self._stream.reread(cut), self._any_of)

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        """See `Stream.halve`; None also where all but one record are for others."""
        if cut.records < 2:
            return None
        halves = self._stream.halve(self._stream.reread(cut).cut)  # which counts the records of others, too
        return None if halves is None else (self.reread(halves[0]).cut, self.reread(halves[1]).cut)

    def border(self, position: int) -> int | None:
        """See `Stream.border`."""
        return self._stream.border(position)

    def valuable(self, start: int, end: int) -> list[tuple[int, int]]:
        """See `Stream.valuable`; it may be the errors of others, as only order depends on it."""
        return self._stream.valuable(start, end)

    def released(self, below: int) -> None:
        """See `Stream.released`."""
        self._stream.released(below)

    @property
    def finished(self) -> bool:
        """See `Stream.finished`."""
        return self._stream.finished

    def first_seen(self, position: int) -> float | None:
        """See `Stream.first_seen`."""
        return self._stream.first_seen(position)

    def _cut(self, batch: Batch | None) -> Batch | None:
        if batch is None:
            return None
        part = self._part(batch, self._any_of)
        if self._unrouted is not None:
            self._count(self._unrouted, batch, part)
        return part

    def _count(self, unrouted: Unrouted, batch: Batch, part: Batch) -> None:
        """What is for nobody counts once, however often its range is cut."""
        start, end = batch.cut.start, batch.cut.end
        if part is not batch and self._counted.missing(start, end):
            left = batch.cut.records - self._part(batch, self._all).cut.records
            if left:
                unrouted.count(self._stream, left)
        self._counted.add(start, end)

    def _part(self, batch: Batch, any_of: AnyOf) -> Batch:
        try:
            return take(any_of, batch)
        except MalformedOtlp:  # nobody can tell what it holds, so nobody may leave anything of it out
            return batch
