"""Which records a destination gets: a view of every stream, of which the others stand in each cut as filtered.

So a destination with a route has cursors, resends and halves like any other, and what it was not to get is neither missing nor
pending: it was looked at, and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from shipper.contracts import Batch, Cut, Signal, Stream, StreamKind
from shipper.errors import MalformedOtlp
from shipper.pump.route_rules import Condition, Rule
from shipper.pump.route_select import AnyOf, take
from shipper.shape.view import StreamView

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


class RoutedStream(StreamView):
    """``stream``, less the records for which none of the conditions holds."""

    def __init__(self, stream: Stream, any_of: AnyOf, unrouted: Unrouted | None = None) -> None:
        super().__init__(stream)
        self._any_of = any_of
        self._unrouted = unrouted
        self._all = conditions_of(unrouted.rules, stream.signal) if unrouted is not None else ()

    def shown(self, batch: Batch) -> Batch:
        """See `StreamView.shown`. With other routes than when it was cut, the records are those of the routes now."""
        return _part(batch, self._any_of)

    def newly_cut(self, batch: Batch) -> Batch:
        """See `StreamView.newly_cut`. What is for nobody counts once, however often its range is cut."""
        part = self.shown(batch)
        if self._unrouted is not None and self.met(batch.cut) and part is not batch:
            left = batch.cut.records - _part(batch, self._all).cut.records
            if left:
                self._unrouted.count(self._stream, left)
        return part

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        """See `Stream.halve`; None also where all but one record are for others."""
        if cut.records < 2:
            return None
        halves = self._stream.halve(self._stream.reread(cut).cut)  # which counts the records of others, too
        return None if halves is None else (self.reread(halves[0]).cut, self.reread(halves[1]).cut)


def _part(batch: Batch, any_of: AnyOf) -> Batch:
    try:
        return take(any_of, batch)
    except MalformedOtlp:  # nobody can tell what it holds, so nobody may leave anything of it out
        return batch
