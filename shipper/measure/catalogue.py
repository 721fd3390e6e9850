"""Every metric that a host ships of itself: its name, kind, unit, labels and meaning, in one table.

What is shipped, what docs/metrics.md says and what a test counts all come from here. By the rules by which OpenTelemetry
names become Prometheus names, dots become underscores, the unit ``s`` a suffix ``_seconds``, ``By`` ``_bytes``, and a counter
gets ``_total``. There is no cause and no stream among the labels, so that a host is at most 60 series; /metrics has those.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

EXPOSURE_EDGES = (0.025, 0.1, 0.5, 2.0, 10.0)
"""Where the shipped buckets of exposure end, in seconds; the registry has these, too, and more."""

OUTCOMES = {
    "accepted": "accepted",
    "partial": "accepted",
    "rejected": "rejected",
    "too_large": "rejected",
    "retryable": "retryable",
    "failed": "failed",
    "unusable": "failed",
}
"""What became of a request, and as what it is shipped."""

STATES = {"running": 1, "noticed": 2, "draining": 3, "drained": 4, "expired": 5}
"""The states of a run, as the value of ``shipper_host_state``."""

NOTICE_KINDS = ("advisory", "scheduled", "imminent")
FAREWELLS = ("drained", "expired")
_UNITS = {"s": "_seconds", "By": "_bytes"}


class Kind(StrEnum):
    """What a metric is; the value is Prometheus' word."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Own:
    """One metric. ``labels`` are its own, beside those of the identity; ``when`` says when it is there, if not always."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    when: str = ""

    @property
    def in_prometheus(self) -> str:
        """Its name there; of a histogram the common part of three."""
        unit = _UNITS.get(self.unit, "")
        total = "_total" if self.kind is Kind.COUNTER else ""
        return self.name.replace(".", "_").removesuffix(unit) + unit + total


_G, _C, _H = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM
_TO = ("destination",)

HOST_INFO = Own("shipper.host.info", _G, "1.", labels=("image", "zone", "host_type", "shipper_version"))
HOST_STARTED = Own("shipper.host.started.timestamp", _G, "When the host's life began.", "s")
GENERATION_STARTED = Own(
    "shipper.generation.started.timestamp", _G, "When the generation began, where known; else the host's life.", "s"
)
RELEASE_BUILT = Own("shipper.release.built.timestamp", _G, "When the release was built.", "s", when="where it is known")
HOST_STATE = Own("shipper.host.state", _G, "1 running, 2 noticed, 3 draining, 4 drained, 5 expired.")
NOTICES = Own("shipper.notices", _G, "Notices that stand.", labels=("kind",))
FAREWELL = Own(
    "shipper.farewells", _C, "1 in the last sample of a life that said farewell, by how its drain ended.", "{farewell}",
    ("outcome",),
)  # fmt: skip
DRAIN_LEFT = Own("shipper.drain.left", _G, "What a drain left unacknowledged, in its last sample; else 0.", "By")
BACKLOG = Own("shipper.backlog", _G, "Written but not acknowledged.", "By", _TO)
OLDEST = Own("shipper.oldest.unacknowledged", _G, "Age of the oldest record not yet acknowledged.", "s", _TO)
EXPOSURE = Own(
    "shipper.exposure", _H, "From a record being seen to its acknowledgement.", "s", _TO, when="not of a gateway"
)
ACKNOWLEDGED = Own("shipper.acknowledged.records", _C, "Records a destination said it has.", "{record}", _TO)
ACKNOWLEDGED_BYTES = Own("shipper.acknowledged.bytes", _C, "Source bytes a destination said it has.", "By", _TO)
REQUESTS_SENT = Own(
    "shipper.requests_sent", _C, "Requests sent, by what became of them.", "{request}", ("destination", "outcome")
)
DESTINATION_UP = Own("shipper.destination.up", _G, "0 where the destination fails just now, else 1.", labels=_TO)
FALLBACK_HELPING = Own(
    "shipper.fallback.helping", _G, "1 while the fallback stands in for others or works for a drain, else 0.", labels=_TO,
    when="where there is a fallback",
)  # fmt: skip
QUARANTINED = Own("shipper.quarantined.records", _C, "Records set aside on disk.", "{record}", _TO)
REJECTED = Own("shipper.rejected.records", _C, "Records refused in a partial success.", "{record}", _TO)
DROPPED = Own("shipper.dropped.records", _C, "Records given up.", "{record}", _TO)
LOST = Own("shipper.lost", _C, "Bytes destroyed before they could be read.", "By")
SERVICE_LOST = Own("shipper.service.lost.records", _C, "Records services lost before they had a position.", "{record}")
PROBLEMS = Own("shipper.problems", _C, "Things that went wrong and were survived.", "{problem}")
SPOOL = Own("shipper.spool", _G, "Held on disk by all spools.", "By")
STREAMS = Own("shipper.streams", _G, "Streams known and not yet retired.")
OPEN_FILES = Own("shipper.open.files", _G, "Descriptors held by file tailing.")
MEMORY = Own("process.resident.memory", _G, "Memory of Shipper itself.", "By")
CPU = Own("process.cpu", _C, "Processor time of Shipper itself, all its runs in this life together.", "s")

CATALOGUE = (
    HOST_INFO,
    HOST_STARTED,
    GENERATION_STARTED,
    RELEASE_BUILT,
    HOST_STATE,
    NOTICES,
    FAREWELL,
    DRAIN_LEFT,
    BACKLOG,
    OLDEST,
    EXPOSURE,
    ACKNOWLEDGED,
    ACKNOWLEDGED_BYTES,
    REQUESTS_SENT,
    DESTINATION_UP,
    FALLBACK_HELPING,
    QUARANTINED,
    REJECTED,
    DROPPED,
    LOST,
    SERVICE_LOST,
    PROBLEMS,
    SPOOL,
    STREAMS,
    OPEN_FILES,
    MEMORY,
    CPU,
)
"""All of them, in the order in which they are shipped and described."""
