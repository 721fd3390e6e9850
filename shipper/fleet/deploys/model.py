"""What deploy events add up to, whatever order and how often they came in.

The state is the set of the newest events, so that adding events is commutative and idempotent: gateways may exchange what
they heard in any way and agree. Everything else (deploys, their status, episodes) is computed from that set.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Literal, get_args

Action = Literal["started", "finished", "failed", "rollback", "withdrawn"]
Status = Literal["", "succeeded", "failed"]
ACTIONS: tuple[Action, ...] = get_args(Action)
STARTS: tuple[Action, ...] = ("started", "rollback")
MAX_TEXT = 1024
"""Characters of one field; a longer one is refused, as cutting it would make one generation of two."""
MAX_ID = MAX_TEXT + 64  # ids made here have a generation in them
TOLERANCE_NS = 30 * 60 * 1_000_000_000
"""How far the births of a generation may lie from the deploy that somebody told of and still belong to it."""
_TEXTS = ("id", "service", "env", "generation", "release", "image", "from_release", "actor", "url")


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class DeployEvent:
    """One event, as told or as inferred from hosts. ``id`` names the deploy, the same in all of its events.

    ``at_ns``: ns since the epoch. A ``rollback`` is the start of a deploy that goes back. ``desired_hosts``: 0 when not told.
    Events are ordered by time.
    """

    at_ns: int
    service: str
    env: str = ""
    id: str = ""
    action: Action = "started"
    generation: str = ""
    release: str = ""
    image: str = ""
    from_release: str = ""
    actor: str = ""
    url: str = ""
    desired_hosts: int = 0
    inferred: bool = False

    def problems(self, now_ns: int, ahead_ns: int = 3600 * 1_000_000_000) -> Iterator[str]:
        """Why it cannot be taken at ``now_ns``, in words; nothing for a sound one."""
        if not self.service:
            yield "it names no service"
        if not (self.id or self.generation):
            yield "it has neither a deployment id nor a generation"
        for name in _TEXTS:
            value: str = getattr(self, name)
            if len(value) > (MAX_ID if name == "id" else MAX_TEXT):
                yield f"its {name} has {len(value)} characters, more than {MAX_TEXT}"
        if self.action not in ACTIONS:
            yield f"its action {str(self.action)[:40]!r} is none of {', '.join(ACTIONS)}"
        if self.at_ns <= 0:
            yield "it says no time"
        if self.at_ns > now_ns + ahead_ns:
            yield f"its time lies {(self.at_ns - now_ns) / 1e9:,.0f} s in the future"
        if not 0 <= self.desired_hosts < 1 << 31:
            yield f"{self.desired_hosts} is no number of hosts"


@dataclass(frozen=True, slots=True)
class Deploy:
    """One deploy, put together. Times are ns since the epoch, 0 for not known.

    ``episode``: how many times its generation has become the newest, this time included.
    """

    id: str
    service: str
    env: str
    generation: str
    release: str
    image: str
    from_release: str
    actor: str
    url: str
    desired_hosts: int
    rollback: bool
    started_ns: int
    finished_ns: int
    status: Status
    withdrawn_ns: int
    inferred: bool
    episode: int = 1

    @property
    def at_ns(self) -> int:
        """Its start, or the first thing known of it."""
        return self.started_ns or min(at for at in (self.finished_ns, self.withdrawn_ns) if at)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept and shown. The newest is kept; the rest is counted."""

    deploys: int = 50  # of one service and environment
    services: int = 200  # services and environments
    events: int = 4  # of a deploy, on average
    all_events: int = 5000


@dataclass(frozen=True, slots=True)
class Shown:
    """The deploys to show, oldest first, and how many are not shown because there are too many of them."""

    deploys: tuple[Deploy, ...]
    hidden_deploys: int
    hidden_services: int


Place = tuple[str, str]  # service, environment


class Deploys:
    """The events kept, and what they mean.

    Of each service and environment the newest are kept, and of these the newest of all: which ones does not depend on
    the order in which they were added.
    """

    def __init__(self, events: Iterable[DeployEvent] = (), bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._events: dict[Place, list[DeployEvent]] = {}
        self._count = 0
        for event in events:
            self.add(event)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Deploys) and self._events == other._events

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, event: DeployEvent) -> bool:
        """Take an event in; False when it was there already, or is older than all that can be kept."""
        place = (event.service, event.env)
        kept = self._events.setdefault(place, [])
        at = bisect_left(kept, event)
        if at < len(kept) and kept[at] == event:
            return False
        kept.insert(at, event)
        self._count += 1
        dropped = None
        if len(kept) > self.bounds.deploys * self.bounds.events:
            dropped = self._drop_oldest(place)
        elif self._count > self.bounds.all_events:
            dropped = self._drop_oldest(min(self._events, key=lambda one: self._events[one][0]))
        return dropped != event

    def events(self) -> list[DeployEvent]:
        """All events kept, in order."""
        return sorted(event for events in self._events.values() for event in events)

    def of(self, service: str, env: str) -> list[Deploy]:
        """The deploys of a service in an environment, oldest first; nothing hidden but what hosts only repeat."""
        return _numbered(_without_echoes(_put_together(self._events.get((service, env), []))))

    def shown(self, since_ns: int = 0) -> Shown:
        """The deploys since ``since_ns``, as many as may be shown."""
        places = sorted(self._events, key=lambda place: self._events[place][-1], reverse=True)
        shown: list[Deploy] = []
        hidden = 0
        for place in places[: self.bounds.services]:
            deploys = [deploy for deploy in self.of(*place) if deploy.at_ns >= since_ns]
            hidden += max(0, len(deploys) - self.bounds.deploys)
            shown += deploys[-self.bounds.deploys :]
        shown.sort(key=attrgetter("at_ns", "service", "env", "id"))
        return Shown(tuple(shown), hidden, max(0, len(places) - self.bounds.services))

    def _drop_oldest(self, place: Place) -> DeployEvent:
        events = self._events[place]
        dropped = events.pop(0)
        if not events:
            del self._events[place]
        self._count -= 1
        return dropped


