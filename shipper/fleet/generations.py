"""The generations that an archive knows of: which release on which image, on which hosts, from when to when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shipper.fleet.archive import Archive
from shipper.fleet.audit import audit
from shipper.fleet.report import AuditReport, LifeReport


@dataclass(slots=True)
class GenerationRow:
    """One generation; times are ns since the epoch, ``records`` are those archived, each once."""

    generation: str
    release: str
    image: str
    hosts: set[str] = field(default_factory=set)
    lives: int = 0
    first_ns: int = 0
    last_ns: int = 0
    records: int = 0

    def add(self, life: LifeReport) -> None:
        """Count a life of this generation."""
        self.hosts.add(life.host or life.life)
        self.lives += 1
        self.first_ns = min(self.first_ns or life.born_ns, life.born_ns or self.first_ns)
        self.last_ns = max(self.last_ns, life.heard_ns)
        self.records += life.counts.archived


def generations(source: AuditReport | Archive | str) -> list[GenerationRow]:
    """The generations in the order in which they first appeared, from an audit or from an archive."""
    report = source if isinstance(source, AuditReport) else audit(source)
    rows: dict[tuple[str, str, str], GenerationRow] = {}
    for life in report.lives:
        if life.role == "gateway":
            continue
        key = _key(life.labels)
        rows.setdefault(key, GenerationRow(*key)).add(life)
    return sorted(rows.values(), key=lambda row: (row.first_ns, row.generation))


def _key(labels: Mapping[str, str]) -> tuple[str, str, str]:
    return labels.get("generation", ""), labels.get("release", ""), labels.get("image", "")
