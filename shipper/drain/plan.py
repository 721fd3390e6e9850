"""What a drain would do if it began now: for ``shipper drain --dry-run`` and for status. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shipper.drain.budget import ASSUMED_RATE, MISS, SHORT, Load, needed, share
from shipper.drain.drainable import Drainable

LARGEST = 10  # streams named of each destination


@dataclass(frozen=True, slots=True)
class Sight:
    """A destination as it is now: bytes by stream, measured bytes a second (0.0 unknown), whether it fails."""

    name: str
    backlog: Mapping[str, int]
    rate: float
    failing: bool

    @classmethod
    def of(cls, pump: Drainable) -> Sight:
        """What a pump shows."""
        return cls(pump.name, pump.backlog(), pump.rate(), pump.failing())


@dataclass(frozen=True, slots=True)
class Leg:
    """One destination's part of a plan. ``seconds``: None when it fails. ``left``: bytes that would not get there in time."""

    name: str
    backlog_bytes: int
    streams: Mapping[str, int]  # the largest; "other" for the rest
    rate: float
    assumed: bool  # the rate is not measured
    failing: bool
    seconds: float | None
    order: str  # "simple" or "value"
    left: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A drain on paper. Times in seconds; ``fallback_used``: it would take over, or has."""

    state: str
    seconds: float | None  # None: no deadline
    origin: str
    reserve: float
    legs: tuple[Leg, ...]
    fallback: str
    fallback_used: bool
    holds: tuple[str, ...]
    unproved: tuple[str, ...]
    waiting_for: tuple[str, ...]

    @property
    def left(self) -> int:
        """Bytes that would not get where they belong, nor to a fallback."""
        return 0 if self.fallback else sum(leg.left for leg in self.legs)

    def answer(self) -> dict[str, Any]:
        """What ``POST /drain`` with ``dry_run`` answers: the plan, the same for people, and an exit status (3: some is left)."""
        return {"plan": self.as_dict(), "message": self.text(), "exit_code": 3 if self.left else 0}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def text(self) -> str:
        """For people, one line a fact."""
        time = "no deadline" if self.seconds is None else f"{self.seconds:.1f} s ({self.origin})"
        lines = [f"{self.state}; a drain has {time}, {self.reserve:.2f} s of it kept for the farewell"]
        for leg in self.legs:
            lines += _leg_lines(leg)
        if self.fallback:
            use = "takes over as well" if self.fallback_used else "only gets the farewell"
            lines.append(f"fallback {self.fallback}: {use}")
        elif any(leg.left for leg in self.legs):
            lines.append("no fallback is configured (fallback.destination)")
        if self.waiting_for:
            lines.append(f"waits for the end of: {', '.join(self.waiting_for)}")
        if self.holds:
            kept = f"; kept until the deadline because of {', '.join(self.unproved)}" if self.unproved else ""
            lines.append(f"keeps waiting until then: {', '.join(self.holds)}{kept}")
        return "\n".join(lines)


def make_plan(
    sights: Sequence[Sight],
    *,
    state: str,
    seconds: float,
    origin: str,
    reserve: float,
    fallback: str = "",
    taken_over: bool = False,
    holds: Sequence[str] = (),
    unproved: Sequence[str] = (),
    waiting_for: Sequence[str] = (),
) -> Plan:
    """The plan for ``seconds`` (inf: no deadline), by the same rules that a drain under way follows (`budget`)."""
    usable = max(0.0, seconds - reserve)
    legs = tuple(_leg(sight, usable) for sight in sights)
    late = any(leg.left for leg in legs)
    return Plan(
        state=state,
        seconds=seconds if math.isfinite(seconds) else None,
        origin=origin,
        reserve=reserve,
        legs=legs,
        fallback=fallback,
        fallback_used=bool(fallback) and (taken_over or late),
        holds=tuple(holds),
        unproved=tuple(unproved),
        waiting_for=tuple(waiting_for),
    )


def _leg(sight: Sight, usable: float) -> Leg:
    backlog = sum(sight.backlog.values())
    load = Load(backlog, sight.rate, sight.failing)
    part = share(load, usable)
    failing = sight.failing and backlog > 0
    left = backlog if failing else 0 if part <= MISS else backlog - round(usable * (sight.rate or ASSUMED_RATE))
    return Leg(
        name=sight.name,
        backlog_bytes=backlog,
        streams=_largest(sight.backlog),
        rate=sight.rate or ASSUMED_RATE,
        assumed=not sight.rate,
        failing=sight.failing,
        seconds=None if failing else needed(load),
        order="value" if failing or part > SHORT else "simple",
        left=left,
    )


def _largest(backlog: Mapping[str, int]) -> dict[str, int]:
    named = heapq.nlargest(LARGEST, backlog, key=backlog.__getitem__)
    streams = {name: backlog[name] for name in named}
    if rest := sum(backlog.values()) - sum(streams.values()):
        streams["other"] = streams.get("other", 0) + rest
    return streams


def _leg_lines(leg: Leg) -> list[str]:
    if not leg.backlog_bytes:
        return [f"{leg.name}: nothing left to send{', but it fails now' if leg.failing else ''}"]
    if leg.seconds is None:
        first = f"{leg.name}: {leg.backlog_bytes:,} bytes, and it fails now"
    else:
        how = "assumed, nothing measured yet" if leg.assumed else "measured"
        first = (
            f"{leg.name}: {leg.backlog_bytes:,} bytes, about {leg.seconds:.1f} s at {leg.rate / 1e6:.2f} MB/s ({how})"
        )
    order = "errors and last words first" if leg.order == "value" else "oldest first"
    left = f"; {leg.left:,} bytes would be left" if leg.left else ""
    return [f"{first}; {order}{left}", *(f"  {size:,} bytes of {name}" for name, size in leg.streams.items())]
