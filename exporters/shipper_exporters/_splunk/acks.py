"""Indexer acknowledgement: which requests Splunk has indexed, asked for by the ids it gave them.

https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data/about-http-event-collector-indexer-acknowledgment

Ids are counted from 0 in each channel, are answered with "true" once, and are gone when the indexer restarts, which then
counts from 0 again. An old id that is answered by what a new one stands for would be a loss nobody sees. So a channel is
left for a new one whenever a request on it failed, all ids of a channel count as lost when one comes again, and a "true"
counts only once no request is under way any more that could be the one that it speaks of.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from shipper.clock import Clock, Deadline, Patience
from shipper.errors import DeliveryError, Retryable, Unusable
from shipper_exporters._splunk.answers import ChannelLost

SHAKEN = 30.0
"""Seconds after which what is not acknowledged counts as lost when the collector could not be reached meanwhile."""

_LONGEST_PAUSE = 10.0  # how often Splunk asks its clients to ask
_GROWTH = 1.5
_DISORDER = 64  # the most requests that can be under way at once
_NAMESPACE = uuid.UUID("6f5a2d51-4a75-5a4c-9d0c-9f1b0d1c7a53")


class Collector(Protocol):
    """Who is asked."""

    async def acknowledged(self, channel: str, ids: Set[int], deadline: Deadline) -> set[int]:
        """See `shipper_exporters._splunk.hec.Hec.acknowledged`."""


class Pending:
    """An acknowledgement that is still to come."""

    def __init__(self, expires: float) -> None:
        self.expires = expires
        self.there: bool | None = None
        self.lost = ""
        self.told = asyncio.Event()

    def settle(self, lost: str = "") -> None:
        """It came, or never will because of ``lost``."""
        self.there, self.lost = not lost, lost
        self.told.set()


@dataclass(eq=False)
class Channel:
    """One channel; ``flying`` are the requests on it that have no answer yet."""

    guid: str
    issued: set[int] = field(default_factory=set)
    waiting: dict[int, Pending] = field(default_factory=dict)
    flying: set[object] = field(default_factory=set)
    held: list[tuple[Pending, set[object]]] = field(default_factory=list)
    shaken: bool = False

    @property
    def outstanding(self) -> list[Pending]:
        """All that is not settled."""
        return [*self.waiting.values(), *(pending for pending, _ in self.held)]

    def void(self, reason: str) -> None:
        """None of its ids means anything any more."""
        for pending in self.outstanding:
            pending.settle(reason)
        self.waiting.clear()
        self.held.clear()

    def began_anew(self, ack: int) -> bool:
        """Whether an id cannot be the next after those that were given; answers come a little out of order."""
        again = ack in self.issued or ack < max(self.issued, default=0) - _DISORDER
        if again:
            self.issued.clear()
        self.issued.add(ack)
        if len(self.issued) > 4 * _DISORDER:
            self.issued = {one for one in self.issued if one >= ack - _DISORDER}
        return again

    def indexed(self, ids: Set[int]) -> None:
        """These were answered with "true"."""
        for one in ids:
            pending = self.waiting.pop(one)
            if self.flying:
                self.held.append((pending, set(self.flying)))
            else:
                pending.settle()

    def landed(self, token: object, failure: str) -> None:
        """A request has its answer, or failed."""
        self.flying.discard(token)
        kept = []
        for pending, others in self.held:
            if failure and token in others:
                pending.settle(failure)
                continue
            others.discard(token)
            if others:
                kept.append((pending, others))
            else:
                pending.settle()
        self.held = kept


class Acks:
    """The acknowledgements of one destination. ``seed`` makes the channels' GUIDs, which are never those of another run."""

    def __init__(self, clock: Clock, collector: Collector, seed: str, interval: float, timeout: float) -> None:
        self._clock = clock
        self._collector = collector
        self._seed = seed
        self._interval = interval
        self._timeout = timeout
        self._made = 0
        self._current = self._new()
        self._old: list[Channel] = []
        self._asked = -1e9
        self._due = 0.0
        self._trouble: Unusable | None = None
        self._task: asyncio.Task[None] | None = None
        self._proved = False

    @property
    def channel(self) -> str:
        """The GUID of the channel that is used now."""
        return self._current.guid

    async def prove(self, deadline: Deadline) -> None:
        """Once: find out that the token has acknowledgement, before anything is sent. Raises `DeliveryError`."""
        if not self._proved:
            await self._collector.acknowledged(self.channel, {0}, deadline)
            self._proved = True

    @contextmanager
    def posting(self) -> Iterator[Channel]:
        """Around a request with events, up to its answer; one that gets none leaves its channel behind."""
        channel, token = self._current, object()
        channel.flying.add(token)
        try:
            yield channel
        except BaseException:
            channel.landed(
                token, "a request on the same channel failed, so nobody knows what the acknowledgement spoke of"
            )
            self.leave(channel)
            raise
        channel.landed(token, "")

    def leave(self, channel: Channel) -> None:
        """Use another channel from now on; what is outstanding on this one is still asked for."""
        if channel is self._current:
            self._old.append(channel)
            self._current = self._new()

    def expect(self, channel: Channel, ack: int) -> Pending:
        """The id that a request got."""
        if channel.began_anew(ack):
            channel.void(
                f"acknowledgements began anew at {ack}: the indexer was restarted, or there are several behind a "
                "balancer without sticky sessions"
            )
        pending = channel.waiting[ack] = Pending(self._clock.monotonic() + self._timeout)
        self._due = self._asked + self._interval
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask_until_told())
        return pending

    async def wait(self, pending: Pending, deadline: Deadline) -> None:
        """Return when it came. Raises `Retryable` when it is lost or the deadline is here, `Unusable` when nobody can ask."""
        try:
            async with Patience(self._clock, float("inf"), deadline):
                await pending.told.wait()
        except TimeoutError:
            raise Retryable("not acknowledged before the deadline") from None
        if pending.there is None:
            pending.told.clear()
            raise self._trouble or Retryable("not acknowledged yet")
        if pending.lost:
            raise Retryable(pending.lost)

    async def aclose(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def _new(self) -> Channel:
        self._made += 1
        return Channel(str(uuid.uuid5(_NAMESPACE, f"{self._seed}/{self._made}")))

    async def _ask_until_told(self) -> None:
        try:
            await self._ask_on()
        except Exception as error:  # a bug: it surfaces with this task, and nobody waits for what will not come
            for channel in self._channels():
                channel.void(f"asking for acknowledgements broke: {error!r}")
            raise

    async def _ask_on(self) -> None:
        pause = self._interval
        while any(channel.outstanding for channel in self._channels()):
            while (left := self._due - self._clock.monotonic()) > 0:
                await self._clock.sleep(min(left, self._interval))  # a new id may have moved it
            self._asked = self._clock.monotonic()
            self._due = self._asked + pause
            news = [await self._ask(channel) for channel in self._channels()]
            pause = self._interval if any(news) else min(_GROWTH * pause, _LONGEST_PAUSE)
            self._give_up()

    def _channels(self) -> list[Channel]:
        self._old = [channel for channel in self._old if channel.outstanding or channel.flying]
        return [*self._old, self._current]

    async def _ask(self, channel: Channel) -> bool:
        """Ask for all ids of a channel; whether that changed anything."""
        if not channel.waiting:
            return False
        try:
            told = await self._collector.acknowledged(
                channel.guid, channel.waiting.keys(), Deadline.after(self._clock, self._timeout)
            )
        except ChannelLost as error:
            channel.void(str(error))
            self.leave(channel)
            return True
        except Unusable as error:
            self._trouble = error
            for pending in channel.outstanding:
                pending.told.set()
            return False
        except DeliveryError:
            channel.shaken = True
            return False
        self._trouble = None
        if channel.shaken:
            channel.shaken = False
            soon = self._clock.monotonic() + SHAKEN
            for pending in channel.waiting.values():
                pending.expires = min(pending.expires, soon)
        found = told & channel.waiting.keys()
        channel.indexed(found)
        return bool(found)

    def _give_up(self) -> None:
        now = self._clock.monotonic()
        for channel in self._channels():
            for one, pending in list(channel.waiting.items()):
                if pending.expires <= now:
                    del channel.waiting[one]
                    pending.settle(
                        "its acknowledgement did not come: indexing is behind, the indexer was restarted, or a balancer "
                        "sends the questions to another indexer"
                    )
