"""Episodes as deploy events, and back: what was inferred is kept as events, and is where inference goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shipper.fleet.deploys.model import DeployEvent
from shipper.fleet.episodes import Episode, HostLife, episodes

_ID = "inferred/"


def infer(lives: Iterable[HostLife], known: Iterable[DeployEvent]) -> Iterator[DeployEvent]:
    """The events that hosts show, of which those in ``known`` (told or inferred earlier) may be some."""
    for episode in episodes(lives, _settled(known)):
        yield _event(episode, episode.started_ns, withdrawn=False)
        if episode.withdrawn_ns:
            yield _event(episode, episode.withdrawn_ns, withdrawn=True)


def _event(episode: Episode, at_ns: int, *, withdrawn: bool) -> DeployEvent:
    return DeployEvent(
        at_ns=at_ns,
        service=episode.service,
        env=episode.env,
        id=f"{_ID}{episode.number}/{episode.generation}",
        action="withdrawn" if withdrawn else "rollback" if episode.rollback else "started",
        generation=episode.generation,
        release=episode.release,
        image=episode.image,
        from_release=episode.from_release,
        inferred=True,
    )


def _settled(known: Iterable[DeployEvent]) -> list[Episode]:
    found: dict[tuple[str, str, str], list[DeployEvent]] = {}
    for event in sorted(known):
        if event.inferred and event.id.startswith(_ID):
            found.setdefault((event.service, event.env, event.id), []).append(event)
    return [episode for events in found.values() if (episode := _episode(events)) is not None]


def _episode(events: list[DeployEvent]) -> Episode | None:
    start = next((event for event in events if event.action != "withdrawn"), None)
    if start is None:  # it began so long ago that its start is forgotten
        return None
    number = start.id.removeprefix(_ID).partition("/")[0]
    return Episode(
        start.service,
        start.env,
        start.generation,
        start.release,
        start.image,
        int(number) if number.isdecimal() else 1,
        start.at_ns,
        rollback=any(event.action == "rollback" for event in events),
        withdrawn_ns=next((event.at_ns for event in events if event.action == "withdrawn"), 0),
        from_release=start.from_release,
    )
