"""What the demo counts in the archive's records when everything is over: requests and errors by host, and exposure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from shipper.contracts import Signal, StreamKind
from shipper.fleet.archive import Archive, Piece
from shipper.fleet.labels import labels_of
from shipper.otlp import decode

_REQUEST = re.compile(r" status=(\d)")
_EMITTED = re.compile(r"emitted_ns=(\d+)")


@dataclass(slots=True)
class Tally:
    """Requests that were served, and those of them that failed."""

    requests: int = 0
    errors: int = 0

    @property
    def error_ratio(self) -> float:
        """Failed requests to all requests."""
        return self.errors / self.requests if self.requests else 0.0


@dataclass(slots=True)
class Findings:
    """Tallies by host, and the exposure of every record in seconds, in order of size."""

    hosts: dict[str, Tally] = field(default_factory=dict)
    exposures: list[float] = field(default_factory=list)

    def of(self, hosts: Iterable[str]) -> Tally:
        """The requests to these hosts together."""
        counted = [self.hosts[host] for host in hosts if host in self.hosts]
        return Tally(sum(one.requests for one in counted), sum(one.errors for one in counted))

    def exposure(self, share: float) -> float:
        """The exposure that ``share`` of the records did not exceed; 0 without records."""
        return self.exposures[min(len(self.exposures) - 1, int(share * len(self.exposures)))] if self.exposures else 0.0


def read_findings(archive: Archive) -> Findings:
    """Read every data record of the archive once. A record's exposure ends when the gateway had it, before its fsync."""
    findings = Findings()
    for piece in _once(archive):
        _take(findings, decode.records(piece.signal, piece.payload), piece.entry.received_ns)
    findings.exposures.sort()
    return findings


def _once(archive: Archive) -> Iterator[Piece]:
    seen: set[tuple[str, str, int, int]] = set()
    for ranges in archive.index().lists:
        for piece in archive.pieces(ranges):
            entry = piece.entry
            key = (entry.life, entry.stream, entry.start, entry.end)
            if piece.signal is Signal.LOGS and entry.kind == StreamKind.DATA and piece.sound and key not in seen:
                seen.add(key)
                yield piece


def _take(findings: Findings, records: Iterable[decode.Record], received_ns: int) -> None:
    for record in records:
        tally = findings.hosts.setdefault(labels_of(record.resource).get("host", ""), Tally())
        body = str(record.body)
        if request := _REQUEST.search(body):
            tally.requests += 1
            tally.errors += request[1] == "5"
        if emitted := _EMITTED.search(body):
            findings.exposures.append((received_ns - int(emitted[1])) / 1e9)
