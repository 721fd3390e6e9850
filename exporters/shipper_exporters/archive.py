"""Writes requests as objects into a directory or a bucket, with a range list beside each that says what it holds.

Object and range list are fixed by the request alone, so a repeat after a crash overwrites the same object with the same
bytes. The range list is written last: whoever finds one may rely on its object. Layout: `shipper.fleet.layout`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec
from isal import isal_zlib
from msgspec import Meta

from shipper.clock import Deadline
from shipper.config.section import Section
from shipper.config.units import Seconds, Size
from shipper.contracts import Accepted, Batch, Exporter, ExporterContext, Limits, Prepared, Request
from shipper.errors import ConfigError, MalformedOtlp, Retryable, TooLarge, Unusable
from shipper.fleet.layout import (
    DEFAULT_PARTITION,
    RANGE_LIST_VERSION,
    Entry,
    RangeList,
    encode_range_list,
    object_key,
    ranges_key,
)
from shipper.fleet.store import (
    BUCKET_SCHEMES,
    Store,
    StoredTooLarge,
    StoreUnavailable,
    StoreUnusable,
    is_local,
    local_path,
    open_store,
    wrong_option,
)
from shipper.otlp.scan import scan
from shipper.otlp.wire import LENGTH, field, fields
from shipper_exporters._archive.parquet import encode_table, parquet_key, require
from shipper_exporters._http.exchange import Patience

MIB = 1 << 20
MAX_RAW_BYTES = 64 * MIB  # what one object may hold before compression; both in-flight objects are held in memory
SEND_SECONDS = 120.0  # an upload that takes longer is given up and repeated
GZIP_LEVEL = 2


class ArchiveSettings(Section, frozen=True):
    """What ``options`` of a destination of type ``archive`` may hold."""

    url: Annotated[str, Meta(description="A directory, file://, s3://bucket/prefix, gs:// or az://.")]
    prefix: Annotated[str, Meta(description="A folder below url.")] = ""
    compression: Annotated[Literal["gzip", "none"], Meta(description="How objects are compressed.")] = "gzip"
    partition: Annotated[str, Meta(description="Folders by time: strftime, UTC.")] = DEFAULT_PARTITION
    object_bytes: Annotated[Size, Meta(description="An object of this size is written at once.")] = 16 * MIB
    linger: Annotated[Seconds, Meta(description="An object that is not full is written after this time.")] = 30.0
    write_once: Annotated[
        bool, Meta(description="Never overwrite: an object that is already there counts as written.")
    ] = False
    storage_class: Annotated[
        str, Meta(description="Storage class of objects, by the cloud's name for it: STANDARD_IA, NEARLINE, Cool, ...")
    ] = ""
    parquet: Annotated[
        bool, Meta(description="Write each object as Parquet too, below parquet/, for engines that query buckets.")
    ] = False
    options: Annotated[
        dict[str, str],
        Meta(
            description="For the bucket: region, endpoint, server_side_encryption, sse_kms_key_id, ... (obstore's names)."
        ),
    ] = msgspec.field(default_factory=dict)
    trust_local: Annotated[
        bool, Meta(description="Count a directory of this host, or a bucket service on it, as off the host.")
    ] = False


@dataclass(frozen=True, slots=True)
class _Objects:
    key: str
    data: bytes = attribute(repr=False)
    ranges_key: str
    ranges: RangeList = attribute(repr=False)
    parquet: bytes | None = attribute(repr=False, default=None)


class ArchiveExporter(Exporter):
    """See the module. Takes all signals and keeps accounts, which is what an audit reads."""

    Settings: ClassVar[type[ArchiveSettings]] = ArchiveSettings
    keeps_accounts = True

    def __init__(self, name: str, settings: ArchiveSettings, context: ExporterContext) -> None:
        _validate(name, settings)
        if settings.parquet:
            require()
        self.name = name
        self.limits = Limits(
            max_wire_bytes=settings.object_bytes,
            max_raw_bytes=max(settings.object_bytes, MAX_RAW_BYTES),
            linger=settings.linger,
            requests_per_second=1.0,
            burst=4,
            max_in_flight=2,
            max_batches=16_384,
        )
        self._settings = settings
        self._context = context
        self._store: Store | None = None

    def prepare(self, request: Request) -> Prepared:
        """Build the object and its range list; both depend on the request only, so a repeat is the same object."""
        gzip = self._settings.compression == "gzip"
        ranges = list(_entries(request))
        key = object_key(self._settings.partition, request.signal, request.id, _oldest(request), gzip=gzip)
        data = _compress(request) if gzip else b"".join(batch.payload for batch in request.batches)
        listing = RangeList(
            version=RANGE_LIST_VERSION,
            object=key,
            signal=request.signal,
            size=request.raw_bytes,
            written_ns=0,
            batches=ranges,
        )
        parquet = self._table(request) if self._settings.parquet else None
        objects = _Objects(key, data, ranges_key(request.id), listing, parquet)
        return Prepared(request.id, request.signal, objects, len(data))

    def _table(self, request: Request) -> bytes | None:
        try:
            return encode_table(request)
        except MalformedOtlp:  # what is no OTLP cannot be put in columns, and is kept as it came all the same
            return None

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """Write the object, then its range list; only all together are an acknowledgement."""
        objects: _Objects = prepared.body
        if deadline.expired():
            raise Retryable(f"{self.describe()}: the deadline came before the object could be written")
        try:
            async with Patience(self._context.clock, SEND_SECONDS, deadline):
                store = self._opened()
                how: dict[str, Any] = {
                    "once": self._settings.write_once,
                    "storage_class": self._settings.storage_class,
                }
                await store.put(objects.key, objects.data, **how)
                if objects.parquet is not None:
                    await store.put(parquet_key(objects.key), objects.parquet, **how)
                listing = msgspec.structs.replace(objects.ranges, written_ns=self._context.clock.wall_ns())
                await store.put(objects.ranges_key, encode_range_list(listing), once=self._settings.write_once)
        except TimeoutError as error:
            raise Retryable(f"{self.describe()} did not take the object in time") from error
        except StoreUnavailable as error:
            raise Retryable(str(error)) from error
        except StoreUnusable as error:
            raise Unusable(str(error)) from error
        except StoredTooLarge as error:
            raise TooLarge(str(error)) from error
        return Accepted()

    def trusted(self) -> bool:
        """A directory of this host dies with it, so it is off-host only when somebody says so."""
        return self._settings.trust_local or not is_local(self._settings.url, self._settings.options)

    def describe(self) -> str:
        """The archive's place."""
        prefix = self._settings.prefix.strip("/")
        return self._settings.url.rstrip("/") + (f"/{prefix}" if prefix else "")

    def _opened(self) -> Store:
        if self._store is None:
            self._store = open_store(self.describe(), self._settings.options, create=True)
        return self._store


