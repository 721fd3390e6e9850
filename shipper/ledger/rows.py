"""What the ledger hands out: plain frozen values, safe to pass from its thread to the event loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shipper.contracts import Cut, Signal, StreamKind
from shipper.intervals import IntervalSet

Settlement = Literal["quarantined", "dropped"]


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream of this life. ``source`` names the source that can open it again, ``meta`` (JSON) is that source's own.

    ``start``: the first position that belongs to this life. ``size``: the last frontier seen. ``finished``: ``size`` is final.
    """

    id: str
    kind: StreamKind
    signal: Signal
    source: str
    name: str
    start: int
    meta: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Records of one stream for one destination; ``read`` is always the sum of all the others and the pending ones."""

    read: int = 0
    acknowledged: int = 0
    filtered: int = 0
    sampled: int = 0
    dropped: int = 0
    quarantined: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where one destination stands on one stream.

    ``cut_to``: cut up to here; every position from the stream's start to it is in ``done`` or in flight, never in both.
    ``resume``/``guard``: of the last cut that moved it, see `Cut`. ``done`` is the union of ``acknowledged`` (the destination
    said it has them), ``lost`` (dropped or destroyed) and ``quarantined``; it may reach beyond ``cut_to`` when a destination
    told us what it has, or when ranges were cut out of order. ``ahead``: in flight beyond ``cut_to``, for the same reason.
    ``pending``: records in flight. ``shaping``: the hash of the shaping configuration of the last cut.
    """

    cut_to: int
    resume: int
    guard: int
    done: IntervalSet
    acknowledged: IntervalSet
    counts: Counts
    lost: IntervalSet
    quarantined: IntervalSet
    shaping: str
    pending: int = 0
    ahead: IntervalSet = field(default_factory=IntervalSet)

    @property
    def reach(self) -> int:
        """The end of what was ever cut, or is known to be there: no position below it may be given away again."""
        return max([self.cut_to, *(end for known in (self.done, self.ahead) for _, end in known.pairs()[-1:])])


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request committed but not settled: its outcome is unknown, so it is sent again unchanged."""

    id: str
    destination: str
    signal: Signal
    cuts: tuple[tuple[str, Cut], ...]
    shaping: str


@dataclass(frozen=True, slots=True)
class DestinationAccount:
    """What the account says of one stream at one destination. ``unread``: bytes seen but not yet cut.

    ``read_to``: nothing behind was cut. ``skipped``: ranges before it that were not cut either, as others went first.
    """

    read_to: int
    counts: Counts
    pending: int
    unread: int
    acknowledged: tuple[tuple[int, int], ...]
    lost: tuple[tuple[int, int], ...]
    quarantined: tuple[tuple[int, int], ...]
    skipped: tuple[tuple[int, int], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The object of the account record (all but ``trusted``, which only the exporter knows)."""
        counts = self.counts
        return {
            "read_to": self.read_to,
            "read": counts.read,
            "acknowledged": counts.acknowledged,
            "pending": self.pending,
            "filtered": counts.filtered,
            "sampled": counts.sampled,
            "dropped": counts.dropped,
            "quarantined": counts.quarantined,
            "rejected": counts.rejected,
            "unread": self.unread,
            "acknowledged_ranges": [list(pair) for pair in self.acknowledged],
            "lost_ranges": [list(pair) for pair in self.lost],
            "quarantined_ranges": [list(pair) for pair in self.quarantined],
            **({"skipped_ranges": [list(pair) for pair in self.skipped]} if self.skipped else {}),
        }


@dataclass(frozen=True, slots=True)
class StreamAccount:
    """All figures of one data stream. ``changed``: the marker to give as ``changed_since`` is the largest of these."""

    stream: StreamRow
    destinations: Mapping[str, DestinationAccount]
    changed: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Records and positions of one stream that a destination will not get, by cause."""

    stream: str
    how: Settlement
    cause: str
    records: int
    positions: int
