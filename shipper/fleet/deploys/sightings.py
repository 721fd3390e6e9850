"""Which hosts a gateway has seen, from their births, statements and farewells: what episodes are inferred from.

Merging what several gateways saw is commutative and idempotent, as with deploy events. Statements are decoded once a life;
after that any request of a host is its sign of life.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shipper.fleet.episodes import HostLife
from shipper.fleet.statements import Event

SILENCE_NS = 300 * 1_000_000_000
"""A host not heard of for so long counts as gone: longer than an outage of ours should last."""
FORGET_NS = 6 * 3600 * 1_000_000_000
"""How long a host that is gone is remembered; what it showed is kept as deploy events."""
MOST = 5000
"""Hosts remembered; beyond, those heard of last are kept."""
COARSE_NS = 60 * 1_000_000_000
"""Signs of life are passed on rounded down to this, so that not every one of them is written down."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A host's life, and when it was heard of last."""

    host: HostLife
    seen_ns: int


class Sightings:
    """The lives seen. ``since_ns``: since when we listen; silence before that says nothing."""

    def __init__(self, since_ns: int) -> None:
        self._since_ns = since_ns
        self._lives: dict[str, Sighting] = {}
        self.forgotten = 0  # for want of room

    def __len__(self) -> int:
        return len(self._lives)

    def listen_anew(self, now_ns: int) -> None:
        """We did not listen for a while, or time jumped: what was silent since may well live."""
        self._since_ns = now_ns

    def heard(self, life: str, now_ns: int) -> bool:
        """A sign of life; False when nothing else is known of it yet."""
        known = self._lives.get(life)
        if known is not None:
            self._lives[life] = replace(known, seen_ns=max(known.seen_ns, now_ns))
        return known is not None

    def told(self, event: Event, now_ns: int) -> None:
        """A host stated something."""
        statement = event.statement
        if statement.role == "gateway" or statement.adopted_by or not statement.life:
            return  # what another life says in its place is no sign of it
        labels = statement.labels
        at_ns = min(
            statement.at_ns or now_ns, now_ns
        )  # a host's clock that is ahead does not move its end to the future
        ended = at_ns if event.what == "farewell" and statement.ends_life else 0
        host = HostLife(
            statement.life,
            labels.get("service", ""),
            labels.get("environment", ""),
            labels.get("generation", ""),
            labels.get("release", ""),
            labels.get("image", ""),
            min(statement.born_ns or at_ns, now_ns),
            ended,
        )
        if host.service:
            self.merge([Sighting(host, now_ns)])

    def merge(self, others: Iterable[Sighting]) -> None:
        """Take in what another gateway saw."""
        for other in others:
            known = self._lives.get(other.host.life)
            self._lives[other.host.life] = other if known is None else _both(known, other)

    def forget(self, now_ns: int) -> None:
        """Forget the hosts that are gone for long, and those that there is no room for."""
        kept = {life: one for life, one in self._lives.items() if _last(one) >= now_ns - FORGET_NS}
        if len(kept) > MOST:
            self.forgotten += len(kept) - MOST
            kept = dict(sorted(kept.items(), key=lambda item: (_last(item[1]), item[0]))[-MOST:])
        self._lives = kept

    def hosts(self, now_ns: int) -> list[HostLife]:
        """The lives, those fallen silent ended when they were last heard of."""
        quiet = now_ns - SILENCE_NS
        listening = self._since_ns <= quiet
        return [
            replace(one.host, ended_ns=one.seen_ns)
            if listening and not one.host.ended_ns and one.seen_ns < quiet
            else one.host
            for one in self._lives.values()
        ]

    def all(self) -> list[Sighting]:
        """What to pass on."""
        return list(self._lives.values())


def _last(one: Sighting) -> int:
    return max(one.host.ended_ns, one.seen_ns)


def _both(one: Sighting, other: Sighting) -> Sighting:
    first, second = sorted((one.host, other.host), key=lambda host: (host.born_ns, host.life, host.generation))
    ends = [host.ended_ns for host in (first, second) if host.ended_ns]
    return Sighting(replace(first, ended_ns=max(ends, default=0)), max(one.seen_ns, other.seen_ns))
