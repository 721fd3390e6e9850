"""What a life said about itself: birth, accounts and farewells, read back from the archive and put together.

Statements are incremental within a run and numbered (run, seq); the latest one that mentions a stream counts for it.
They are claims. The audit holds them against what the archive really has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from shipper.contracts import Signal
from shipper.otlp import decode

SCOPE = "shipper.account"
MARK = SCOPE.encode()
Ranges = list[tuple[int, int]]


class Claims(msgspec.Struct, frozen=True):
    """What was claimed about one stream at one destination; counts are records, ``unread`` bytes."""

    read_to: int = 0
    read: int = 0
    acknowledged: int = 0
    pending: int = 0
    filtered: int = 0
    sampled: int = 0
    dropped: int = 0
    quarantined: int = 0
    rejected: int = 0
    unread: int = 0
    acknowledged_ranges: Ranges = []
    lost_ranges: Ranges = []
    quarantined_ranges: Ranges = []
    skipped_ranges: Ranges = []  # before ``read_to`` and not read, as others went first
    trusted: bool = True


class StatedStream(msgspec.Struct, frozen=True):
    """One data stream as a statement names it."""

    id: str
    name: str = ""
    kind: str = "data"
    signal: str = "logs"
    start: int = 0
    size: int = 0
    finished: bool = False
    destinations: dict[str, Claims] = {}


class Left(msgspec.Struct, frozen=True):
    """A range that a farewell says did not get out, or only to the fallback."""

    stream: str
    destination: str
    start: int
    end: int


class Noticed(msgspec.Struct, frozen=True):
    """Word of its end that came to a host, as it said so."""

    kind: str = ""
    source: str = ""
    evidence: str = ""
    deadline_ns: int | None = None
    ends_life: bool = True


class Statement(msgspec.Struct, frozen=True):
    """The JSON body of one account event; keys unknown to this version are passed over."""

    version: int
    life: str
    run: int = 0
    seq: int = 0
    at_ns: int = 0
    role: str = "sidecar"
    host: str = ""
    labels: dict[str, str] = {}
    born_ns: int = 0
    notes: list[str] = []
    streams: list[StatedStream] = []
    refused: dict[str, int] = {}
    exposure: dict[str, float | None] = {}
    reason: str = ""
    ends_life: bool = False
    outcome: str = ""
    left: list[Left] = []
    lent: list[Left] = []  # what the fallback has, and the destination that it is owed to has not
    notice: Noticed | None = None
    fallback: str = ""  # the destination that got what the others did not get in time
    adopted_by: str = ""  # the life that ships what this one left, and makes this statement in its place


@dataclass(frozen=True, slots=True)
class Event:
    """A statement with what it is (``birth``, ``notice``, ``account``, ``farewell``) and when it reached the archive's gateway."""

    what: str
    statement: Statement
    received_ns: int

    @property
    def order(self) -> tuple[int, int]:
        """Statements of a life in the order in which they were made."""
        return self.statement.run, self.statement.seq

    @property
    def heard_ns(self) -> int:
        """When it was made: by the receiver's clock where it said, since the host's may be wrong."""
        return self.received_ns or self.statement.at_ns


@dataclass(slots=True)
class Life:
    """All that a life said, and that another said in its place, put together.

    ``own``: the last statement of its own; None when none is here. ``notice``: word of its end, in its last run.
    """

    id: str
    first: Statement
    last: Event
    own: Event | None
    notes: list[str]
    streams: dict[str, StatedStream]
    refused: dict[str, int]
    exposure: dict[str, float | None]
    born: bool
    skipped: int  # statements that were made but are not here
    left: list[Left] = field(default_factory=list)
    notice: Noticed | None = None
    fallback: str = ""
    own_streams: dict[str, StatedStream] = field(default_factory=dict)  # as it stated them itself

    @property
    def heard_ns(self) -> int:
        """When it, or whoever adopted it, was last heard of."""
        return self.last.heard_ns

    @property
    def adopted_by(self) -> str:
        """The life that ships, or has shipped, what this one left."""
        return self.last.statement.adopted_by


def events(payload: bytes, received_ns: int) -> Iterator[Event | str]:
    """The account events in a logs payload; a text for each that cannot be read. Raises `MalformedOtlp`."""
    if MARK not in payload:  # nearly all payloads: one search instead of decoding
        return
    for record in decode.records(Signal.LOGS, payload):
        if record.scope != SCOPE or not record.event_name.startswith("shipper."):
            continue
        try:
            statement = msgspec.json.decode(str(record.body).encode(), type=Statement)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            yield f"an unreadable {record.event_name}: {error}"
            continue
        if statement.version == 1:
            yield Event(record.event_name.removeprefix("shipper."), statement, received_ns)
        else:
            yield f"a {record.event_name} of version {statement.version}, which this program does not know"


def lives(heard: Iterable[Event]) -> dict[str, Life]:
    """Put the statements of each life together, whatever order and how often they came in."""
    by_life: dict[str, dict[tuple[int, int], Event]] = {}
    for event in heard:
        by_life.setdefault(event.statement.life, {}).setdefault(event.order, event)
    return {life: _together(life, [ordered[order] for order in sorted(ordered)]) for life, ordered in by_life.items()}


def _together(life: str, ordered: list[Event]) -> Life:
    whole = Life(
        id=life,
        first=ordered[0].statement,
        last=ordered[-1],
        own=next((event for event in reversed(ordered) if not event.statement.adopted_by), None),
        notes=[],
        streams={},
        refused={},
        exposure={},
        born=any(event.what == "birth" for event in ordered),
        skipped=_skipped(ordered),
    )
    for event in ordered:
        statement = event.statement
        whole.notes.extend(note for note in statement.notes if note not in whole.notes)
        whole.streams.update((stream.id, stream) for stream in statement.streams)
        if not statement.adopted_by:
            whole.own_streams.update((stream.id, stream) for stream in statement.streams)
        whole.refused.update(statement.refused)
        whole.fallback = statement.fallback or whole.fallback
        whole.exposure = statement.exposure or whole.exposure
    whole.left = list(whole.last.statement.left)
    if whole.own is not None:
        run = whole.own.statement.run
        whole.notice = next(
            (e.statement.notice for e in reversed(ordered) if e.what == "notice" and e.statement.run == run), None
        )
    return whole


def _skipped(ordered: list[Event]) -> int:
    """Numbers that are missing between the first and last statement of each run."""
    runs: dict[int, list[int]] = {}
    for event in ordered:
        runs.setdefault(event.statement.run, []).append(event.statement.seq)
    return sum(seqs[-1] - seqs[0] + 1 - len(seqs) for seqs in runs.values())


def as_json(value: Any) -> Any:
    """Builtin types for JSON output."""
    return msgspec.to_builtins(value)