def _validate(name: str, settings: ArchiveSettings) -> None:
    path = f"destinations.{name}"
    scheme = urlsplit(settings.url).scheme
    if not settings.url:
        raise ConfigError(f"{path}.url", "says where the archive lies: a directory, s3://bucket/prefix, gs:// or az://")
    if local_path(settings.url) is None and scheme not in BUCKET_SCHEMES:
        raise ConfigError(
            f"{path}.url", f"unknown kind of archive {scheme!r}; a directory, file://, s3://, gs:// or az://"
        )
    if not 64 * 1024 <= settings.object_bytes <= 1024 * MIB:
        raise ConfigError(f"{path}.object_bytes", "must lie between 64 KiB and 1 GiB")
    if settings.storage_class and local_path(settings.url) is not None:
        raise ConfigError(f"{path}.storage_class", "is for buckets; a directory has none")
    if problem := wrong_option(settings.options):
        raise ConfigError(f"{path}.options", problem)
    if not 0 <= settings.linger <= 3600:
        raise ConfigError(f"{path}.linger", "must lie between 0 and 3600 seconds")
    for option, folders in (("partition", settings.partition), ("prefix", settings.prefix)):
        if ".." in folders.split("/"):
            raise ConfigError(f"{path}.{option}", "must not lead out of the archive ('..')")


def _compress(request: Request) -> bytes:
    packer = isal_zlib.compressobj(GZIP_LEVEL, wbits=31)
    parts = [packer.compress(batch.payload) for batch in request.batches]
    parts.append(packer.flush())
    return b"".join(parts)


def _oldest(request: Request) -> int:
    """The time of the oldest record, for the path.

    Records of one batch lie in the order in which they came, so the first of each is asked; looking at all of them would
    cost more than compressing them, for the sake of a minute in a name.
    """
    times = (time for batch in request.batches for time in _times(batch) if time)
    return min(times, default=(uuid.UUID(request.id).int >> 80) * 1_000_000)  # else when the request was cut (UUIDv7)


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


def _entries(request: Request) -> Iterator[Entry]:
    at = 0
    for batch in request.batches:
        if batch.members:
            yield from _member_entries(batch, at)
        else:
            yield _own_entry(batch, at)
        at += len(batch.payload)


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
