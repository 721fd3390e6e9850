"""Azure's Scheduled Events: what will be done to which machines of a set, polled every second as its documentation asks.

Traps that this file knows of: the first question switches the service on and may take two minutes to be answered; events
name machines of the whole availability or scale set, so most are not for us; an event has no end, it is just no longer in the
list; and its time is blank once it has started.
Protocol: learn.microsoft.com/azure/virtual-machines/linux/scheduled-events, api-version 2020-07-01.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shipper.clock import Clock
from shipper.labels.metadata import Answer, NoMetadata, json_object, text_of
from shipper.notice import Notice, NoticeBoard, NoticeKind, NoticeWatcher
from shipper.notices.http import Asker
from shipper.notices.once import Moments, Once
from shipper.notices.times import Times

ENDPOINT = "http://169.254.169.254"
EVENTS = "/metadata/scheduledevents"
EVENTS_VERSION = {"api-version": "2020-07-01"}
INSTANCE = "/metadata/instance"
INSTANCE_VERSION = {"api-version": "2021-02-01", "format": "json"}
FIRST_TIMEOUT = 150.0  # the documented two minutes, and some
TIMEOUT = 3.0
POLL_SECONDS = 1.0
NAME_RETRY_SECONDS = 5.0
NAMED_AT_MOST = 5  # machines of an event in its evidence; a whole set may be named

BUDGETS = {
    "Preempt": "azure-preempt",
    "Terminate": "azure-terminate",
    "Reboot": "azure-reboot",
    "Redeploy": "azure-reboot",
}
KINDS = {
    "Preempt": NoticeKind.IMMINENT,
    "Terminate": NoticeKind.IMMINENT,
    "Reboot": NoticeKind.SCHEDULED,  # may be days ahead, and called off; a new life on the same disk
    "Redeploy": NoticeKind.SCHEDULED,  # as Reboot, but the ephemeral disk is lost
}
"""By EventType; every other type (Freeze: a pause of seconds) is an advisory."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the list, as stated; without an ``id`` it is a notice all the same, but cannot be approved."""

    id: str
    type: str
    resources: tuple[str, ...]
    started: bool
    not_before: str
    source: str
    description: str

    @property
    def key(self) -> str:
        """What tells events apart."""
        return self.id or f"{self.type} without an id"

    @property
    def evidence(self) -> str:
        """In the platform's words."""
        when = "has started" if self.started else f"not before {self.not_before or 'a time that is not stated'}"
        more = f" ({self.source}: {self.description})" if self.description else ""
        others = len(self.resources) - NAMED_AT_MOST
        names = ", ".join(self.resources[:NAMED_AT_MOST]) + (f" and {others} more" if others > 0 else "")
        return f"{self.type} of {names or 'no machine'} {when}{more}"[:500]


class ScheduledEvents:
    """The service: its list of events, and what this machine is called in it. Watcher and hold share one."""

    def __init__(self, *, clock: Clock, endpoint: str = ENDPOINT) -> None:
        self._asker = Asker(endpoint, clock=clock, headers={"Metadata": "true"})
        self.own_name = ""
        """This machine's name as the metadata service states it; empty while it did not."""

    async def listed(self, timeout: float) -> tuple[list[Event], bool, Answer]:
        """All events now, whether each of them could be understood, and the answer. Raises `NoMetadata`."""
        answer = await self._asker.ask("GET", EVENTS, timeout=timeout, params=EVENTS_VERSION)
        if answer.status != 200:
            raise NoMetadata(f"answered {answer.status}")
        return *read_events(answer), answer

    async def approve(self, event: Event, timeout: float) -> None:
        """Let Azure begin with this event, for all machines it names. Raises `NoMetadata`."""
        body = json.dumps({"StartRequests": [{"EventId": event.id}]}).encode()
        headers = {"Content-Type": "application/json"}
        answer = await self._asker.ask(
            "POST", EVENTS, timeout=timeout, params=EVENTS_VERSION, headers=headers, body=body
        )
        if answer.status != 200:
            raise NoMetadata(f"answered {answer.status}")

    async def learn_name(self) -> str:
        """This machine's own name, asked for once. Raises `NoMetadata`."""
        if not self.own_name:
            answer = await self._asker.ask("GET", INSTANCE, timeout=TIMEOUT, params=INSTANCE_VERSION)
            if answer.status != 200:
                raise NoMetadata(f"answered {answer.status}")
            self.own_name = text_of(json_object(answer), "compute", "name")
            if not self.own_name:
                raise NoMetadata("did not state this machine's name")
        return self.own_name

    async def aclose(self) -> None:
        """Close all connections."""
        await self._asker.aclose()


