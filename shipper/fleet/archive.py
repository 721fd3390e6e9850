"""Reading an archive without trusting it: what its range lists claim, and what its objects really hold.

Everything goes object by object, so memory is bounded by the largest object, not by the archive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from isal import isal_zlib

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.fleet.layout import (
    RANGES_PREFIX,
    BadRangeList,
    Entry,
    ObjectName,
    RangeList,
    decode_range_list,
    object_name,
    parse_key,
)
from shipper.fleet.store import Store, StoreUnusable, open_store
from shipper.fleet.tally import Tally, tally
from shipper.otlp import decode

MAX_OBJECT_BYTES = 1 << 30  # an unlisted object is not unpacked beyond this; a listed one not beyond what its list says


@dataclass(frozen=True, slots=True)
class Damage:
    """Something in the archive is not what it should be. ``key``: of the object or range list."""

    key: str
    problem: str


def damage_lines(damage: Iterable[Damage]) -> Iterator[str]:
    """What is damaged, for a person: of an object that holds much, what was met first and how much more there is."""
    by_key: dict[str, list[str]] = {}
    for one in damage:
        by_key.setdefault(one.key, []).append(one.problem)
    for key, problems in by_key.items():
        yield f"damaged: {key}: {problems[0]}"
        if len(problems) > 1:
            yield f"damaged: {key}: and {len(problems) - 1:,} more"


@dataclass(frozen=True, slots=True)
class Index:
    """What lies in an archive: range lists in the order in which they were cut, objects that none of them names."""

    lists: tuple[RangeList, ...]
    unlisted: tuple[ObjectName, ...]
    damage: tuple[Damage, ...]  # range lists that cannot be read


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry of a range list with its bytes. Not empty ``problem``: they are not what the list says."""

    signal: Signal
    entry: Entry
    payload: bytes = field(repr=False)
    found: Tally | None
    problem: str = ""

    @property
    def sound(self) -> bool:
        """True when the bytes are there, have the checksum, and hold as many records as listed."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class Loose:
    """The content of an object that no range list names (a Collector wrote it, or its writer died before the list)."""

    name: ObjectName
    payload: bytes = field(repr=False)  # protobuf
    found: Tally | None
    problem: str = ""


Count = Callable[[Signal, bytes, Entry | None], Tally]
"""What a payload holds; the entry that lists it, None where none does. Raises `MalformedOtlp`."""


def counted(signal: Signal, payload: bytes, _: Entry | None) -> Tally:
    """By our own count, whatever is listed."""
    return tally(signal, payload)


class Archive:
    """An archive at a path or URL, see `shipper.fleet.layout`. Methods raise `StoreUnavailable` or `StoreUnusable`.

    ``count``: how what is read is counted, see `Count`; checksums are compared in any case, before it is called.
    """

    def __init__(self, store: Store, name: str, count: Count = counted) -> None:
        self.name = name
        self._store = store
        self._count = count

    @classmethod
    def open(cls, url: str, options: Mapping[str, str] | None = None, *, count: Count = counted) -> Archive:
        """The archive at ``url``; ``options`` are obstore's for a bucket. Raises `StoreUnusable` when there is none."""
        return cls(open_store(url, options), url, count)

    def index(self) -> Index:
        """List everything. Raises `StoreUnusable` when there is nothing that belongs to an archive."""
        # objects first: whatever is written meanwhile has its range list in the second listing, and none looks unlisted
        names = {name.key: name for stored in self._store.list() if (name := object_name(stored.key))}
        lists: list[RangeList] = []
        damage: list[Damage] = []
        keys = sorted(stored.key for stored in self._store.list(RANGES_PREFIX))
        for key, data in self._store.get_many(keys):
            if data is None:
                continue
            try:
                lists.append(decode_range_list(data))
            except BadRangeList as error:
                damage.append(Damage(key, str(error)))
        if not (names or lists or damage):
            raise StoreUnusable(f"{self.name} holds no archive: neither objects nor {RANGES_PREFIX}")
        listed = {ranges.object for ranges in lists}
        unlisted = tuple(names[key] for key in sorted(names.keys() - listed))
        return Index(tuple(lists), unlisted, tuple(damage))

    def pieces(self, ranges: RangeList) -> Iterator[Piece]:
        """Every entry of a range list with its bytes, checked; one object is in memory at a time."""
        signal = Signal(ranges.signal)
        stored = self._store.get(ranges.object)
        if stored is None:
            problem = f"{ranges.object} is not there"
            yield from (Piece(signal, entry, b"", None, problem) for entry in ranges.batches)
            return
        data, problem = _unpack(stored, ranges.size) if ranges.object.endswith(".gz") else (stored, "")
        del stored
        for entry in ranges.batches:
            yield _check(signal, entry, data[entry.offset : entry.offset + entry.length], problem, self._count)

    def loose(self, name: ObjectName) -> Loose:
        """The content of an unlisted object."""
        stored = self._store.get(name.key) or b""
        data, problem = _unpack(stored, MAX_OBJECT_BYTES) if name.gzip else (stored, "")
        if problem:
            return Loose(name, b"", None, problem)
        try:
            payload = decode.from_json(name.signal, data) if name.json else data
            return Loose(name, payload, self._count(name.signal, payload, None))
        except MalformedOtlp as error:
            return Loose(name, b"", None, str(error))


def carrier(entry: Entry) -> tuple[str, str, int, int] | None:
    """The gateway's batch that carried the entry: life, stream, start, end; None when it came directly."""
    return parse_key(entry.via) if entry.via else None


def _check(signal: Signal, entry: Entry, payload: bytes, unpacking: str, count: Count) -> Piece:
    if len(payload) != entry.length:
        problem = unpacking or f"the object ends {entry.length - len(payload)} bytes early"
        return Piece(signal, entry, b"", None, problem)
    if isal_zlib.crc32(payload) != entry.crc32:
        return Piece(signal, entry, payload, None, "the checksum differs")
    try:
        found = count(signal, payload, entry)
    except MalformedOtlp as error:
        return Piece(signal, entry, payload, None, str(error))
    problem = "" if found.records == entry.records else f"holds {found.records} records, listed are {entry.records}"
    return Piece(signal, entry, payload, found, problem)


def _unpack(data: bytes, limit: int) -> tuple[bytes, str]:
    """Gunzip (any number of members) up to ``limit`` bytes; what could be unpacked, and what stopped it."""
    out: list[bytes] = []
    size = 0
    while data:
        unpacker = isal_zlib.decompressobj(wbits=31)
        try:
            part = unpacker.decompress(data, limit - size + 1)
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub declares an instance
            return b"".join(out), f"damaged gzip: {error}"
        out.append(part)
        size += len(part)
        if size > limit:
            return b"".join(out), f"unpacks to more than {limit} bytes"
        if not unpacker.eof:
            return b"".join(out), "the gzip data ends early"
        data = unpacker.unused_data
    return b"".join(out), ""
