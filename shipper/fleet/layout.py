"""How an archive is laid out: the names of its objects and the range lists beside them.

Writer (the ``archive`` exporter) and readers (audit, cat, replay) share this page, so there is one definition of it::

    year=2026/month=11/day=23/hour=04/minute=22/logs_<request uuid>.binpb.gz      the object
    shipper/ranges/<request uuid>.json                                            its range list, written after it

Objects are what the OpenTelemetry Collector's S3 exporter writes (one serialized Export<Signal>ServiceRequest, optionally
gzip), so that its S3 receiver reads them. A range list says which bytes of the *uncompressed* object are which batch of
which host. All keys are relative to the directory or bucket prefix in which ``shipper/`` lies: an archive can be moved.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from shipper.contracts import Signal, StreamKind
from shipper.errors import ShipperError

RANGES_PREFIX = "shipper/ranges/"
DEFAULT_PARTITION = "year=%Y/month=%m/day=%d/hour=%H/minute=%M"
RANGE_LIST_VERSION = 1
_OBJECT = re.compile(r"(?:^|/)[^/]*?(logs|traces|metrics)_([A-Za-z0-9-]+)\.(binpb|json)(\.gz)?$")


class BadRangeList(ShipperError):
    """A range list cannot be read; nothing it might say counts as proof."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One batch inside an object: whose it is, which positions of its stream, and which bytes.

    ``via`` is ``<life>/<stream>/<start>-<end>`` of the gateway's own batch that carried it, empty when it came directly;
    so the gateway's own account can be checked too. ``filtered``: records of it that a route of that gateway left out, beside
    ``records``, which are here.
    """

    life: str
    stream: str
    kind: str
    start: int
    end: int
    records: int
    offset: int
    length: int
    crc32: int
    received_ns: int = 0
    via: str = ""
    filtered: int = 0


class RangeList(msgspec.Struct, frozen=True):
    """What an object holds; ``size`` is its uncompressed size in bytes."""

    version: int
    object: str
    signal: str
    size: int
    written_ns: int
    batches: list[Entry]


@dataclass(frozen=True, slots=True)
class ObjectName:
    """What an object's key says about it."""

    key: str
    signal: Signal
    unique: str
    json: bool
    gzip: bool


def object_key(partition: str, signal: Signal, unique: str, oldest_ns: int, *, gzip: bool) -> str:
    """Where an object goes. ``oldest_ns``: time of its oldest record; ``partition``: a strftime pattern, taken in UTC."""
    folder = time.strftime(partition, time.gmtime(oldest_ns // 1_000_000_000)).strip("/")
    name = f"{signal}_{unique}.binpb{'.gz' if gzip else ''}"
    return f"{folder}/{name}" if folder else name


def ranges_key(unique: str) -> str:
    """Where the range list of the request ``unique`` goes."""
    return f"{RANGES_PREFIX}{unique}.json"


def object_name(key: str) -> ObjectName | None:
    """Read an object's key; None when it is not a data object (a range list, a stray file)."""
    if key.startswith("shipper/"):
        return None
    match = _OBJECT.search(key)
    if match is None:
        return None
    signal, unique, form, gzip = match.groups()
    return ObjectName(key, Signal(signal), unique, form == "json", gzip is not None)


def encode_range_list(ranges: RangeList) -> bytes:
    """The bytes of a range list."""
    return msgspec.json.encode(ranges)


def decode_range_list(data: bytes) -> RangeList:
    """Read a range list. Raises `BadRangeList` for anything that is not a sane one of a known version."""
    try:
        ranges = msgspec.json.decode(data, type=RangeList)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRangeList(f"not a range list: {error}") from error
    for problem in _problems(ranges):
        raise BadRangeList(problem)
    return ranges


def _problems(ranges: RangeList) -> Iterator[str]:
    if ranges.version != RANGE_LIST_VERSION:
        yield f"range list of version {ranges.version}; this program knows version {RANGE_LIST_VERSION}"
    if ranges.signal not in list(Signal):
        yield f"unknown signal {ranges.signal!r}"
    if object_name(ranges.object) is None or ".." in ranges.object.split("/") or ranges.object.startswith("/"):
        yield f"{ranges.object!r} is no object of this archive"
    for entry in ranges.batches:
        if not 0 <= entry.start <= entry.end:
            yield f"impossible range [{entry.start}, {entry.end}) of {entry.life}/{entry.stream}"
        if entry.offset < 0 or entry.length < 0 or entry.offset + entry.length > ranges.size:
            yield f"bytes {entry.offset}+{entry.length} lie outside of an object of {ranges.size} bytes"
        if entry.kind not in list(StreamKind):
            yield f"unknown kind {entry.kind!r}"
        if entry.via and parse_key(entry.via) is None:
            yield f"unreadable carrier {entry.via!r}"


def parse_key(key: str) -> tuple[str, str, int, int] | None:
    """Read a batch's key ``<life>/<stream>/<start>-<end>``; None when it is not one."""
    parts = key.split("/")
    if len(parts) != 3:
        return None
    start, dash, end = parts[2].partition("-")
    if not (dash and start.isdecimal() and end.isdecimal()):
        return None
    return parts[0], parts[1], int(start), int(end)
