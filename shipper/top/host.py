"""One host, by the word of its sidecar: what is read, how far behind each destination is, and whether the host is ending."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from shipper.admin import ask
from shipper.top.layout import Column, View
from shipper.top.source import NotKnown
from shipper.top.words import rate, size, span

SECONDS = 5.0
"""How long one answer may take."""
INTERVAL = 1.0
_DESTINATIONS = (  # the most important first, as a narrow terminal has no room for the last ones
    Column("destination"),
    Column("state"),
    Column("backlog", number=True),
    Column("oldest", number=True),
    Column("lost", number=True),
    Column("rec/s", number=True),
    Column("acked", number=True),
    Column("p50", number=True),
    Column("p99", number=True),
)
_SERVICES = (
    Column("service"),
    Column("pid", number=True),
    Column("state"),
    Column("records", number=True),
    Column("backlog", number=True),
    Column("lost", number=True),
)
_RECEIVERS = (
    Column("receiver"),
    Column("listens"),
    Column("records", number=True),
    Column("refused", number=True),
)
_STREAMS = (Column("stream", path=True), Column("backlog", number=True))
_STYLES = {"noticed": "yellow", "draining": "bold yellow", "drained": "green", "expired": "bold red"}


class Exposure(msgspec.Struct):
    """Seconds from a record being seen to its acknowledgement."""

    count: int = 0
    p50: float = 0.0
    p99: float = 0.0


class Destination(msgspec.Struct):
    """One destination as the sidecar tells of it."""

    where: str
    backlog_bytes: int
    oldest_seconds: float
    acknowledged: float
    trusted: bool = True
    standby: bool = False
    failing: bool = False
    rejected: float = 0
    quarantined: float = 0
    dropped: float = 0
    left_out: dict[str, float] = {}
    exposure: Exposure = msgspec.field(default_factory=Exposure)

    @property
    def state(self) -> str:
        """In a word."""
        if self.standby:
            return "stands by"
        return "FAILING" if self.failing else "ok" if self.trusted else "ok, relay"

    @property
    def lost(self) -> float:
        """Records it will not get."""
        return self.rejected + self.quarantined + self.dropped


class Service(msgspec.Struct):
    """A process that hands over through the SDK."""

    service: str
    pid: int
    alive: bool
    backlog_bytes: int
    records: dict[str, int] = {}
    dropped: dict[str, int] = {}
    lost: int = 0


class Receiver(msgspec.Struct):
    """What listens for others: where, and what it took in and refused, by signal and by cause."""

    listens: list[str] = []
    received: dict[str, int] = {}
    refused: dict[str, int] = {}


class Unparsed(msgspec.Struct):
    """How many records of one kind were not understood, and kept as they came."""

    receiver: str
    cause: str
    records: float


class Stream(msgspec.Struct):
    """A stream and how much of it is not settled."""

    name: str
    backlog_bytes: int


class Behind(msgspec.Struct):
    """How many streams have something not settled, and those that have most."""

    streams: int = 0
    largest: list[Stream] = []


class Notice(msgspec.Struct):
    """Word that the host will end."""

    source: str
    kind: str
    evidence: str
    deadline_ns: int | None = None
    ends_life: bool = True


class Earlier(msgspec.Struct):
    """What an earlier life of this host left."""

    life: str
    backlog_bytes: int | None = None


class Status(msgspec.Struct):
    """What is used of a sidecar's status; keys unknown to this version are passed over."""

    role: str
    state: str
    life: str
    run: int
    host: str
    labels: dict[str, str | None]
    streams: int
    open_files: int
    destinations: dict[str, Destination]
    behind: Behind = msgspec.field(default_factory=Behind)
    services: list[Service] = []
    receivers: dict[str, Receiver] = {}
    unparsed: list[Unparsed] = []
    remains: list[Earlier] = []
    problems: dict[str, float] = {}
    notices: list[Notice] = []
    notice_sources_unknown: dict[str, str] = {}
    deadline_seconds: float | None = None
    holds: list[str] = []


class HostSource:
    """Asks the sidecar behind an admin socket; remembers the last answer, to tell rates."""

    interval = INTERVAL

    def __init__(self, socket: str) -> None:
        self.name = "host"
        self._socket = socket
        self._before: tuple[float, Status] | None = None

    async def read(self) -> View:
        """See `Source`."""
        if self._before is not None and not os.path.lexists(self._socket):
            raise NotKnown(f"the {self._before[1].role} has ended")  # in order: it takes its socket away
        answer = await ask(self._socket, "GET", "/status", timeout=SECONDS)
        status, now = read_status(answer, self._socket), time.monotonic()
        rates = self._rates(status, now)
        self._before = now, status
        return shown(status, rates)

    async def aclose(self) -> None:
        """See `Source`."""

    def _rates(self, status: Status, now: float) -> dict[str, float]:
        """Acknowledged records a second since the last look at the same run."""
        if self._before is None:
            return {}
        then, before = self._before
        if (before.life, before.run) != (status.life, status.run) or now <= then:
            return {}
        return {
            name: (one.acknowledged - before.destinations[name].acknowledged) / (now - then)
            for name, one in status.destinations.items()
            if name in before.destinations
        }


