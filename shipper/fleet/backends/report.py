"""What comparing with a backend found, as values; ``as_json`` is what ``shipper audit --loki URL --json`` prints.

Counts are records. The JSON has the names used here, and::

    {"version": 1, "backend", "at_ns", "since_ns", "ok", "proof": "accepted", "means", "limits": [text], "remarks": [text],
     "totals": {<count>: n}, "lives": [{<life>, "counts": [{"what", "destination", "result", "why", <count>: n}]}]}

Fields may be added to it; none changes its meaning while ``version`` stays 1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from shipper.fleet.report import LifeReport

Result = Literal["equal", "missing", "more", "not yet", "cannot be told", "not compared"]
"""``not yet``: fewer than acknowledged, but heard of just now. ``more``: more than acknowledged, or at least as many of a life
that goes on. ``cannot be told``: fewer, and it is older than what the backend keeps. ``not compared``: ``why`` says it."""

MEANS = (
    "Accepted by the backend, not proved by range: counts are equal or not, which lines they are of nobody looked at. "
    "An archive's audit reads the bytes and names each range that is not there."
)


@dataclass(slots=True)
class Compared:
    """One kind of records of a life. ``acknowledged``: as the life says of ``destination``; ``pending``: not, by its last word;
    ``found``: what the backend counts. ``missing`` and ``more`` are the difference."""

    what: str
    destination: str = ""
    result: Result = "not compared"
    why: str = ""
    acknowledged: int = 0
    pending: int = 0
    found: int = 0
    missing: int = 0
    more: int = 0


@dataclass(slots=True)
class Row:
    """A life, who it is and how it ended, and what was compared."""

    life: LifeReport
    counts: list[Compared] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing is missing."""
        return not any(compared.missing and compared.result == "missing" for compared in self.counts)

    def as_json(self) -> dict[str, Any]:
        """Builtin types."""
        life = self.life
        return {
            "life": life.life,
            "host": life.host,
            "role": life.role,
            "labels": life.labels,
            "ended": life.ended,
            "born_ns": life.born_ns,
            "heard_ns": life.heard_ns,
            "reason": life.reason,
            "adopted_by": life.adopted_by,
            "notes": life.notes,
            "ok": self.ok,
            "counts": [asdict(compared) for compared in self.counts],
        }


@dataclass(slots=True)
class BackendReport:
    """The whole comparison. ``since_ns``: since when farewells were asked for; 0: all that the backend has."""

    backend: str
    at_ns: int
    since_ns: int
    limits: tuple[str, ...]
    remarks: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Somebody was heard of, and nothing is missing."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    def totals(self) -> dict[str, int]:
        """Over all lives that were compared."""
        compared = [one for row in self.rows for one in row.counts if one.result != "not compared"]
        names = ("acknowledged", "pending", "found", "more")
        totals = {name: sum(getattr(one, name) for one in compared) for name in names}
        totals["missing"] = sum(one.missing for one in compared if one.result == "missing")
        return totals

    def as_json(self) -> dict[str, Any]:
        """Builtin types for ``json.dumps``."""
        return {
            "version": 1,
            "backend": self.backend,
            "at_ns": self.at_ns,
            "since_ns": self.since_ns,
            "ok": self.ok,
            "proof": "accepted",
            "means": MEANS,
            "limits": list(self.limits),
            "remarks": self.remarks,
            "totals": self.totals(),
            "lives": [row.as_json() for row in self.rows],
        }
