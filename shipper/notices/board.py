"""Which notices stand, and by when the host is expected to be gone: one answer out of what many sources say.

The rules, in order: a notice said again is the same notice (by source and key) and only what is new in it counts; the
earliest deadline of all imminent notices is the effective one; a notice goes only when its own source withdraws it; a source
that cannot be asked takes nothing back and begins nothing. The board is pure bookkeeping over an injected clock: who acts
upon it is told by ``changed``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shipper.clock import Clock, Deadline
from shipper.events import NoticeSeen, Problem, Reporter, Said
from shipper.notice import Notice, NoticeKind
from shipper.notices.budgets import Budgets

STALE_SECONDS = (
    300.0  # a stated time this far in the past when first seen: a host that outlived it so long is not dying of it
)
OUTLIVED_MARGIN = 5.0  # seconds: a drain ends by its reserve before its deadline
DEADLINE_MOVED = 0.5  # seconds; smaller differences are the jitter of the conversion, not a new deadline


@dataclass(frozen=True, slots=True)
class Standing:
    """A notice that holds: since when (monotonic seconds), and the moment that counts for it (``inf`` for an advisory)."""

    notice: Notice
    since: float
    at: float
    assumed: bool  # no usable time was stated: the platform's usual budget counts

    @property
    def key(self) -> tuple[str, str]:
        """What tells notices apart."""
        return self.notice.source, self.notice.key


class Board:
    """See `shipper.notice.NoticeBoard`. ``changed`` is called after every change, with nothing: look at the properties."""

    def __init__(
        self,
        *,
        clock: Clock,
        report: Reporter,
        budgets: Budgets,
        lead: float,
        changed: Callable[[], None],
        flush: Callable[[float], Awaitable[bool]],
    ) -> None:
        """``lead``: seconds before its time at which a scheduled notice counts as imminent. ``flush``: see `flushed`."""
        self.deadline = Deadline(clock)
        self._clock = clock
        self._report = report
        self._budgets = budgets
        self._lead = lead
        self._changed = changed
        self._flush = flush
        self._standing: dict[tuple[str, str], Standing] = {}
        self._outlived: dict[tuple[str, str], Standing] = {}
        self._stale: set[tuple[str, str, float]] = set()
        self._unknown: dict[str, str] = {}

    # -- what watchers say ---------------------------------------------------------------------------------------

    def notice(self, notice: Notice) -> None:
        """See `NoticeBoard.notice`."""
        self.seen(notice.source)
        before = self._standing.get((notice.source, notice.key))
        after = self._judge(notice, before)
        if after is None or (before is not None and _same(before, after)):
            return
        self._standing[after.key] = after
        self._report(NoticeSeen(notice.source, notice.kind.value, self._describe(after), again=before is not None))
        self._update()

    def withdrawn(self, source: str, key: str, why: str) -> None:
        """See `NoticeBoard.withdrawn`."""
        self.seen(source)
        if self._standing.pop((source, key), None) is not None:
            self._report(Said(f"{source} took its notice back: {why}"))
            self._update()

    def seen(self, source: str) -> None:
        """See `NoticeBoard.seen`."""
        if self._unknown.pop(source, None) is not None:
            self._report(Said(f"{source} answers again"))
        self._report.metrics.notice_source_up.labels(source).set(1)

    def unknown(self, source: str, why: str) -> None:
        """See `NoticeBoard.unknown`."""
        self._unknown[source] = why
        self._report.metrics.notice_source_up.labels(source).set(0)
        self._report(Problem("notice-source", f"{source} cannot be asked whether this host will end: {why}", source))

    def standing(self) -> tuple[Notice, ...]:
        """See `NoticeBoard.standing`."""
        return tuple(one.notice for one in self.all())

    async def flushed(self, timeout: float) -> bool:
        """See `NoticeBoard.flushed`."""
        return await self._flush(timeout)

    # -- what the sidecar looks at -------------------------------------------------------------------------------

    def all(self) -> list[Standing]:
        """Everything that stands, the earliest effective deadline first."""
        return sorted(self._standing.values(), key=lambda one: (one.at, one.since, one.key))

    def imminent(self) -> Standing | None:
        """The imminent notice that counts: the one with the earliest deadline; a scheduled one whose time is near is one."""
        due = [one for one in self.all() if self.is_imminent(one)]
        return due[0] if due else None

    def next_due(self) -> float:
        """Seconds until a scheduled notice becomes imminent; ``inf`` without one."""
        now = self._clock.monotonic()
        waits = [one.at - self._lead - now for one in self._standing.values() if not self.is_imminent(one)]
        return max(0.0, min(waits, default=math.inf))

    def outlived(self) -> None:
        """The host lives after the deadlines that were assumed: those notices stand, but nothing more follows from them."""
        now = self._clock.monotonic()
        late = [one for one in self.all() if one.assumed and one.at <= now + OUTLIVED_MARGIN]
        self._outlived.update((one.key, one) for one in late)
        self._update()

    def look(self) -> None:
        """Time has passed: a scheduled notice may have become imminent."""
        self._update()

    def sources_unknown(self) -> dict[str, str]:
        """Sources that cannot be asked now, with the reason."""
        return dict(self._unknown)

    def is_imminent(self, one: Standing) -> bool:
        """Whether this one asks for a drain now; one that was outlived asks again only when it says something new."""
        if self._outlived.get(one.key) is one:
            return False
        if one.notice.kind is NoticeKind.SCHEDULED:
            return one.at - self._lead <= self._clock.monotonic()
        return one.notice.kind is NoticeKind.IMMINENT

    def _judge(self, notice: Notice, before: Standing | None) -> Standing | None:
        """What a notice amounts to now; None when it is too old to mean anything."""
        now = self._clock.monotonic()
        since = before.since if before is not None else now
        stated = notice.deadline
        if stated is not None and math.isnan(stated):
            stated = None
        if notice.kind is NoticeKind.ADVISORY:
            return Standing(notice, since, math.inf, assumed=False)
        if stated is not None and stated > now:
            return Standing(notice, since, stated, assumed=False)
        if (
            before is not None
            and not before.assumed
            and stated is not None
            and abs(stated - before.at) < DEADLINE_MOVED
        ):
            return (
                before  # its time came and the host still lives: the deadline was reached, which is the drain's affair
            )
        if stated is not None and before is None and now - stated > STALE_SECONDS:
            self._say_stale(notice, now - stated)
            return None
        if stated is None and notice.kind is NoticeKind.SCHEDULED:
            return Standing(notice, since, math.inf, assumed=True)
        begun = before.since if before is not None and before.assumed else now
        return Standing(notice, since, begun + self._budgets.seconds(notice.budget), assumed=True)

    def _say_stale(self, notice: Notice, age: float) -> None:
        mark = (notice.source, notice.key, round(notice.deadline or 0.0, -1))
        if mark not in self._stale:
            self._stale.add(mark)
            said = f"{notice.source}: {notice.evidence}; that time passed {age:.0f} s ago and this host still lives"
            self._report(Said(f"{said}: no drain because of it"))

    def _update(self) -> None:
        due = self.imminent()
        self.deadline.move(due.at if due is not None else math.inf)
        for kind in NoticeKind:
            count = sum(one.notice.kind is kind for one in self._standing.values())
            self._report.metrics.notices.labels(kind.value).set(count)
        self._changed()

    def _describe(self, one: Standing) -> str:
        left = one.at - self._clock.monotonic()
        if math.isinf(left):
            return one.notice.evidence
        how = f"assumed, budget {one.notice.budget}" if one.assumed else "stated"
        return f"{one.notice.evidence}; {left:.1f} s left ({how})"


def _same(before: Standing, after: Standing) -> bool:
    """Whether nothing changed but the jitter of a converted time."""
    moved = before.at != after.at and not abs(before.at - after.at) < DEADLINE_MOVED
    plain = dataclasses.replace(before.notice, deadline=None), dataclasses.replace(after.notice, deadline=None)
    return not moved and plain[0] == plain[1] and before.assumed == after.assumed
