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
from collections.abc import Callable, Coroutine, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from shipper.clock import Clock, Deadline
from shipper.errors import DeliveryError, Retryable, Unusable
from shipper_exporters._splunk.answers import ChannelLost

SHAKEN = 30.0
"""Seconds after which what is not acknowledged counts as lost when the collector could not be reached meanwhile."""

_LONGEST_PAUSE = 10.0  # how often Splunk asks its clients to ask
_GROWTH = 1.25  # so that an acknowledgement is found soon after it is there, measured by how long it took
_LOOK_AGAIN = 0.25  # seconds after which deadlines are looked at again
NOBODYS = (
    1 << 31
) - 1  # an id to ask by while others ask and send: "true" is said once, and nobody waits for this one's
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
    """One channel; ``flying`` are the requests on it that have no answer yet.

    ``asked`` and ``due``: when it was asked for last and is to be asked for next; ``pause``: seconds until the time after.
    """

    guid: str
    pause: float
    issued: set[int] = field(default_factory=set)
    waiting: dict[int, Pending] = field(default_factory=dict)
    flying: set[object] = field(default_factory=set)
    held: list[tuple[Pending, set[object]]] = field(default_factory=list)
    shaken: bool = False
    asked: float = float("-inf")
    due: float = float("-inf")

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
    """The acknowledgements of one destination. ``seed`` makes the channels' GUIDs, which are never those of another run.

    One question asks for all of a channel, and two questions are at least ``interval`` seconds apart, whatever waits: first
    soon, then, while nothing comes, less and less often.
    """

    def __init__(self, clock: Clock, collector: Collector, seed: str, interval: float, timeout: float) -> None:
        self._clock = clock
        self._collector = collector
        self._seed = seed
        self._interval = interval
        self._timeout = timeout
        self._made = 0
        self._current = self._new()
        self._old: list[Channel] = []
        self._asked = float("-inf")
        self._trouble: Unusable | None = None
        self._waiters: dict[Pending, Deadline] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._proved = False

    @property
    def channel(self) -> str:
        """The GUID of the channel that is used now."""
        return self._current.guid

    async def prove(self, deadline: Deadline) -> None:
        """Once, or when in doubt: find out that the token has acknowledgement, before anything is sent. Raises `DeliveryError`."""
        if not self._proved:
            await self._collector.acknowledged(self.channel, {NOBODYS}, deadline)
            self._proved = True

    def doubt(self) -> None:
        """An answer says otherwise: whether the token has acknowledgement is to be found out again, before anything is sent."""
        self._proved = False

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
        channel.pause = self._interval
        channel.due = min(channel.due, channel.asked + self._interval)
        self._keep_going("ask", self._ask_until_told)
        return pending

    async def wait(self, pending: Pending, deadline: Deadline) -> None:
        """Return when it came. Raises `Retryable` when it is lost or the deadline is here, `Unusable` when nobody can ask."""
        self._waiters[pending] = deadline
        self._keep_going("watch", self._watch_deadlines)
        try:
            await pending.told.wait()
        finally:
            del self._waiters[pending]
        if pending.there is None:
            pending.told.clear()
            if deadline.expired():
                raise Retryable("not acknowledged before the deadline")
            raise self._trouble or Retryable("not acknowledged yet")
        if pending.lost:
            raise Retryable(pending.lost)

    async def aclose(self) -> None:
        """Ask no more."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        self._tasks.clear()

    def _new(self) -> Channel:
        self._made += 1
        return Channel(str(uuid.uuid5(_NAMESPACE, f"{self._seed}/{self._made}")), self._interval)

    def _keep_going(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = asyncio.create_task(work())

    async def _watch_deadlines(self) -> None:
        """One look at all deadlines, which a notice may move: hundreds of requests may wait here, each with one."""
        while self._waiters:
            for pending, deadline in self._waiters.items():
                if deadline.expired():
                    pending.told.set()
            soonest = min((deadline.at for deadline in self._waiters.values()), default=float("inf"))
            left = soonest - self._clock.monotonic()
            await self._clock.sleep(left if 0 < left < _LOOK_AGAIN else _LOOK_AGAIN)

    async def _ask_until_told(self) -> None:
        try:
            await self._ask_on()
        except Exception as error:  # a bug: it surfaces with this task, and nobody waits for what will not come
            for channel in self._channels():
                channel.void(f"asking for acknowledgements broke: {error!r}")
            raise

    async def _ask_on(self) -> None:
        while any(channel.outstanding for channel in self._channels()):
            await self._turn()
            asking = [channel for channel in self._channels() if channel.waiting]
            if asking:
                await self._ask_next(min(asking, key=lambda channel: channel.due))
            self._give_up()

    async def _turn(self) -> None:
        """Wait until a question is due; where there is nothing to ask for, a while."""
        due = self._clock.monotonic() + self._interval
        while True:
            waiting = [channel.due for channel in self._channels() if channel.waiting]
            due = max(min(waiting), self._asked + self._interval) if waiting else due
            left = due - self._clock.monotonic()
            if left <= 0:
                return
            await self._clock.sleep(min(left, self._interval))  # a new id may have moved it

    async def _ask_next(self, channel: Channel) -> None:
        self._asked = channel.asked = self._clock.monotonic()
        news = await self._ask(channel)
        channel.pause = self._interval if news else min(_GROWTH * channel.pause, _LONGEST_PAUSE)
        channel.due = channel.asked + channel.pause

    def _channels(self) -> list[Channel]:
        self._old = [channel for channel in self._old if channel.outstanding or channel.flying]
        return [*self._old, self._current]

    async def _ask(self, channel: Channel) -> bool:
        """Ask for all ids of a channel; whether that changed anything."""
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
