"""What goes into a request, and when it is full: sizes are estimated while cutting and corrected by what was measured."""

from __future__ import annotations

from shipper.contracts import Batch, Limits, Signal
from shipper.pump.backoff import Backoff
from shipper.pump.lane import Piece
from shipper.pump.recall import Recall
from shipper.pump.value import REST

SMALLEST_CAP = 64 << 10  # bytes; a destination that refuses less than this is dealt with by halving alone
WELL_MEASURED = 256 << 10  # bytes before compression from which on a ratio is fully believed
ALMOST = 15 / 16  # so full that cutting a crumb more is not worth a batch


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

    __slots__ = ("batches", "full", "pieces", "raw", "signal", "source", "worth")

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.pieces: list[Piece] = []
        self.batches: list[Batch] = []
        self.raw = 0
        self.source = 0
        self.worth = REST  # of the most valuable in it, as far as value decides
        self.full = False  # it went because nothing more fits, so the destination decides how fast the next goes

    def add(self, piece: Piece, batch: Batch) -> None:
        """Put a batch in."""
        self.pieces.append(piece)
        self.batches.append(batch)
        self.raw += len(batch.payload)
        self.source += piece.cut.end - piece.cut.start

    def room(self, limits: Limits, sizing: Sizing) -> int:
        """How many source bytes still fit in; 0 when the request counts as full."""
        most = sizing.max_raw(limits)
        if len(self.batches) >= limits.max_batches or self.raw >= most * ALMOST:
            return 0
        return max(1, int((most - self.raw) / sizing.raw_per_source))

    def __bool__(self) -> bool:
        return bool(self.batches)
