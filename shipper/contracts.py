"""The page a plug-in author reads: what a stream, a batch, a source and an exporter are to each other.

Everything Shipper ships is a *stream*: an ordered log of one signal that can be read again. A pump cuts a stream into
*batches*, has the cut committed to the ledger, gives several batches as one *request* to an *exporter*, and moves the
cursor only when the exporter returns, which it may do only once an off-host destination said that it has them.

Positions are integers. In a file they are byte offsets. In a spool they are logical offsets; a position inside a spooled
OTLP frame is the frame's start plus a record number, which is unambiguous because a record takes more than one byte.
A batch's key is ``<life>/<stream>/<start>-<end>``; the same range is always resent with the same bytes under the same key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from shipper.clock import Clock, Deadline
from shipper.intervals import IntervalSet


class Signal(StrEnum):
    """The three OTLP signals; the value is the last part of the OTLP/HTTP path ``/v1/<signal>``."""

    LOGS = "logs"
    TRACES = "traces"
    METRICS = "metrics"


class StreamKind(StrEnum):
    """What a stream is for. Only ``DATA`` counts in an account; the others carry the account itself."""

    DATA = "data"
    ACCOUNT = "account"  # the statement every 15 s; only destinations that keep accounts get it
    LIFE = "life"  # birth and farewell; every destination gets them


@dataclass(frozen=True, slots=True)
class Cut:
    """What the ledger fixes about a batch, enough to build the same bytes again.

    ``start``/``end``: positions, half-open. ``resume``: where the event that ``start`` lies in began (``start`` itself at
    an event border). ``next_resume``: the same for ``end``. ``records``: how many records the payload holds.
    ``consumed``: how many events were read for it (records + filtered + sampled). ``observed_ns``: the observed time
    stamped on the records. ``guard``: CRC32 of up to 64 bytes before ``end``, to recognise the content later (0: none).
    """

    start: int
    end: int
    resume: int
    next_resume: int
    records: int
    observed_ns: int
    guard: int = 0
    filtered: int = 0
    sampled: int = 0

    @property
    def consumed(self) -> int:
        """Events read for this batch, whatever became of them."""
        return self.records + self.filtered + self.sampled


@dataclass(frozen=True, slots=True)
class Member:
    """A batch of another host carried inside a relay's batch: whose it is and which bytes of the payload it is."""

    life: str
    stream: str
    start: int
    end: int
    records: int
    offset: int  # in the payload
    length: int
    received_ns: int
    kind: StreamKind = StreamKind.DATA
    filtered: int = 0  # records of it that a route of this destination left out


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one stream between two positions, as a serialized Export<Signal>ServiceRequest."""

    life: str
    stream: str
    signal: Signal
    cut: Cut
    payload: bytes = field(repr=False)
    kind: StreamKind = StreamKind.DATA
    members: tuple[Member, ...] = ()  # not empty only when this batch was spooled by a gateway

    @property
    def key(self) -> str:
        """The idempotency key, the same for every resend of this range."""
        return f"{self.life}/{self.stream}/{self.cut.start}-{self.cut.end}"


class Stream(ABC):
    """An ordered, re-readable log of one signal. Methods are called from the event loop and must not block for long."""

    id: str  # unique within the life; letters, digits, '.', '_' and '-' only
    signal: Signal
    kind: StreamKind
    name: str  # for people: a path, "journal", ...
    start: int  # the first position that belongs to this life

    @abstractmethod
    def frontier(self) -> int:
        """The position up to which something was seen to exist (a file's size); what lies beyond is unknown."""

    @abstractmethod
    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        """The next batch from ``at``, of about ``limit`` bytes of source at most, ending at an event border.

        None when nothing is due now: at the frontier, or only an incomplete event is there and its hold time runs. A
        single event larger than ``limit`` is split and marked. Raises `RangeGone` when unread bytes were destroyed;
        the range in it is given up, counted, and cutting goes on behind it.
        """

    @abstractmethod
    def reread(self, cut: Cut) -> Batch:
        """Build the batch of an earlier cut again, byte for byte. Raises `RangeGone` when that is impossible.

        Where settings that decide what a record is were changed since, its ``cut.records`` says how many there are now.
        """

    @abstractmethod
    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        """Two cuts that together are ``cut``, at an event border near its middle; None for a single record."""

    def border(self, position: int) -> int | None:
        """The last event border at or before ``position``, where a cut may begin (``resume`` the same) or end.

        None when it cannot be told, and always for a stream that is only ever cut from its beginning on: then nothing of it
        is sent out of order. May read a little.
        """
        return None

    def valuable(self, start: int, end: int) -> list[tuple[int, int]]:
        """The ranges in ``[start, end)``, from event border to event border, that hold errors; they go first in a drain.

        Called with a megabyte or less; it may take a few milliseconds. Guessing is allowed: only order depends on it.
        """
        return []

    def cut_up_to(self, at: int, resume: int, end: int, limit: int, observed_ns: int) -> Batch | None:
        """As `cut`, but never beyond ``end``, where an earlier batch begins or `border` is; events end there.

        A stream that has borders must keep to it. Others may cut across; what lies behind is then sent again.
        """
        return self.cut(at, resume, min(limit, end - at), observed_ns)

    def released(self, below: int) -> None:  # noqa: B027 - many streams hold nothing
        """Every destination is done with all positions below ``below``: resources that hold them may go."""

    @property
    def finished(self) -> bool:
        """True when nothing will ever be appended again and ``frontier`` is final."""
        return False

    def first_seen(self, position: int) -> float | None:
        """When (the clock's monotonic seconds) the bytes below ``position`` were first seen to exist; None: not known."""
        return None


class Hub(Protocol):
    """Where sources announce streams; the pumps listen. All calls are made on the event loop."""

    def add(self, stream: Stream) -> None:
        """A stream exists (new, or known from an earlier run); pumps take it up at their own cursors."""

    def ready(self, stream: Stream) -> None:
        """There may be something new to cut, or a held event became due."""

    def finished(self, stream: Stream) -> None:
        """The stream will never grow again; when all destinations are done with it, it is retired."""


class Source(ABC):
    """Makes streams out of something on the host."""

    name: str

    @abstractmethod
    async def run(self) -> None:
        """Watch and announce until cancelled. Faults of single items are reported and survived, never raised."""

    @abstractmethod
    def stop_reading(self) -> None:
        """Look once more, then fix the end: what exists now is shipped, what comes later is not (the run ends)."""

    @abstractmethod
    def silent(self, quiet_seconds: float) -> bool:
        """True when no writer is left (as far as that can be told), nothing came for ``quiet_seconds``, and all is seen."""

    def writers(self) -> bool | None:
        """Whether anybody can still write: True some live, False there were some and all are gone, None not known.

        A host that only has been given notice is not silent because it is quiet: its services will write once they are
        told to stop. With None a drain waits longer before it takes quiet for the end.
        """
        return None

    @abstractmethod
    def close_events(self) -> None:
        """Make held incomplete events due now, marked as incomplete (the last step of a drain)."""

    def reopen(self) -> None:  # noqa: B027 - only where `close_events` lasts
        """The drain was taken back after `close_events`: hold incomplete events again."""

    async def settled(self) -> None:  # noqa: B027 - most sources announce at once
        """Return when all streams found so far are announced; awaited after `stop_reading`, before pumps are found idle."""

    async def aclose(self) -> None:  # noqa: B027 - most sources hold nothing that needs it
        """Let go of descriptors and watches."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How an exporter wants to be fed. Sizes in bytes, times in seconds."""

    max_wire_bytes: int = 1 << 20  # a request of this (compressed) size is full and needs no token
    max_raw_bytes: int = (
        1 << 20
    )  # never more than this before compression: in another form it takes several times as much memory
    linger: float = 0.0  # how long a part-filled request may wait for more, besides the pacing
    requests_per_second: float = 5.0  # pace of requests that are not full
    burst: int = 20
    max_in_flight: int = 4
    max_unacknowledged: int = 0  # beside those in flight: requests that were taken, see `Prepared.taken`
    max_batches: int = 64  # in one request: what names them may have to fit a header of 8 KiB


@dataclass(frozen=True, slots=True)
class Request:
    """Batches of one signal that go to a destination together. ``id`` (UUIDv7) is fixed in the ledger before sending."""

    id: str
    signal: Signal
    batches: tuple[Batch, ...]

    @property
    def raw_bytes(self) -> int:
        """Size of all payloads before compression."""
        return sum(len(batch.payload) for batch in self.batches)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request made ready to be sent as often as needed: the exporter's own form in ``body``, and its size.

    ``taken``: set by a pump, for destinations that first take a request and acknowledge it seconds later. `Exporter.send` may
    call it in between: then others set out meanwhile, up to ``limits.max_unacknowledged``, and what ``body`` holds may be let
    go, since a request that has to be sent again after that is prepared anew. None: it is sent again as it is.
    """

    request_id: str
    signal: Signal
    body: Any = field(repr=False)
    wire_bytes: int = 0
    taken: Callable[[], None] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The destination has the request. ``rejected`` records of it were refused in a partial success.

    ``keep``: what the exporter has to know of it after a restart, by key, None for what it need not know any more. It is written
    together with the cursor, so it has to be small: `Exporter.resume` gets it all back.
    """

    rejected: int = 0
    message: str = ""
    keep: Mapping[bytes, bytes | None] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ExporterContext:
    """What an exporter may know about where it runs."""

    clock: Clock
    life: str
    run: int
    user_agent: str
    own_addresses: frozenset[tuple[str, int]] = frozenset()  # our own listeners: sending there is refused


class Packing(ABC):
    """A request that is prepared batch by batch while it is cut, so that nobody keeps their bytes; see `Exporter.packing`."""

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Take in one more; called in the order of the request, and perhaps in a worker thread."""

    @abstractmethod
    def prepared(self, request_id: str) -> Prepared:
        """What `Exporter.prepare` would have made of a request of these batches; called once."""


class Exporter(ABC):
    """Sends requests to one destination. Loaded by entry point (group ``shipper.exporters``), one file each.

    ``Settings`` is a msgspec.Struct (``forbid_unknown_fields``) whose fields are this exporter's options; the
    constructor gets an instance of it and must have no side effects: no connection, no file.
    """

    Settings: ClassVar[type[Any]]

    name: str
    limits: Limits
    signals: frozenset[Signal] = frozenset(Signal)  # what it takes; of streams of other signals it is owed nothing
    keeps_accounts: bool = False  # wants the account every 15 s, not only birth and farewell
    accounts_known: bool = True  # False while ``keeps_accounts`` is still being found out: hold account streams back
    many_lives: bool = False  # one instance may serve the pumps of several lives at once, as on a node of many pods

    @abstractmethod
    def __init__(self, name: str, settings: Any, context: ExporterContext) -> None:
        """Remember the settings; raise `ConfigError` for those that cannot work."""

    async def start(self) -> None:  # noqa: B027 - optional
        """Open what is needed. Must not fail because the destination is down."""

    def resume(self, kept: Mapping[bytes, bytes]) -> None:  # noqa: B027 - optional
        """What earlier runs were given to keep (`Accepted.keep`); called before the first `send`.

        With ``many_lives``: once for each life.
        """

    @abstractmethod
    def prepare(self, request: Request) -> Prepared:
        """Encode and compress; called in a worker thread, so it touches nothing but its argument and constants."""

    def packing(self, signal: Signal) -> Packing | None:
        """Where a request is filled from now on, if large ones are better prepared bit by bit; it gets no empty batches."""
        return None

    @abstractmethod
    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """Send once. Returns only when the destination has it; raises `Retryable`, `Unusable`, `TooLarge` or `Rejected`.

        Called concurrently up to ``limits.max_in_flight`` times, and while others wait that were `Prepared.taken`. Anything
        else it raises is a bug and ends the sidecar's trust in this destination (counted, retried rarely, said).
        """

    async def known(self, life: str) -> Mapping[str, IntervalSet] | None:
        """What the destination already has of this life, by stream; None where it cannot tell."""
        return None

    def trusted(self) -> bool:
        """True when an acknowledgement means off-host: not a local relay, or one that proves what it has."""
        return True

    def describe(self) -> str:
        """Where this sends, for people; no secrets."""
        return self.name

    async def aclose(self) -> None:  # noqa: B027 - optional
        """Let go of connections; never waits for the destination."""
