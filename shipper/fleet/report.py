"""What an audit found, as values; ``as_json`` is the stable machine form that ``shipper audit --json`` prints.

Counts are records, ranges are positions ``[start, end)`` of a stream. The JSON has the names used here, and::

    {"version": 1, "archive", "at_ns", "ok", "objects", "unlisted_objects", "unlisted_records",
     "damage": [{"key", "problem"}], "totals": {<count>: n}, "lives": [<life>], "truth": [<truth>]}

Fields may be added to it; none changes its meaning while ``version`` stays 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from shipper.fleet.archive import Damage

Ended = Literal["alive", "drained", "expired", "stopped", "notice", "silent", "no account"]
Adoption = Literal["", "under way", "drained", "expired"]
OPEN: tuple[Ended, ...] = ("alive",)
Ranges = list[tuple[int, int]]


@dataclass(slots=True)
class Counts:
    """Records. For an account that closes: read = archived + pending + filtered + ... + rejected + missing + unproved.

    ``archived``: found in the archive, each position once. ``duplicates``: stored again on top of that. ``missing``:
    neither there nor accounted for (at least that many; see the ranges). ``unproved``: taken by a destination on the host
    itself and not seen here. ``unread``: bytes known to exist that were not read.
    """

    read: int = 0
    archived: int = 0
    pending: int = 0
    filtered: int = 0
    sampled: int = 0
    dropped: int = 0
    quarantined: int = 0
    rejected: int = 0
    unproved: int = 0
    missing: int = 0
    duplicates: int = 0
    unread: int = 0

    def add(self, other: Counts) -> None:
        """Add the other's figures to these."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))


@dataclass(slots=True)
class StreamReport:
    """One stream of a life, at the destination that leads into this archive (empty when no account names the stream)."""

    id: str
    name: str
    signal: str
    destination: str = ""
    stated: bool = True  # False: the archive has it, and no account does
    trusted: bool = True
    read_to: int = 0
    counts: Counts = field(default_factory=Counts)
    missing_ranges: Ranges = field(default_factory=list)
    damaged_ranges: Ranges = field(default_factory=list)  # stored, but not what was listed; a part of the missing ones
    pending_ranges: Ranges = field(default_factory=list)
    unproved_ranges: Ranges = field(default_factory=list)
    lost_ranges: Ranges = field(default_factory=list)  # given up and said so
    quarantined_ranges: Ranges = field(default_factory=list)
    elsewhere_ranges: Ranges = field(default_factory=list)  # not here, as a fallback got it, or all but the fallback
    overlapping_ranges: Ranges = field(default_factory=list)  # stored twice in part, by differently cut batches

    @property
    def ok(self) -> bool:
        """Nothing is missing."""
        return not (self.missing_ranges or self.counts.missing)


@dataclass(slots=True)
class Exposed:
    """What a life had not got out by its last statement: ``bytes`` and ``records`` seen and not acknowledged, and the age in
    seconds of the oldest of it."""

    bytes: int = 0
    records: int = 0
    oldest: float = 0.0


@dataclass(slots=True)
class LifeReport:
    """One life of one host. ``unknown_after_ns``: it fell silent, and nothing is known of what came later.

    ``exposed``: what it had not got out when it fell silent, as it said last. ``notice``: the word it had of its end.
    ``adopted_by``: the life that ships what this one left on its disk; ``adoption`` says how far that is.
    """

    life: str
    host: str
    role: str
    labels: dict[str, str]
    ended: Ended
    born_ns: int = 0
    heard_ns: int = 0
    unknown_after_ns: int | None = None
    runs: int = 0
    reason: str = ""
    notes: list[str] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    exposure: dict[str, float | None] = field(default_factory=dict)
    exposed: Exposed | None = None
    notice: dict[str, Any] | None = None
    adopted_by: str = ""
    adoption: Adoption = ""
    skipped_statements: int = 0
    counts: Counts = field(default_factory=Counts)
    streams: list[StreamReport] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing is missing in any stream."""
        return all(stream.ok for stream in self.streams)

    @property
    def missing_bytes(self) -> int:
        """Positions that are missing; for files these are bytes."""
        return sum(end - start for stream in self.streams for start, end in stream.missing_ranges)


@dataclass(slots=True)
class TruthRow:
    """What somebody outside counted, beside what the audit found for it."""

    subject: str
    emitted: int
    read: int
    archived: int
    duplicates: int
    missing: int  # emitted and not archived
    surplus: int  # archived and never emitted


@dataclass(slots=True)
class AuditReport:
    """The whole audit. ``totals`` are over hosts; gateways carry the same records again and are not added."""

    archive: str
    at_ns: int
    objects: int = 0
    unlisted_objects: int = 0
    unlisted_records: int = 0
    damage: list[Damage] = field(default_factory=list)
    totals: Counts = field(default_factory=Counts)
    lives: list[LifeReport] = field(default_factory=list)
    truth: list[TruthRow] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing is missing and nothing damaged."""
        lost = any(row.missing for row in self.truth)
        return not (self.damage or lost) and all(life.ok for life in self.lives)

    def as_json(self) -> dict[str, Any]:
        """The machine form, of builtin types only."""
        form = {"version": 1, "ok": self.ok, **asdict(self)}
        for life, shown in zip(self.lives, form["lives"], strict=True):
            shown["ok"] = life.ok
            for stream, row in zip(life.streams, shown["streams"], strict=True):
                row["ok"] = stream.ok
        return form


def summed(counts: Iterable[Counts]) -> Counts:
    """All of them together."""
    total = Counts()
    for one in counts:
        total.add(one)
    return total
