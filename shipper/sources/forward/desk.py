"""What the connections of a forward receiver share: where records go, which chunks are known, and who takes which just now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from shipper.clock import Clock
from shipper.contracts import Signal
from shipper.events import Reporter
from shipper.sources.batch import Envelope
from shipper.sources.forward.chunks import Chunks
from shipper.sources.forward.own import OwnRecords
from shipper.sources.forward.settings import ForwardSettings
from shipper.sources.store import RecordStore


@dataclass(slots=True)
class Desk:
    """``envelope``: of records that say nothing of who they are. ``held``: bytes of unfinished messages, of all together."""

    name: str
    settings: ForwardSettings
    envelope: Envelope
    own: OwnRecords
    stores: Mapping[Signal, RecordStore]
    chunks: Chunks
    clock: Clock
    report: Reporter
    held: int = 0
    busy: int = 0  # connections that are storing something
    last: float = 0.0  # when something came, monotonic
    taking: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    """Chunks under way, by digest: the same chunk may come on another connection before it is stored."""

    def others(self, whole: str) -> asyncio.Future[None] | None:
        """What to wait for where a chunk is under way."""
        return self.taking.get(whole)

    def claim(self, whole: str) -> None:
        """A chunk is under way until `release`."""
        self.taking[whole] = asyncio.get_running_loop().create_future()

    def release(self, whole: str) -> None:
        """A chunk is stored, or given up."""
        self.taking.pop(whole).set_result(None)
