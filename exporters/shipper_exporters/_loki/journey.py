"""One request on its way to Loki, push by push, and what becomes of entries that it does not take.

Each push is of one stream, since of a push of several Loki's ingester answers for the last one only: what it refuses of the
others is lost behind a 204 (``pkg/ingester/instance.go``, ``Push``; tried with 3.7). What is too late for its stream, because
that has newer entries, is sent again in a stream of its own for each hour, which is how Loki's own time sharding gets a
backlog in. What is too much for now is sent again later, it alone. All of that may be repeated: the same entry in the same
stream is kept once.

Where an ingester has something to say, what the distributor dropped of the same push stays unsaid (``pkg/distributor``,
``Push``). So the rest of such a push is sent once more by itself: what is there stays there once, what is dropped is counted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shipper.contracts import Accepted
from shipper.errors import Rejected, Retryable, TooLarge
from shipper_exporters._loki.answers import Dropped, Late, Meaning, Refused, Slowed
from shipper_exporters._loki.wire import Entry, Push

HOPELESS = 32  # refusals more than acceptances: from here on nothing is halved any more, each part only tried once
LATE_LABEL = "shipper_late"
_HOUR_NS = 3600 * 1_000_000_000

Post = Callable[[Push], Awaitable[Meaning]]
"""Sends one push. Raises what `Exporter.send` does."""


@dataclass(slots=True)
class _Leg:
    push: Push
    late: bool = False  # it is in a stream for late entries already
    there: bool = False  # all of it that was not dropped is stored


class Journey:
    """How far a request got. It outlives a failed attempt: the next one goes on where that ended."""

    def __init__(self, pushes: Iterable[Push]) -> None:
        self._legs = deque(_Leg(push) for push in pushes)
        self._entries = sum(leg.push.entries for leg in self._legs)
        self._lost: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}
        self._refusals = self._acceptances = 0
        self._too_large = ""
        self.begun = False
        """Whether anything was answered to any of it."""

    async def go(self, post: Post) -> Accepted:
        """Send what is not sent yet. Raises what ``post`` does, and `Rejected` or `TooLarge` when nothing at all is taken."""
        slowed: Slowed | None = None
        waiting: list[_Leg] = []
        try:
            while self._legs:
                meaning = await post(self._legs[0].push)
                self.begun = True
                leg = self._legs.popleft()
                if isinstance(meaning, Slowed):
                    waiting += self._slow(leg, meaning)
                    slowed = meaning
                    if meaning.everybody:
                        break
                else:
                    self._settle(leg, meaning)
        finally:
            self._legs.extendleft(reversed(waiting))
        if slowed is not None:
            raise Retryable(slowed.reason, slowed.wait)
        return self._answer()

    def _answer(self) -> Accepted:
        lost = self._lost.total()
        message = "; ".join(f"{count} x {why}: {self._reasons[why]}" for why, count in self._lost.most_common())
        if lost and lost >= self._entries:
            if self._too_large and self._entries == 1:
                raise TooLarge(self._too_large)
            raise Rejected(message, isolate=False)
        return Accepted(lost, message)

    def _settle(self, leg: _Leg, meaning: Dropped | Late | Refused | None) -> None:
        if meaning is None:
            self._acceptances += 1
        elif isinstance(meaning, Dropped):
            self._acceptances += 1
            for why, count in meaning.reasons.items():
                self._lose(min(count, leg.push.entries), why, meaning.reason)
        elif isinstance(meaning, Late):
            self._acceptances += 1
            self._legs.extendleft(reversed(self._second_chance(leg, meaning)))
        else:
            self._refuse(leg, meaning)

    def _refuse(self, leg: _Leg, refused: Refused) -> None:
        self._refusals += 1
        hopeful = self._refusals - self._acceptances <= HOPELESS
        halves = leg.push.halves() if hopeful else None
        if halves is not None:
            self._legs.extendleft(_Leg(half, leg.late, leg.there) for half in reversed(halves))
            return
        if refused.large:
            self._too_large = refused.reason
        self._lose(leg.push.entries, "too_large" if refused.large else "refused", refused.reason)

    def _second_chance(self, leg: _Leg, late: Late) -> list[_Leg]:
        """The pushes by which late entries still get in; those that were late there too are lost."""
        if late.total > len(late.named) and late.total < leg.push.entries:
            # Not all are named: in halves, of which Loki keeps once what it has, it is sooner or later all, none or a few.
            return self._halves(leg)
        entries, others = _by_times(leg.push, late.named, late.total)
        if len(entries) < min(late.total, leg.push.entries):  # the times that it names are of none of these
            return self._halves(leg)
        rest = [_Leg(leg.push.only(others), leg.late, there=True)] if others else []
        if leg.there:
            return rest
        if leg.late:
            self._lose(len(entries), "too_far_behind", late.reason)
            return rest
        return [*(_Leg(push, late=True) for push in _by_hour(leg.push, entries)), *rest]

    def _halves(self, leg: _Leg) -> list[_Leg]:
        return [_Leg(half, leg.late, leg.there) for half in leg.push.halves() or ()]

    def _slow(self, leg: _Leg, slowed: Slowed) -> Sequence[_Leg]:
        """What of a push is to be sent again later, and in which parts."""
        push = leg.push
        if 0 < slowed.total <= len(slowed.named):
            named, others = _by_times(push, slowed.named, slowed.total)
            if len(named) >= min(slowed.total, push.entries):
                rest = [_Leg(push.only(others), leg.late, there=True)] if others else []
                return [_Leg(push.only(named), leg.late, leg.there), *rest]
        if slowed.limit and push.size > slowed.limit:  # more than may come at once: it would never be taken whole
            halves = push.halves()
            if halves is not None:
                return [_Leg(half, leg.late, leg.there) for half in halves]
        return [leg]

    def _lose(self, count: int, why: str, reason: str) -> None:
        self._lost[why] += count
        self._reasons.setdefault(why, reason)


def _by_times(push: Push, times: Sequence[int], total: int) -> tuple[list[Entry], list[Entry]]:
    """The entries of a push that were named by their times, all of it where ``total`` is that many; and the others."""
    contents = push.contents()
    if total >= len(contents):
        return contents, []
    wanted = frozenset(times)
    return [one for one in contents if one.time_ns in wanted], [one for one in contents if one.time_ns not in wanted]


def _by_hour(push: Push, entries: Sequence[Entry]) -> list[Push]:
    """Entries in streams that differ from theirs by the hour in which they were written."""
    hours: dict[int, list[Entry]] = {}
    for entry in entries:
        hours.setdefault(entry.time_ns // _HOUR_NS, []).append(entry)
    pushes = []
    for hour, members in sorted(hours.items()):
        moment = datetime.fromtimestamp(hour * 3600, UTC)
        label = f', {LATE_LABEL}="{moment:%Y-%m-%dT%H}"}}'.encode()
        pushes.append(Push.of(push.labels[:-1] + label, [entry.data for entry in members]))
    return pushes