class AzureWatcher(NoticeWatcher):
    """Polls the list of events.

    While this machine's name is not known, an event counts as ours if it names ``hostname``; if not, it may be anybody's: then
    it lifts the pacing (an advisory) and begins no drain, since otherwise each eviction would drain a whole set.
    """

    name = "azure"

    def __init__(self, *, clock: Clock, times: Times, events: ScheduledEvents, hostname: str | None = None) -> None:
        self._clock = clock
        self._moments = Moments(times)
        self._once = Once(self.name)
        self._events = events
        self._hostname = socket.gethostname() if hostname is None else hostname
        self._before: dict[str, tuple[Event, Notice]] = {}
        self._name_problem = ""

    async def run(self, board: NoticeBoard) -> None:
        """See `NoticeWatcher.run`."""
        naming = asyncio.create_task(self._learn_name())
        timeout = FIRST_TIMEOUT
        try:
            while True:
                try:
                    events, whole, answer = await self._events.listed(timeout)
                except NoMetadata as problem:
                    board.unknown(self.name, f"the list of scheduled events {problem}")
                else:
                    timeout = TIMEOUT
                    self._tell(events, whole, answer, board)
                await self._clock.sleep(POLL_SECONDS)
        finally:
            naming.cancel()
            await asyncio.gather(naming, return_exceptions=True)

    async def aclose(self) -> None:
        """See `NoticeWatcher.aclose`."""
        await self._events.aclose()

    async def _learn_name(self) -> None:
        while not self._events.own_name:
            try:
                await self._events.learn_name()
            except NoMetadata as problem:
                self._name_problem = str(problem)
                await self._clock.sleep(NAME_RETRY_SECONDS)

    def _tell(self, events: list[Event], whole: bool, answer: Answer, board: NoticeBoard) -> None:
        now: dict[str, tuple[Event, Notice]] = {}
        odd = [] if whole else ["an event that is none"]
        for event in events:
            notice = self._judge(event, answer, odd)
            if notice is not None:
                now[event.key] = event, notice
                self._once.say(board, notice)
        for key, (event, notice) in self._before.items():
            if key not in now and not self._vanished(event, notice, whole, board):
                now[key] = event, notice
        self._before = now
        if odd:
            board.unknown(self.name, f"the list of scheduled events holds {'; '.join(odd)}")
        else:
            board.seen(self.name)

    def _judge(self, event: Event, answer: Answer, odd: list[str]) -> Notice | None:
        """What an event means for this machine; None for nothing."""
        if not self._events.own_name and self._hostname.lower() not in (name.lower() for name in event.resources):
            why = f"this machine's own name is not known: {self._name_problem or 'not yet answered'}"
            evidence = f"{event.evidence}; {why}"
            return Notice(self.name, NoticeKind.ADVISORY, evidence, key=event.key, ends_life=False)
        if self._events.own_name and self._events.own_name.lower() not in (name.lower() for name in event.resources):
            return None
        kind = KINDS.get(event.type, NoticeKind.ADVISORY)
        if kind is NoticeKind.ADVISORY:
            return Notice(self.name, kind, event.evidence, key=event.key, ends_life=False)
        if event.started:
            return Notice(self.name, NoticeKind.IMMINENT, event.evidence, None, "azure-started", event.key)
        return Notice(self.name, *self._when(kind, event, answer, odd), budget=BUDGETS[event.type], key=event.key)

    def _when(
        self, kind: NoticeKind, event: Event, answer: Answer, odd: list[str]
    ) -> tuple[NoticeKind, str, float | None]:
        """Kind, evidence and deadline. A time that cannot be read is as none: the usual one counts, and from now."""
        try:
            deadline = self._moments.of(event.not_before, answer.headers.get("date"))
        except ValueError:
            if event.not_before:
                odd.append(f"{event.type} with NotBefore {event.not_before[:60]!r}, which is no time")
            return NoticeKind.IMMINENT, event.evidence, None
        return kind, event.evidence, deadline

    def _vanished(self, event: Event, notice: Notice, whole: bool, board: NoticeBoard) -> bool:
        """An event is no longer in the list, or no longer ours; False: what it meant goes on to stand.

        Called off is what had not begun. What had begun, or whose time has come, is being carried out: no longer being in
        the list is what that looks like. And an event may be the one that could not be understood.
        """
        if not whole:
            return False
        over = event.started or (notice.deadline is not None and notice.deadline <= self._clock.monotonic())
        if notice.kind is NoticeKind.ADVISORY or not over:
            self._once.take_back(board, event.key, f"{event.type} is no longer in the list of scheduled events")
        else:
            self._once.forget(event.key)
        return True


def read_events(answer: Answer) -> tuple[list[Event], bool]:
    """The events of a list, and whether each entry could be understood. Raises `NoMetadata` when it is no list."""
    entries = json_object(answer).get("Events")
    if not isinstance(entries, list):
        raise NoMetadata("answered something else than a list of events")
    events = [_read(entry) for entry in entries]
    return [event for event in events if event is not None], None not in events


def _read(entry: Any) -> Event | None:
    """One entry of the list; None when it is none."""
    if not isinstance(entry, Mapping):
        return None
    resources = entry.get("Resources")
    kind = text_of(entry, "EventType")
    if not kind or not isinstance(resources, list) or not all(isinstance(one, str) for one in resources):
        return None
    return Event(
        text_of(entry, "EventId"),
        kind,
        tuple(resources),
        text_of(entry, "EventStatus").lower() == "started",
        text_of(entry, "NotBefore"),
        text_of(entry, "EventSource"),
        text_of(entry, "Description"),
    )
