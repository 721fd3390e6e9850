"""Generations in time, from the births and ends of hosts alone.

A generation's key may come back: `kubectl rollout undo` brings the same pod-template-hash again, an old image the same launch
template. A key that becomes the newest again after another is a new *episode*. What is seen here is inferred; where somebody
told of a deploy, that is believed instead (`shipper.fleet.deploys.model`).

What counts as becoming the newest again: hosts are born of a key

- none of whose hosts was left; or
- whose hosts had become fewer than half, and then the newest generation went away altogether.

Births of an older key beside the newest are replacements of its hosts, and begin nothing. A newest generation that goes away
while another still serves, which had kept at least half of its hosts, was *withdrawn*: it never replaced the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter


@dataclass(frozen=True, slots=True)
class HostLife:
    """One life of one host. Times in ns since the epoch; ``ended_ns`` 0: it lives."""

    life: str
    service: str
    env: str
    generation: str
    release: str
    image: str
    born_ns: int
    ended_ns: int = 0


@dataclass(frozen=True, slots=True)
class Episode:
    """One time that a generation was the newest. ``number``: 1 for its first. Times in ns, 0: it did not happen.

    ``rollback``: its release, or the generation itself, was there before and another since. ``from_release``: what it replaced.
    """

    service: str
    env: str
    generation: str
    release: str
    image: str
    number: int
    started_ns: int
    rollback: bool = False
    withdrawn_ns: int = 0
    from_release: str = ""


def episodes(lives: Iterable[HostLife], settled: Iterable[Episode] = ()) -> list[Episode]:
    """All episodes, in order of their start.

    ``settled``: what was found earlier, when lives were known that are forgotten now. It stays as it is, but for a
    withdrawal that shows now, and the start of a generation of which an older host turns up.
    """
    by_place: dict[tuple[str, str], tuple[list[HostLife], list[Episode]]] = {}
    for life in lives:
        if life.generation and life.born_ns > 0:
            by_place.setdefault((life.service, life.env), ([], []))[0].append(life)
    for episode in settled:
        by_place.setdefault((episode.service, episode.env), ([], []))[1].append(episode)
    found = [episode for known in by_place.values() for episode in _Walk(known[1]).over(known[0])]
    return sorted(found, key=attrgetter("started_ns", "service", "env", "generation"))


class _Walk:
    """Goes through the births and ends of one service in one environment, in order of time."""

    def __init__(self, settled: Sequence[Episode]) -> None:
        self._found = sorted(settled, key=attrgetter("started_ns", "generation", "number"))
        self._settled_to = max((at for one in self._found for at in (one.started_ns, one.withdrawn_ns)), default=0)
        self._alive: dict[str, int] = {}
        self._before: dict[str, int] = {}  # hosts of each other key when the newest began
        self._least: dict[str, int] = {}  # and the fewest of them since
        self._again: HostLife | None = None  # the first birth of an older key since the newest's last
        standing = [at for at, one in enumerate(self._found) if not one.withdrawn_ns]
        self._newest = standing[-1] if standing else -1

    def over(self, lives: Iterable[HostLife]) -> list[Episode]:
        """The episodes, those settled included."""
        for at_ns, life, born in sorted(_happenings(lives), key=_order):
            if born:
                self._decide(life, at_ns)
                self._alive[life.generation] = self._alive.get(life.generation, 0) + 1
            else:
                left = self._alive[life.generation] = self._alive[life.generation] - 1
                self._least[life.generation] = min(left, self._least.get(life.generation, left))
                if not left:
                    self._gone(life.generation, at_ns)
            if at_ns <= self._settled_to:
                self._remember_sizes()
        return self._found

    def _decide(self, life: HostLife, at_ns: int) -> None:
        known = [at for at, one in enumerate(self._found) if one.generation == life.generation]
        if not known:
            self._begin(life, at_ns, 1)
        elif at_ns <= self._settled_to:
            first = known[0]
            if at_ns < self._found[first].started_ns:
                self._found[first] = replace(self._found[first], started_ns=at_ns)
        elif self._newest >= 0 and self._found[self._newest].generation == life.generation:
            self._again = None
        elif not self._alive.get(life.generation):
            self._begin(life, at_ns, len(known) + 1)
        elif self._again is None or self._again.generation != life.generation:
            self._again = life

    def _gone(self, generation: str, at_ns: int) -> None:
        """No host of a generation is left; decide what that means if it was the newest."""
        if self._again is not None and self._again.generation == generation:
            self._again = None
        if at_ns < self._settled_to or self._newest < 0 or self._found[self._newest].generation != generation:
            return
        again = self._again
        if again is not None and self._shrunk(again.generation):
            number = 1 + sum(one.generation == again.generation for one in self._found)
            self._begin(again, again.born_ns, number)
            return
        serving = [at for at, one in enumerate(self._found) if self._alive.get(one.generation) and not one.withdrawn_ns]
        if serving:  # else the whole fleet is gone, and whatever comes next decides
            for at in range(serving[-1] + 1, len(self._found)):  # none of them replaced the one that still serves
                if not self._found[at].withdrawn_ns:
                    self._found[at] = replace(self._found[at], withdrawn_ns=at_ns)
            self._newest = serving[-1]
            self._again = None
            self._remember_sizes()

    def _begin(self, life: HostLife, at_ns: int, number: int) -> None:
        before = [one for one in self._found if one.started_ns <= at_ns]
        previous = self._found[self._newest] if self._newest >= 0 else None
        seen = any(one.release == life.release for one in before) if life.release else False
        other = previous is not None and previous.release != life.release
        begun = Episode(
            life.service,
            life.env,
            life.generation,
            life.release,
            life.image,
            number,
            at_ns,
            rollback=number > 1 or (seen and other),
            from_release=previous.release if previous is not None else "",
        )
        self._found.insert(len(before), begun)
        if len(before) == len(self._found) - 1 or self._newest < 0:
            self._newest = len(before)
            self._again = None
            self._remember_sizes()
        elif self._newest >= len(before):
            self._newest += 1

    def _remember_sizes(self) -> None:
        self._before = dict(self._alive)
        self._least = dict(self._alive)

    def _shrunk(self, generation: str) -> bool:
        return 2 * self._least.get(generation, 0) < self._before.get(generation, 0)


def _happenings(lives: Iterable[HostLife]) -> Iterator[tuple[int, HostLife, bool]]:
    """Births and ends."""
    for life in lives:
        yield life.born_ns, life, True
        if life.ended_ns:
            yield max(life.ended_ns, life.born_ns), life, False


def _order(happening: tuple[int, HostLife, bool]) -> tuple[int, bool, str, str]:
    """In time. Where both are at one moment the birth comes first: a host was replaced by another."""
    at_ns, life, born = happening
    return at_ns, not born, life.generation, life.life
