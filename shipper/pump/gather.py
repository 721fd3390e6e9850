"""What goes into a request, and when it is full: sizes are estimated while cutting and corrected by what was measured."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from shipper.contracts import Batch, Exporter, Limits, Signal
from shipper.pump.backoff import Backoff
from shipper.pump.lane import Piece
from shipper.pump.recall import Recall
from shipper.pump.value import REST

SMALLEST_CAP = 64 << 10  # bytes; a destination that refuses less than this is dealt with by halving alone
WELL_MEASURED = 256 << 10  # bytes before compression from which on a ratio is fully believed
INLINE_BYTES = 64 << 10  # up to this a request is prepared at once: a hop to a thread would take longer
ALMOST = 15 / 16  # so full that cutting a crumb more is not worth a batch


class Contents:
    """The bytes of a request: its batches, or what the exporter makes of each where it prepares bit by bit."""

    __slots__ = ("_exporter", "_under_way", "batches", "packing", "raw", "source", "spoilt")

    def __init__(self, exporter: Exporter, signal: Signal) -> None:
        self.packing = exporter.packing(signal)
        self.batches: list[Batch] = []  # that are to be sent, and are not packed
        self.raw = 0  # of all that are, or were
        self.source = 0
        self.spoilt = False  # what is needed of it has to be read again
        self._exporter = exporter
        self._under_way: asyncio.Future[None] | None = None

    def add(self, batch: Batch) -> None:
        """Put a batch in. One without records goes only where ranges are proved; to others it would be an empty request."""
        exporter = self._exporter
        if batch.payload and (batch.cut.records > 0 or exporter.keeps_accounts or not exporter.accounts_known):
            self.batches.append(batch)
            self.raw += len(batch.payload)
            self.source += batch.cut.end - batch.cut.start

    async def pack(self, threads: Executor) -> None:
        """Give the exporter what was added, where it wants that, and let go of it, while the next is cut.

        Raises what the packing of those before raised.
        """
        if self.packing is None:
            return
        batches, self.batches = self.batches, []
        for batch in [] if self.spoilt else batches:
            await self.packed()
            if len(batch.payload) > INLINE_BYTES:
                self._under_way = asyncio.get_running_loop().run_in_executor(threads, self.packing.add, batch)
            else:
                self.packing.add(batch)

    async def packed(self) -> None:
        """Wait until all that was given to the exporter is in its form. Raises what that raised."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            await under_way


class Parcel:
    """A committed request without its bytes, which can be read again whenever they are needed."""

    __slots__ = ("backoff", "began", "full", "id", "pieces", "raw", "recall", "signal", "unsent")

    def __init__(self, request_id: str, signal: Signal, pieces: list[Piece], began: float) -> None:
        self.id = request_id
        self.signal = signal
        self.pieces = pieces
        self.began = began
        self.raw = 0  # size before compression, once it was prepared
        self.full = False  # see `Gathering.full`
        self.unsent = True  # the destination certainly has nothing of it
        self.recall = Recall()
        self.backoff: Backoff | None = None  # of its attempts so far, or of the one whose place it took

    @property
    def records(self) -> int:
        """Records in all pieces."""
        return sum(piece.cut.records for piece in self.pieces)


class Sizing:
    """The running ratios of one destination, and the size it was found to take."""

    __slots__ = ("_raw_cap", "raw_per_source", "wire_per_raw")

    def __init__(self) -> None:
        self.raw_per_source = 1.0
        self.wire_per_raw = 0.25
        self._raw_cap: float = float("inf")

    def max_raw(self, limits: Limits) -> float:
        """The most bytes before compression that a request should have now."""
        by_wire = limits.max_wire_bytes / max(self.wire_per_raw, 1e-3)
        return min(limits.max_raw_bytes, self._raw_cap, by_wire)

    def measured(self, *, source: int, raw: int, wire: int) -> None:
        """A request was prepared: move the ratios towards what it had, small ones less than large ones."""
        if not source or not raw:
            return
        weight = 0.3 * min(1.0, raw / WELL_MEASURED)
        self.raw_per_source += weight * (raw / source - self.raw_per_source)
        if wire:
            self.wire_per_raw += weight * (wire / raw - self.wire_per_raw)

    def too_large(self, raw: int) -> None:
        """The destination refused a request of several records for its size."""
        self._raw_cap = max(SMALLEST_CAP, min(self._raw_cap, raw / 2))

    def accepted(self, raw: int) -> None:
        """A request of the largest allowed size went through: a little more may be tried."""
        if raw >= self._raw_cap * ALMOST:
            self._raw_cap *= 1.02


class Gathering:
    """A request being filled: batches cut from several streams of one signal, not yet committed."""

    __slots__ = ("contents", "full", "life", "pieces", "signal", "worth")

    def __init__(self, signal: Signal, exporter: Exporter) -> None:
        self.signal = signal
        self.pieces: list[Piece] = []
        self.contents = Contents(exporter, signal)
        self.life = ""  # whose the batches are
        self.worth = REST  # of the most valuable in it, as far as value decides
        self.full = False  # it went because nothing more fits, so the destination decides how fast the next goes

    def add(self, piece: Piece, batch: Batch) -> None:
        """Put a batch in."""
        self.pieces.append(piece)
        self.contents.add(batch)
        self.life = batch.life

    def room(self, limits: Limits, sizing: Sizing) -> int:
        """How many source bytes still fit in; 0 when the request counts as full."""
        most = sizing.max_raw(limits)
        raw = self.contents.raw
        if len(self.pieces) >= limits.max_batches or raw >= most * ALMOST:
            return 0
        return max(1, int((most - raw) / sizing.raw_per_source))

    def __bool__(self) -> bool:
        return bool(self.pieces)
