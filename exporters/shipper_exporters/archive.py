"""Writes requests as objects into a directory or a bucket, with a range list beside each that says what it holds.

Object and range list are fixed by the request alone, so a repeat after a crash overwrites the same object with the same
bytes. The range list is written last: whoever finds one may rely on its object. Layout: `shipper.fleet.layout`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from shipper.clock import Deadline
from shipper.config.section import Section
from shipper.config.units import Seconds, Size
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Packing, Prepared, Request, Signal
from shipper.errors import ConfigError, MalformedOtlp, Retryable, TooLarge, Unusable
from shipper.fleet.layout import DEFAULT_PARTITION, encode_range_list
from shipper.fleet.store import (
    BUCKET_SCHEMES,
    SLOWEST,
    Store,
    StoredTooLarge,
    StoreUnavailable,
    StoreUnusable,
    is_local,
    local_path,
    open_store,
    wrong_option,
)
from shipper_exporters._archive.objects import ObjectPacking, Objects
from shipper_exporters._archive.parquet import encode_table, parquet_key, require
from shipper_exporters._http.exchange import Patience

MIB = 1 << 20
MAX_RAW_BYTES = 64 * MIB  # what one object may hold before compression; only what came of that is kept
MAX_TABLE = 8 * MIB  # the same where it becomes a table, which is made of all its records at once
SEND_SECONDS = 120.0  # an upload that takes longer than that and what its size needs is given up and repeated


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
            max_raw_bytes=MAX_TABLE if settings.parquet else max(settings.object_bytes, MAX_RAW_BYTES),
            linger=settings.linger,
            requests_per_second=1.0,
            burst=4,
            max_in_flight=2,
            max_batches=16_384,
        )
        self._settings = settings
        self._context = context
        self._store: Store | None = None

    def packing(self, signal: Signal) -> Packing | None:
        """An object is compressed while it is cut, as it may be large; a table of all its records cannot be made bit by bit."""
        return None if self._settings.parquet else self._object(signal)

    def prepare(self, request: Request) -> Prepared:
        """Build the object and its range list; both depend on the request only, so a repeat is the same object."""
        made = self._object(request.signal)
        for batch in request.batches:
            made.add(batch)
        return made.prepared(request.id, self._table(request) if self._settings.parquet else None)

    def _object(self, signal: Signal) -> ObjectPacking:
        return ObjectPacking(signal, self._settings.partition, gzip=self._settings.compression == "gzip")

    def _table(self, request: Request) -> bytes | None:
        try:
            return encode_table(request)
        except MalformedOtlp:  # what is no OTLP cannot be put in columns, and is kept as it came all the same
            return None

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """Write the object, then its range list; only all together are an acknowledgement."""
        objects: Objects = prepared.body
        if deadline.expired():
            raise Retryable(f"{self.describe()}: the deadline came before the object could be written")
        try:
            size = len(objects.data) + len(objects.parquet or b"")
            async with Patience(self._context.clock, SEND_SECONDS + size / SLOWEST, deadline):
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
