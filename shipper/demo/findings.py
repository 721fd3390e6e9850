"""What the demo reads out of the archive when everything is over: generations, errors, exposure. Nothing else is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from shipper.contracts import Signal, StreamKind
from shipper.fleet.archive import Archive
from shipper.fleet.labels import labels_of
from shipper.otlp import decode

_REQUEST = re.compile(r" status=(\d)")
_EMITTED = re.compile(r"emitted_ns=(\d+)")


@dataclass(slots=True)
class Generation:
    """One deploy's hosts, as their records tell it. Times in nanoseconds since the epoch."""

    key: str
    release: str
    image: str
    hosts: set[str] = field(default_factory=set)
    requests: int = 0
    errors: int = 0
    first_ns: int = 0
    last_ns: int = 0

    @property
    def error_ratio(self) -> float:
        """Failed requests to all requests."""
        return self.errors / self.requests if self.requests else 0.0

    def saw(self, at_ns: int) -> None:
        """A record of that time belongs to it."""
        self.first_ns = min(self.first_ns or at_ns, at_ns)
        self.last_ns = max(self.last_ns, at_ns)


@dataclass(slots=True)
class Findings:
    """Generations in order of their first record, and the exposure of every record in seconds, in order of size."""

    generations: list[Generation]
    exposures: list[float]

    def exposure(self, share: float) -> float:
        """The exposure that ``share`` of the records did not exceed; 0 without records."""
        return self.exposures[min(len(self.exposures) - 1, int(share * len(self.exposures)))] if self.exposures else 0.0


def read_findings(archive: Archive) -> Findings:
    """Read every data record of the archive once. A record's exposure ends when the gateway had it, before its fsync."""
    generations: dict[str, Generation] = {}
    exposures: list[float] = []
    seen: set[tuple[str, str, int, int]] = set()
    for ranges in archive.index().lists:
        for piece in archive.pieces(ranges):
            entry = piece.entry
            key = (entry.life, entry.stream, entry.start, entry.end)
            if piece.signal is not Signal.LOGS or entry.kind != StreamKind.DATA or not piece.sound or key in seen:
                continue
            seen.add(key)
            exposures += _take(generations, decode.records(piece.signal, piece.payload), entry.received_ns)
    return Findings(sorted(generations.values(), key=lambda one: one.first_ns), sorted(exposures))


def _take(generations: dict[str, Generation], records: Iterable[decode.Record], received_ns: int) -> list[float]:
    exposures = []
    for record in records:
        labels = labels_of(record.resource)
        generation = generations.setdefault(
            labels.get("generation", ""),
            Generation(labels.get("generation", ""), labels.get("release", ""), labels.get("image", "")),
        )
        generation.hosts.add(labels.get("host", ""))
        body = str(record.body)
        if request := _REQUEST.search(body):
            generation.requests += 1
            generation.errors += request[1] == "5"
        if emitted := _EMITTED.search(body):
            generation.saw(int(emitted[1]))
            exposures.append((received_ns - int(emitted[1])) / 1e9)
    return exposures