def read_status(answer: Any, socket: str) -> Status:
    """The answer as values. Raises `NotKnown` where it is no status."""
    try:
        return msgspec.convert(answer, type=Status)
    except msgspec.ValidationError as error:
        raise NotKnown(
            f"what answers on {socket} is no sidecar of a version that this program knows: {error}"
        ) from error


def shown(status: Status, rates: dict[str, float]) -> View:
    """The view of a host."""
    view = View()
    view.say(
        f"{status.role} {status.state} on {status.host}, life {status.life} run {status.run}",
        _STYLES.get(status.state, "bold"),
    )
    view.say(", ".join(f"{name} {value}" for name, value in status.labels.items() if value and name != "host"), "dim")
    _end(view, status)
    _destinations(view, status, rates)
    for name, one in status.destinations.items():
        if one.failing:
            view.say(f"{name} does not answer or refuses: {one.where}", "red")
    behind = status.behind
    waiting = f"{behind.streams:,} of them with something not acknowledged" if behind.streams else "nothing waits"
    view.say(f"{status.streams:,} streams, {waiting}; {status.open_files:,} open files")
    for earlier in status.remains:
        left = "waits for its turn" if earlier.backlog_bytes is None else f"{size(earlier.backlog_bytes)} left"
        view.say(f"earlier life {earlier.life} of this host: {left}")
    if status.problems:
        told = ", ".join(f"{kind} {count:,.0f}" for kind, count in status.problems.items())
        view.say(f"problems survived: {told}", "yellow")
    _understood(view, status)
    _services(view, status)
    _receivers(view, status)
    largest = [(one.name, size(one.backlog_bytes)) for one in behind.largest]
    view.table(_STREAMS, largest, further=max(0, behind.streams - len(largest)))
    return view


def _understood(view: View, status: Status) -> None:
    """What rules left out and what was not understood: both are in the account, and mostly there is neither."""
    for name, one in status.destinations.items():
        if one.left_out:
            told = ", ".join(f"{count:,.0f} {cause}" for cause, count in one.left_out.items())
            view.say(f"left out by rules, of {name}: {told}")
    if status.unparsed:
        told = ", ".join(f"{one.receiver} {one.cause} {one.records:,.0f}" for one in status.unparsed)
        view.say(f"not understood, and kept as they came: {told}", "yellow")


def _end(view: View, status: Status) -> None:
    """What is known of the host's end: nothing at all on an ordinary day."""
    for notice in status.notices:
        when = "" if notice.deadline_ns is None else f", by {_clock(notice.deadline_ns)}"
        ends = "" if notice.ends_life else ", the host goes on afterwards"
        view.say(f"notice from {notice.source}, {notice.kind}: {notice.evidence}{when}{ends}", "yellow")
    if (left := status.deadline_seconds) is not None:
        view.say(f"deadline in {span(left)}" if left > 0 else "the deadline has passed", "bold yellow")
    if status.holds and (status.notices or status.state == "draining"):
        view.say(f"may keep the host waiting: {', '.join(status.holds)}")
    for source, why in status.notice_sources_unknown.items():
        view.say(f"{source} does not tell whether this host will end: {why}", "yellow")


def _clock(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%H:%M:%S UTC")


def _destinations(view: View, status: Status, rates: dict[str, float]) -> None:
    rows = [
        (
            name,
            one.state,
            size(one.backlog_bytes),
            span(one.oldest_seconds) if one.oldest_seconds > 0 else "-",
            f"{one.lost:,.0f}",
            rate(rates[name]) if name in rates else "-",
            f"{one.acknowledged:,.0f}",
            span(one.exposure.p50) if one.exposure.count else "-",
            span(one.exposure.p99) if one.exposure.count else "-",
        )
        for name, one in status.destinations.items()
    ]
    bad = frozenset(place for place, one in enumerate(status.destinations.values()) if one.failing or one.lost)
    view.table(_DESTINATIONS, rows, bad)


def _receivers(view: View, status: Status) -> None:
    rows = [
        (
            name,
            ", ".join(one.listens) or "not listening",
            f"{sum(one.received.values()):,}",
            f"{sum(one.refused.values()):,}",
        )
        for name, one in status.receivers.items()
    ]
    bad = frozenset(place for place, one in enumerate(status.receivers.values()) if any(one.refused.values()))
    view.table(_RECEIVERS, rows, bad)


def _services(view: View, status: Status) -> None:
    ordered = sorted(status.services, key=lambda one: (-one.backlog_bytes, one.service, one.pid))
    rows = []
    for one in ordered:
        lost = one.lost + sum(one.dropped.values())
        rows.append(
            (
                one.service or "without a name",
                str(one.pid),
                "alive" if one.alive else "gone",
                f"{sum(one.records.values()):,}",
                size(one.backlog_bytes),
                f"{lost:,}",
            )
        )
    view.table(_SERVICES, rows)
