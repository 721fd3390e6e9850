"""One request on its way: sent part by part, and where some of it is refused, in smaller parts until those are found.

A Prometheus takes all of a request or nothing, and says only why. What was sent before and is now refused as old is there
already. In order of time, halves first, a few more requests tell what that is, and the rest gets through. What remains
refused is counted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass, field

from shipper.contracts import Accepted
from shipper.errors import Rejected, Retryable
from shipper_exporters._prometheus_answers import Refused
from shipper_exporters._prometheus_convert import Sample
from shipper_exporters._prometheus_series import Series
from shipper_exporters._remote_write import Part

HOPELESS = (
    32  # refusals more than acceptances: from here on no part is halved any more, each is only tried once as it is
)

Post = Callable[[bytes], Awaitable[Refused | None]]
"""Sends one body. Raises what `Exporter.send` does."""


@dataclass(frozen=True)
class WriteBody:
    """A request made ready: its parts in order of time, and the data points that had to be left out, by reason."""

    parts: tuple[Part, ...] = field(repr=False)
    points: int
    left_out: Mapping[str, int]


@dataclass(slots=True)
class _Leg:
    part: Part
    doubt: bool  # it was sent before, and nobody knows whether it arrived
    admitted: bool = False


class Journey:
    """How far a request got. It outlives a failed attempt: the next one goes on where that ended."""

    def __init__(self, body: WriteBody, series: Series, *, doubt: bool, there: Set[tuple[int, bytes]]) -> None:
        """``doubt``: all of it may be there already. ``there``: times and series of samples that are."""
        self.arrived: list[Part] = []
        """What was taken so far."""
        self._there = there
        self._points = body.points
        self._series = series
        self._legs = deque(_Leg(part, doubt) for part in body.parts)
        self._reasons: Counter[str] = Counter(body.left_out)
        self._lost: set[int] = set()
        self._refusals = self._acceptances = 0
        self._content = ""  # why something was refused that is not old

    async def go(self, post: Post) -> Accepted:
        """Send what is not sent yet. Raises what ``post`` does, and `Rejected` when nothing at all is taken."""
        while self._legs:
            leg = self._legs[0]
            if not leg.admitted:
                self._admit(leg)
            refused = None
            if leg.part.samples:
                refused = await self._attempt(leg, post)
            self._legs.popleft()
            if refused is not None:
                self._refuse(leg, refused)
            elif leg.part.samples:
                self._acceptances += 1
                self._series.accepted(leg.part.samples)
                self.arrived.append(leg.part)
        if self._content and not self._acceptances:
            raise Rejected(self._content, isolate=False)
        message = "; ".join(f"{count} x {reason}" for reason, count in self._reasons.most_common())
        return Accepted(min(self._points, self._reasons.total()), message)

    async def _attempt(self, leg: _Leg, post: Post) -> Refused | None:
        sent, leg.doubt = leg.doubt, True  # also when it is broken off
        try:
            refused = await post(leg.part.data)
        except Retryable as error:
            leg.doubt = sent or not error.unsent
            error.unsent = not leg.doubt and not self._acceptances  # of the whole request
            raise
        leg.doubt = sent or (refused is not None and refused.repeated)
        return refused

    def _admit(self, leg: _Leg) -> None:
        kept, over = self._series.admit(leg.part.samples)
        if over:
            leg.part = Part.of(kept)
            for sample in over:
                self._lose(sample, f"of a series beyond max_series ({self._series.most})")
        leg.admitted = True

    def _refuse(self, leg: _Leg, refused: Refused) -> None:
        self._refusals += 1
        if refused.partial:  # it took the rest, so nothing of it is sent again; of what it did not take it names one
            self._acceptances += 1
            self._series.accepted(leg.part.samples)
            if not (refused.old and leg.doubt):
                self._lose(leg.part.samples[0], refused.reason)
            return
        halves = leg.part.halves() if self._refusals - self._acceptances <= HOPELESS else None
        if halves is not None:
            self._legs.extendleft(_Leg(half, leg.doubt, admitted=True) for half in reversed(halves))
            return
        # One that was late before this request came is not there because of an attempt whose answer got lost.
        for sample in leg.part.samples:
            if not refused.old:
                self._content = refused.reason
                self._lose(sample, refused.reason)
            elif sample[:2] not in self._there and (not leg.doubt or self._series.is_late(sample)):
                self._lose(sample, refused.reason)

    def _lose(self, sample: Sample, reason: str) -> None:
        """Count the data point that a sample is of, once."""
        if sample[3] not in self._lost:
            self._lost.add(sample[3])
            self._reasons[reason] += 1
