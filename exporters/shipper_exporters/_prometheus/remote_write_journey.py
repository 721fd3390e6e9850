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
from shipper_exporters._prometheus.answers import Refused
from shipper_exporters._prometheus.remote_write import Part
from shipper_exporters._prometheus.samples import NO_POINT, Sample, is_histogram
from shipper_exporters._prometheus.series import Series

HOPELESS = (
    32  # refusals more than acceptances: from here on no part is halved any more, each is only tried once as it is
)

Post = Callable[[Part], Awaitable[Refused | None]]
"""Sends one part. Raises what `Exporter.send` does."""

LATE = "counts of before what was counted already"


@dataclass(frozen=True)
class WriteBody:
    """A request made ready: its parts in order of time, and the data points that had to be left out, by reason.

    ``deltas``: some of it is not added up yet. ``late``: what then turned out to be of before what was counted already.
    """

    parts: tuple[Part, ...] = field(repr=False)
    points: int
    left_out: Mapping[str, int]
    deltas: bool = False
    late: tuple[Sample, ...] = field(default=(), repr=False)


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
        self.doubtful: set[bytes] = set()
        """Series of which something was refused."""
        self._there = there
        self._points = body.points
        self._series = series
        self._legs = deque(_Leg(part, doubt) for part in body.parts)
        self._reasons: Counter[str] = Counter(body.left_out)
        self._lost: set[int] = set()
        self._refusals = self._acceptances = 0
        self._content = ""  # why something was refused that is not old
        for sample in () if doubt else body.late:
            self._lose(sample, LATE)

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
            refused = await post(leg.part)
        except Retryable as error:
            leg.doubt = sent or not error.unsent
            error.unsent = not leg.doubt and not self._acceptances  # of the whole request
            raise
        leg.doubt = sent or (refused is not None and refused.repeated)
        return refused

    def _admit(self, leg: _Leg) -> None:
        kept, over = self._series.admit(leg.part.samples)
        if over:
            leg.part = Part.of(kept, leg.part.version)
            for sample in over:
                self._lose(sample, f"of a series beyond max_series ({self._series.most})")
        leg.admitted = True

    def _refuse(self, leg: _Leg, refused: Refused) -> None:
        if refused.histograms:
            self._without_histograms(leg, refused.reason)
            return
        self.doubtful.update(sample[1] for sample in leg.part.samples)
        self._refusals += 1
        mixed = bool(refused.missing) and leg.doubt and not refused.old  # some may be there, others never will
        if refused.partial and not mixed:  # it took the rest, so nothing of it is sent again
            self._refuse_some(leg, refused)
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

    def _refuse_some(self, leg: _Leg, refused: Refused) -> None:
        """Of what it did not take it says how many, or names one. The oldest are the likeliest: most are refused as late."""
        samples = leg.part.samples
        missing = 1 if refused.missing is None else refused.missing
        if missing < len(samples) or refused.missing is None or refused.old:
            self._acceptances += 1
            self._series.accepted(samples)
            self.arrived.append(leg.part)
        else:
            self._content = refused.reason
        if refused.old and leg.doubt:
            return
        for sample in samples[:missing]:
            self._lose(sample, refused.reason)

    def _without_histograms(self, leg: _Leg, reason: str) -> None:
        """Send the rest of it."""
        rest = [sample for sample in leg.part.samples if not is_histogram(sample[2])]
        for sample in leg.part.samples:
            if is_histogram(sample[2]):
                self.doubtful.add(sample[1])
                self._lose(sample, reason)
        if rest:
            self._legs.appendleft(_Leg(Part.of(rest, leg.part.version), leg.doubt, admitted=True))

    def _lose(self, sample: Sample, reason: str) -> None:
        """Count the data point that a sample is of, once."""
        point = sample[3]
        if point != NO_POINT and point not in self._lost:
            self._lost.add(point)
            self._reasons[reason] += 1
