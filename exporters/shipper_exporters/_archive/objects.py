"""An archive's object and its range list, built batch by batch: what was compressed need not be kept.

Both are fixed by the batches, their order and the request's id alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as attribute

from isal import isal_zlib

from shipper.contracts import Batch, Packing, Prepared, Signal
from shipper.errors import MalformedOtlp
from shipper.fleet.layout import RANGE_LIST_VERSION, Entry, RangeList, object_key, ranges_key
from shipper.otlp.scan import scan
from shipper.otlp.wire import LENGTH, field, fields

GZIP_LEVEL = 2


@dataclass(frozen=True, slots=True)
class Objects:
    """What is written for one request. ``ranges`` lacks the time of writing."""

    key: str
    data: bytes = attribute(repr=False)
    ranges_key: str
    ranges: RangeList = attribute(repr=False)
    parquet: bytes | None = attribute(repr=False, default=None)


class ObjectPacking(Packing):
    """One object being built."""

    def __init__(self, signal: Signal, partition: str, *, gzip: bool) -> None:
        self._signal = signal
        self._partition = partition
        self._gzip = gzip
        self._packer: isal_zlib.Compress | None = None
        self._parts: list[bytes] = []
        self._entries: list[Entry] = []
        self._oldest = 0  # time of the oldest record, 0: none has any
        self._size = 0

    def add(self, batch: Batch) -> None:
        """See `Packing.add`."""
        self._entries.extend(_entries(batch, self._size))
        self._size += len(batch.payload)
        self._parts.append(self._compressed(batch.payload) if self._gzip else batch.payload)
        # Records of one batch lie in the order in which they came, so the first of each is asked; looking at all of them
        # would cost more than compressing them, for the sake of a minute in a name.
        self._oldest = min((time for time in (self._oldest, *_times(batch)) if time), default=0)

    def prepared(self, request_id: str, parquet: bytes | None = None) -> Prepared:
        """See `Packing.prepared`. ``parquet``: the same as a table."""
        if self._packer is not None:
            self._parts.append(self._packer.flush())
        data = b"".join(self._parts)
        self._parts.clear()
        oldest = self._oldest or (uuid.UUID(request_id).int >> 80) * 1_000_000  # when the request was cut (UUIDv7)
        key = object_key(self._partition, self._signal, request_id, oldest, gzip=self._gzip)
        listing = RangeList(
            version=RANGE_LIST_VERSION,
            object=key,
            signal=self._signal,
            size=self._size,
            written_ns=0,
            batches=self._entries,
        )
        return Prepared(
            request_id, self._signal, Objects(key, data, ranges_key(request_id), listing, parquet), len(data)
        )

    def _compressed(self, data: bytes) -> bytes:
        if self._packer is None:  # its window is a waste where nothing is ever written
            self._packer = isal_zlib.compressobj(GZIP_LEVEL, wbits=31)
        return self._packer.compress(data)


def _times(batch: Batch) -> Iterator[int]:
    yield batch.cut.observed_ns
    for start, end in [(m.offset, m.offset + m.length) for m in batch.members] or [(0, len(batch.payload))]:
        try:
            record = _first_record(batch.payload, start, end)
            if record is not None:
                yield scan(batch.signal, field(1, field(2, field(2, record)))).oldest_ns
        except MalformedOtlp:  # what is no OTLP is kept as it came, and has no time
            return


def _first_record(data: bytes, at: int, end: int, path: tuple[int, ...] = (1, 2, 2)) -> bytes | None:
    """The first log record, span or metric of a request: all three lie at the same field numbers."""
    for number, wire, _, value, stop in fields(data, at, end):
        if number == path[0] and wire == LENGTH:
            found = _first_record(data, value, stop, path[1:]) if path[1:] else data[value:stop]
            if found is not None:
                return found
    return None


def _entries(batch: Batch, at: int) -> Iterator[Entry]:
    """What the range list says of a batch that begins at ``at`` in the object."""
    if batch.members:
        yield from _member_entries(batch, at)
    else:
        yield _own_entry(batch, at)


def _own_entry(batch: Batch, at: int) -> Entry:
    return Entry(
        life=batch.life,
        stream=batch.stream,
        kind=batch.kind,
        start=batch.cut.start,
        end=batch.cut.end,
        records=batch.cut.records,
        offset=at,
        length=len(batch.payload),
        crc32=isal_zlib.crc32(batch.payload),
        received_ns=batch.cut.observed_ns,
    )


def _member_entries(batch: Batch, at: int) -> Iterator[Entry]:
    """The hosts' batches inside a gateway's; bytes between them came from strangers and are listed as the gateway's own.

    Such bytes have no positions of their own here. Their offset in the payload serves: a frame takes more room in the
    spool than in the payload, so it stays inside the batch's range, and it is the same in every repeat.
    """
    payload = memoryview(batch.payload)
    done = 0
    for member in sorted(batch.members, key=lambda member: member.offset):
        if member.offset > done:
            yield _stranger_entry(batch, done, member.offset, at)
        done = member.offset + member.length
        yield Entry(
            life=member.life,
            stream=member.stream,
            kind=member.kind,
            start=member.start,
            end=member.end,
            records=member.records,
            offset=at + member.offset,
            length=member.length,
            crc32=isal_zlib.crc32(payload[member.offset : done]),
            received_ns=member.received_ns,
            via=batch.key,
            filtered=member.filtered,
        )
    if done < len(payload):
        yield _stranger_entry(batch, done, len(payload), at)


def _stranger_entry(batch: Batch, start: int, end: int, at: int) -> Entry:
    content = batch.payload[start:end]
    return Entry(
        life=batch.life,
        stream=batch.stream,
        kind=batch.kind,
        start=batch.cut.start + start,
        end=batch.cut.start + end,
        records=scan(batch.signal, content).records,
        offset=at + start,
        length=len(content),
        crc32=isal_zlib.crc32(content),
        received_ns=batch.cut.observed_ns,
        via=batch.key,
    )
