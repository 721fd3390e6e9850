"""Tells Azure that this machine may go now: a drained host need not wait for the end of its notice.

Azure waits by itself, until an event's NotBefore, and nothing makes it wait longer; so all there is to do is the approval. An
approval counts for every machine that the event names, and of an event we do not understand we do not know what it begins:
only a Terminate or Preempt that names this machine and no other is approved, and only with nothing left to send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shipper.clock import Clock
from shipper.events import Problem, Reporter, Said
from shipper.labels.metadata import NoMetadata
from shipper.notice import Hold, Need, Notice
from shipper.notices.azure import Event, ScheduledEvents
from shipper.notices.http import within

RELEASE_SECONDS = 2.0  # for all of it; when that is not enough, Azure goes on by itself at NotBefore
APPROVED = ("Terminate", "Preempt")


class AzureHold(Hold):
    """Approves our own end once the host is empty. ``events`` is shared with the watcher."""

    name = "azure"
    release_when = "ended"

    def __init__(self, *, clock: Clock, report: Reporter, events: ScheduledEvents) -> None:
        self._clock = clock
        self._report = report
        self._events = events

        self._standing: Callable[[], tuple[Notice, ...]] = tuple

    @property
    def holding(self) -> bool:
        """See `Hold.holding`: Azure waits with every event of ours."""
        return any(notice.source == self.name and notice.ends_life for notice in self._standing())

    async def run(self, need: Callable[[], Need]) -> None:
        """See `Hold.run`: Azure waits without being asked to."""
        self._standing = lambda: need().notices
        await asyncio.Event().wait()

    async def release(self, *, drained: bool) -> None:
        """See `Hold.release`. Nothing happens when time is up: then Azure need not be told."""
        if not drained:
            return
        try:
            await within(self._clock, RELEASE_SECONDS, self._approve_ours())
        except TimeoutError:
            self._failed(f"gave no answer within {RELEASE_SECONDS:g} s")
        except NoMetadata as problem:
            self._failed(str(problem))

    async def aclose(self) -> None:
        """See `Hold.aclose`: the watcher may have closed the connections before the release opened one again."""
        await self._events.aclose()

    async def _approve_ours(self) -> None:
        # asked anew: what the watcher saw may have been called off, or may name more machines by now
        events, _, _ = await self._events.listed(RELEASE_SECONDS)
        for event in events:
            if self._is_ours_alone(event):
                await self._events.approve(event, RELEASE_SECONDS)
                self._report(Said(f"azure: nothing is left to send, so it need not wait with {event.evidence}"))

    def _is_ours_alone(self, event: Event) -> bool:
        return (
            event.type in APPROVED
            and not event.started
            and bool(event.id)
            and bool(self._events.own_name)
            and [name.lower() for name in event.resources] == [self._events.own_name.lower()]
        )

    def _failed(self, why: str) -> None:
        self._report(
            Problem("hold", f"azure could not be told to go on, it will by itself at NotBefore: {why}", self.name)
        )
