"""The generations that an archive knows of: which release on which image, on which hosts, from when to when.

A generation whose key came back after another is listed once for each time, see `shipper.fleet.episodes`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from shipper.fleet.archive import Archive
from shipper.fleet.audit import audit
from shipper.fleet.episodes import Episode, HostLife, episodes
from shipper.fleet.report import OPEN, AuditReport, LifeReport


@dataclass(slots=True)
class GenerationRow:
    """One generation, one time that it was the newest (``episode``: 1 for the first); times are ns since the epoch.

    ``records`` are those archived, each once. ``rollback`` and ``withdrawn_ns`` are inferred from the hosts. ``life_ids``:
    whose figures belong to it.
    """

    generation: str
    release: str
    image: str
    episode: int = 1
    rollback: bool = False
    withdrawn_ns: int = 0
    hosts: set[str] = field(default_factory=set)
    lives: int = 0
    first_ns: int = 0
    last_ns: int = 0
    records: int = 0
    service: str = ""
    environment: str = ""
    life_ids: set[str] = field(default_factory=set)

    def add(self, life: LifeReport) -> None:
        """Count a life of this generation."""
        self.hosts.add(life.host or life.life)
        self.lives += 1
        self.life_ids.add(life.life)
        self.first_ns = min(self.first_ns or life.born_ns, life.born_ns or self.first_ns)
        self.last_ns = max(self.last_ns, life.heard_ns)
        self.records += life.counts.archived


def generations(source: AuditReport | Archive | str) -> list[GenerationRow]:
    """The generations in the order in which they first appeared, from an audit or from an archive."""
    report = source if isinstance(source, AuditReport) else audit(source)
    lives = [life for life in report.lives if life.role != "gateway"]
    begun = _begun(episodes(map(host_life, lives)))
    rows: dict[tuple[str, ...], GenerationRow] = {}
    for life in lives:
        host = host_life(life)
        episode = _episode(begun.get((host.service, host.env, host.generation), ()), host)
        number = episode.number if episode else 1
        row = rows.setdefault(
            (host.service, host.env, host.generation, host.release, host.image, str(number)),
            GenerationRow(
                host.generation, host.release, host.image, number, service=host.service, environment=host.env
            ),
        )
        if episode is not None:
            row.rollback = row.rollback or episode.rollback
            row.withdrawn_ns = max(row.withdrawn_ns, episode.withdrawn_ns)
        row.add(life)
    return sorted(rows.values(), key=lambda row: (row.first_ns, row.generation))


def _begun(found: Iterable[Episode]) -> dict[tuple[str, str, str], list[Episode]]:
    begun: dict[tuple[str, str, str], list[Episode]] = {}
    for episode in found:
        begun.setdefault((episode.service, episode.env, episode.generation), []).append(episode)
    return begun


def _episode(begun: Iterable[Episode], host: HostLife) -> Episode | None:
    """The last one that had begun when the host was born."""
    return max((one for one in begun if one.started_ns <= host.born_ns), key=lambda one: one.started_ns, default=None)


def host_life(life: LifeReport) -> HostLife:
    """What a life is to whoever infers generations from births and ends."""
    labels = life.labels
    return HostLife(
        life.life,
        labels.get("service", ""),
        labels.get("environment", ""),
        labels.get("generation", ""),
        labels.get("release", ""),
        labels.get("image", ""),
        life.born_ns,
        0 if life.ended in OPEN else life.heard_ns,
    )
