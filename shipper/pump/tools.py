"""What the parts of one pump share, and what they say of pieces that need nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Protocol

from shipper.clock import Clock
from shipper.contracts import Batch, Exporter
from shipper.events import Reporter
from shipper.pump.books import Books
from shipper.pump.gate import Gate
from shipper.pump.gather import Sizing
from shipper.pump.health import Health
from shipper.pump.lane import Piece
from shipper.pump.rate import Rate
from shipper.pump.window import Window
from shipper.pump.workbench import Desk


class QuarantineStore(Protocol):
    """Where refused batches are kept; `shipper.pump.quarantine.Quarantine` is the real one."""

    def put(self, batch: Batch, destination: str, reason: str, status: str, name: str = "") -> str:
        """Keep a batch durably; its id. ``name``: what people call its stream.

        Raises OSError or `ShipperError` when that is impossible now, `QuarantineFull` when waiting does not help.
        """

    def holds(self, destination: str, key: str) -> bool:
        """Whether a batch was set aside already, perhaps by a run that died before it could write that down."""


@dataclass(frozen=True, slots=True)
class Done:
    """Pieces that need nothing more from this destination; ``acknowledged`` false: set aside or given up.

    ``records``: how many data records the destination has now.
    """

    pieces: Sequence[Piece]
    acknowledged: bool
    records: int = 0


@dataclass(frozen=True, slots=True)
class Tools:
    """One set for one destination."""

    exporter: Exporter
    books: Books
    gate: Gate
    window: Window
    health: Health
    sizing: Sizing
    rate: Rate
    quarantine: QuarantineStore
    desk: Desk
    threads: ThreadPoolExecutor
    clock: Clock
    report: Reporter
    random: Random
    life: str
    owed: bool = True  # False: it stands in for others, and what they have it need not get

    @property
    def name(self) -> str:
        """Of the destination."""
        return self.exporter.name
