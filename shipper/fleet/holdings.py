"""One pass over an archive: what it holds of each stream, what hosts said, and what is damaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shipper.contracts import Signal, StreamKind
from shipper.fleet.archive import Archive, Damage, Loose, Piece, carrier
from shipper.fleet.statements import Event, events
from shipper.otlp.encode import AttributeValue

Key = tuple[str, str]  # life, stream


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch as stored: its positions and our own count of its records, and how many of them a gateway left out."""

    start: int
    end: int
    records: int
    filtered: int = 0


Carried = dict[tuple[str, str], tuple[str, Stored, bool]]  # (object, via) -> signal, batch of the gateway, sound


@dataclass(slots=True)
class Held:
    """What there is of one stream; ``damaged`` batches are listed but are not what the list says.

    ``beside``: sound ones in further archives, such as a fallback's: what is in both was repaid, and is not there twice.
    """

    signal: str
    sound: list[Stored] = field(default_factory=list)
    damaged: list[Stored] = field(default_factory=list)
    beside: list[Stored] = field(default_factory=list)

    def put(self, stored: Stored, *, sound: bool, beside: bool) -> None:
        """Take a batch in."""
        (self.damaged if not sound else self.beside if beside else self.sound).append(stored)


@dataclass(slots=True)
class Seen:
    """When something of a life was received, and the resource it first came with."""

    first_ns: int
    last_ns: int
    resource: Mapping[str, AttributeValue]


@dataclass(slots=True)
class Holdings:
    """Everything an audit needs to know about an archive."""

    streams: dict[Key, Held] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)
    gateways: set[str] = field(default_factory=set)  # lives that carried what others sent
    relayed: set[str] = field(default_factory=set)  # lives whose statements came through something that keeps no ranges
    damage: list[Damage] = field(default_factory=list)
    objects: int = 0
    unlisted_objects: int = 0
    unlisted_records: int = 0

    def held(self, key: Key, signal: str) -> Held:
        """The stream's holdings, made when first asked for."""
        return self.streams.setdefault(key, Held(signal))


def take_stock(*archives: Archive) -> Holdings:
    """Read all archives once, checking every byte that a range list names; together they are one."""
    found = Holdings()
    for number, archive in enumerate(archives):
        _take_stock(found, archive, beside=number > 0)
    return found


def _take_stock(found: Holdings, archive: Archive, *, beside: bool) -> None:
    index = archive.index()
    found.damage += index.damage
    found.objects += len(index.lists) + len(index.unlisted)
    carried: Carried = {}
    for ranges in index.lists:
        for piece in archive.pieces(ranges):
            _add(found, ranges.object, piece, carried, beside=beside)
    for (_, via), (signal, stored, sound) in carried.items():
        life, stream, _ = via.rsplit("/", 2)
        held = found.held((life, stream), signal)
        found.gateways.add(life)
        held.put(stored, sound=sound, beside=beside)
    found.unlisted_objects += len(index.unlisted)
    for name in index.unlisted:
        _add_unlisted(found, archive.loose(name))


def _add(found: Holdings, key: str, piece: Piece, carried: Carried, *, beside: bool) -> None:
    entry = piece.entry
    if not piece.sound:
        where = f"{entry.life}/{entry.stream} [{entry.start}, {entry.end})"
        found.damage.append(Damage(key, f"{where}: {piece.problem}"))
    _carry(key, piece, carried)
    through = carrier(entry)
    if through is not None and through[:2] == (entry.life, entry.stream):
        return  # a stranger's bytes, which the gateway's own batch accounts for
    if entry.kind == StreamKind.DATA:
        held = found.held((entry.life, entry.stream), piece.signal)
        stored = Stored(entry.start, entry.end, entry.records, entry.filtered)
        held.put(stored, sound=piece.sound, beside=beside)
    if piece.found is not None:
        _see(found, entry.life, entry.received_ns, piece.found.resource)
    if piece.sound and piece.signal is Signal.LOGS:
        _listen(found, key, piece.payload, entry.received_ns, entry.life)


def _add_unlisted(found: Holdings, loose: Loose) -> None:
    """Counted apart: such an object proves no range. It may still carry statements (they pass any Collector)."""
    if loose.found is None:
        found.damage.append(Damage(loose.name.key, loose.problem))
        return
    found.unlisted_records += loose.found.records
    if loose.name.signal is Signal.LOGS:
        # among range lists such an object is the remains of a crash; where there are none, a Collector keeps the archive
        _listen(found, loose.name.key, loose.payload, 0, "" if found.objects > found.unlisted_objects else None)


def _carry(key: str, piece: Piece, carried: Carried) -> None:
    """A gateway's batch is there when all that it carried is."""
    through = carrier(piece.entry)
    if through is None:
        return
    at = (key, piece.entry.via)
    _, stored, sound = carried.get(at, (piece.signal, Stored(through[2], through[3], 0), True))
    records = stored.records + piece.entry.records
    carried[at] = piece.signal, Stored(stored.start, stored.end, records), sound and piece.sound


def _see(found: Holdings, life: str, at_ns: int, resource: Mapping[str, AttributeValue]) -> None:
    seen = found.seen.setdefault(life, Seen(at_ns, at_ns, resource))
    seen.first_ns = min(seen.first_ns, at_ns)
    seen.last_ns = max(seen.last_ns, at_ns)


def _listen(found: Holdings, key: str, payload: bytes, received_ns: int, owner: str | None) -> None:
    """``owner``: the life whose batch this is; empty when unknown; None when it is known that nobody keeps ranges."""
    for event in events(payload, received_ns):
        if isinstance(event, str):
            found.damage.append(Damage(key, event))
            continue
        found.events.append(event)
        if owner != "" and owner != event.statement.life:
            found.relayed.add(event.statement.life)