Key = tuple[str, str]  # id, generation: one pipeline may roll out several generations


def _put_together(events: list[DeployEvent]) -> list[Deploy]:
    """The deploys that events in order of time make, in order of their beginning."""
    groups = _grouped(events)
    started = [(group[0], _start(group[1]), group[1]) for group in groups if _start(group[1])]
    for key, group in groups:
        if not _start(group):
            home = max(
                (one for one in started if _ends(group, key, one[0], one[1])), key=lambda one: one[1], default=None
            )
            if home is not None:
                home[2].extend(group)
                group.clear()
    deploys = (_of(key[0], sorted(group)) for key, group in groups if group)
    return sorted(deploys, key=attrgetter("at_ns", "id", "generation"))


def _grouped(events: list[DeployEvent]) -> list[tuple[Key, list[DeployEvent]]]:
    """The events of each deploy. One that starts again after another has started is another deploy: somebody went back."""
    groups: list[tuple[Key, list[DeployEvent]]] = []
    last: dict[Key, list[DeployEvent]] = {}
    newest: Key | None = None
    for event in events:
        key = (event.id or event.generation, event.generation)
        starts = event.action in STARTS and not event.inferred
        group = last.get(key)
        if group is None or (starts and key != newest and _start(group)):
            group = last[key] = []
            groups.append((key, group))
        group.append(event)
        newest = key if starts else newest
    return groups


def _start(group: list[DeployEvent]) -> int:
    return min((event.at_ns for event in group if event.action in STARTS), default=0)


def _ends(stray: list[DeployEvent], key: Key, other: Key, started_ns: int) -> bool:
    """Whether what was told without its generation, or under another id (another pipeline's), is of that deploy."""
    same = other[1] == key[1] if key[1] else other[0] == key[0]
    return same and started_ns <= stray[-1].at_ns


def _of(key: str, events: list[DeployEvent]) -> Deploy:
    """One deploy from its events: of each field what was told last, but the first of its starts."""
    told = [event for event in events if not event.inferred] or events
    starts = [event.at_ns for event in told if event.action in STARTS]
    ends = [event for event in told if event.action in ("finished", "failed")]
    withdrawals = [event.at_ns for event in events if event.action == "withdrawn"]
    texts: dict[str, Any] = {
        name: next((text for event in reversed(events) if (text := getattr(event, name))), "") for name in _TEXTS
    }
    texts["id"] = key
    return Deploy(
        **texts,
        desired_hosts=next((event.desired_hosts for event in reversed(events) if event.desired_hosts), 0),
        rollback=any(event.action == "rollback" for event in events),
        started_ns=min(starts, default=0),
        finished_ns=ends[-1].at_ns if ends else 0,
        status="" if not ends else "succeeded" if ends[-1].action == "finished" else "failed",
        withdrawn_ns=min(withdrawals, default=0),
        inferred=all(event.inferred for event in events),
    )


def _without_echoes(deploys: list[Deploy]) -> list[Deploy]:
    """Leave out what hosts show and somebody told of: the same generation at about the same time.

    A withdrawal that only the hosts show is kept, with the deploy that was told.
    """
    told = [deploy for deploy in deploys if not deploy.inferred]
    kept: dict[int, Deploy] = {id(deploy): deploy for deploy in told}
    for deploy in deploys:
        if not deploy.inferred:
            continue
        home = next((one for one in told if _same(one, deploy)), None)
        if home is None:
            kept[id(deploy)] = deploy
        elif deploy.withdrawn_ns and not kept[id(home)].withdrawn_ns:
            kept[id(home)] = replace(kept[id(home)], withdrawn_ns=deploy.withdrawn_ns)
    return sorted(kept.values(), key=attrgetter("at_ns", "id"))


def _same(told: Deploy, seen: Deploy) -> bool:
    first, last = told.at_ns, max(told.at_ns, told.finished_ns)
    return told.generation == seen.generation and first - TOLERANCE_NS <= seen.at_ns <= last + TOLERANCE_NS


def _numbered(deploys: list[Deploy]) -> list[Deploy]:
    """Count for each generation how many times it became the newest after another."""
    times: dict[str, int] = {}
    newest = None
    numbered = []
    for deploy in deploys:
        if deploy.generation != newest and deploy.started_ns:
            times[deploy.generation] = times.get(deploy.generation, 0) + 1
            newest = deploy.generation
        numbered.append(replace(deploy, episode=times.get(deploy.generation, 1)))
    return numbered
