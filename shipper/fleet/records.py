"""The records of an archive, each once, in the order of their streams; memory is bounded by a few objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, repeat

from shipper.contracts import Signal, StreamKind
from shipper.fleet.archive import Archive, Damage, Index, Loose, Piece, carrier
from shipper.fleet.cover import cover
from shipper.fleet.labels import LIFE, labels_of, named
from shipper.fleet.layout import Entry
from shipper.fleet.tally import times
from shipper.intervals import IntervalSet
from shipper.otlp import decode, splice
from shipper.otlp.encode import AttributeValue
from shipper.otlp.messages import envelopes, parse

OBJECTS_KEPT = 2  # unpacked at a time: the current one, and one that a stream has to be fetched from out of turn
CLOCK_SLACK_NS = 3600 * 1_000_000_000  # how far a host's clock may be ahead of the receiver's before --since misses it


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records are wanted; empty fields ask for nothing. Times are ns since the epoch, ``until_ns`` excluded."""

    host: str = ""
    release: str = ""
    generation: str = ""
    environment: str = ""
    service: str = ""
    life: str = ""
    since_ns: int = 0
    until_ns: int = 0
    signal: Signal | None = None

    @property
    def everything(self) -> bool:
        """True when no record needs to be looked at."""
        return self == Selection(signal=self.signal)

    def may_hold(self, signal: Signal, entry: Entry | None) -> bool:
        """False when a batch cannot hold anything wanted, which saves fetching it."""
        if self.signal is not None and signal is not self.signal:
            return False
        if entry is None:
            return True
        through = carrier(entry)
        if through is not None and through[0] != entry.life and not named(entry.life, self.life):
            return False  # a host's own batch; in a gateway's own there can be anybody's records
        return not (entry.received_ns and entry.received_ns + CLOCK_SLACK_NS < self.since_ns)

    def takes_resource(self, resource: Mapping[str, AttributeValue], life: str) -> bool:
        """True when records of this resource are wanted, as far as it goes; ``life``: whose it is if it does not say."""
        if self.life and not named(str(resource.get(LIFE) or life), self.life):
            return False
        if self.host and self.host not in (resource.get("host.name"), resource.get("host.id")):
            return False
        wanted = {
            "release": self.release,
            "generation": self.generation,
            "environment": self.environment,
            "service": self.service,
        }
        labels = labels_of(resource) if any(wanted.values()) else {}
        return all(labels.get(label) == value for label, value in wanted.items() if value)

    def takes_time(self, at_ns: int) -> bool:
        """True for a record of this time."""
        return at_ns >= self.since_ns and not (self.until_ns and at_ns >= self.until_ns)


def selection(*, since: int = 0, until: int = 0, signal: str | None = None, **labels: str) -> Selection:
    """A selection from plain values, as a command line has them."""
    return Selection(since_ns=since, until_ns=until, signal=Signal(signal) if signal else None, **labels)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a batch is listed: which range list, which entry of it."""

    entry: Entry
    list: int
    at: int

    @property
    def start(self) -> int:
        return self.entry.start

    @property
    def end(self) -> int:
        return self.entry.end

    @property
    def records(self) -> int:
        return self.entry.records


def pieces(
    archive: Archive,
    index: Index,
    selection: Selection,
    *,
    kinds: Iterable[StreamKind],
    damaged: Callable[[Damage], None],
) -> Iterator[Piece]:
    """The wanted batches: each position once, each stream in its order, otherwise in the order of writing.

    What cannot be read is told to ``damaged``, unless another sound copy of it is there.
    """
    streams = _places(index, selection, frozenset(kinds))
    reader = _Reader(archive, index)
    covers = {key: cover(places) for key, places in streams.items()}
    chosen = {key: sorted(one.chosen, key=lambda place: place.start) for key, one in covers.items()}
    emitted = dict.fromkeys(chosen, 0)
    turn = {
        (place.list, place.at): (key, number) for key, places in chosen.items() for number, place in enumerate(places)
    }
    for where in sorted(turn):
        key, number = turn[where]
        for place in chosen[key][emitted[key] : number + 1]:
            piece = reader.piece(place)
            if piece.sound:
                yield piece
                continue
            instead = _instead(reader, place, covers[key].spare)
            yield from instead
            if not IntervalSet((one.entry.start, one.entry.end) for one in instead).covers(place.start, place.end):
                entry = place.entry
                name = f"{entry.life}/{entry.stream} [{entry.start}, {entry.end})"
                damaged(Damage(index.lists[place.list].object, f"{name}: {piece.problem}"))
        emitted[key] = max(emitted[key], number + 1)


def loose(archive: Archive, index: Index, selection: Selection, damaged: Callable[[Damage], None]) -> Iterator[Loose]:
    """The objects that no range list names."""
    for name in index.unlisted:
        if not selection.may_hold(name.signal, None):
            continue
        content = archive.loose(name)
        if content.found is None:
            damaged(Damage(name.key, content.problem))
        else:
            yield content


def select(signal: Signal, payload: bytes, selection: Selection, life: str = "") -> bytes:
    """The wanted part of a payload, as a payload; empty when there is none. Of a metric all points are kept or none."""
    if selection.everything:
        return payload
    wanted = list(_wanted(signal, payload, selection, life))
    if all(wanted):
        return payload
    if not any(wanted):
        return b""
    return splice.join([splice.take(signal, payload, first, last) for first, last in _runs(wanted)])


def _wanted(signal: Signal, payload: bytes, selection: Selection, life: str) -> Iterator[bool]:
    """For each unit whether it is wanted; labels are looked at once for all records of a resource."""
    at_any_time = not (selection.since_ns or selection.until_ns)
    for resource, _, units in envelopes(signal, parse(signal, payload)):
        fits = selection.takes_resource(decode.attributes_of(resource.attributes), life)
        if not fits or at_any_time:
            yield from repeat(fits, len(units))
        else:
            yield from (any(selection.takes_time(at) for at in times(signal, unit)) for unit in units)


def _runs(wanted: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Runs of units that are wanted."""
    at = 0
    for hit, run in groupby(wanted):
        size = sum(1 for _ in run)
        if hit:
            yield at, at + size
        at += size


def _places(index: Index, selection: Selection, kinds: frozenset[StreamKind]) -> dict[tuple[str, str], list[_Place]]:
    streams: dict[tuple[str, str], list[_Place]] = {}
    for number, ranges in enumerate(index.lists):
        for at, entry in enumerate(ranges.batches):
            if entry.kind in kinds and selection.may_hold(Signal(ranges.signal), entry):
                streams.setdefault((entry.life, entry.stream), []).append(_Place(entry, number, at))
    return streams


def _instead(reader: _Reader, place: _Place, spare: Sequence[_Place]) -> list[Piece]:
    """Sound duplicates of a damaged batch, or of parts of it."""
    near = [other for other in spare if other.start < place.end and other.end > place.start]
    sound = {other: piece for other in near if (piece := reader.piece(other)).sound}
    return [sound[other] for other in cover(sound).chosen]


class _Reader:
    """Keeps the objects read last."""

    def __init__(self, archive: Archive, index: Index) -> None:
        self._archive = archive
        self._index = index
        self._kept: dict[int, list[Piece]] = {}

    def piece(self, place: _Place) -> Piece:
        content = self._kept.pop(place.list, None)
        if content is None:
            while len(self._kept) >= OBJECTS_KEPT:
                del self._kept[next(iter(self._kept))]
            content = list(self._archive.pieces(self._index.lists[place.list]))
        self._kept[place.list] = content  # used last, dropped last
        return content[place.at]
