"""Bodies that Datadog's intakes take: of logs at most 1,000 entries and 5 MB before compression, of OTLP what it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from isal import isal_zlib

from shipper_exporters._datadog.logs import MAX_ENTRIES, Entries

MAX_BODY = 5_000_000

_GZIP_LEVEL = 1
_GZIP_FORMAT = 31
_GZIPPED = {"Content-Encoding": "gzip"}
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Part:
    """One body of ``entries`` log entries, or of as many spans or data points."""

    data: bytes = field(repr=False)
    headers: Mapping[str, str]
    entries: int

    def halves(self) -> tuple[Part, Part] | None:
        """Two parts with the first and the second half of the entries; None for a single entry."""
        if self.entries < 2:
            return None
        zipped = "Content-Encoding" in self.headers
        entries = [bytes(one) for one in _split(isal_zlib.decompress(self.data, _GZIP_FORMAT) if zipped else self.data)]
        middle = len(entries) // 2
        return _part(entries[:middle], middle, zipped), _part(entries[middle:], len(entries) - middle, zipped)


def log_parts(entries: Iterable[Entries], zipped: bool) -> Iterator[Part]:
    """The parts of entries, in their order."""
    gathered: list[bytes] = []
    count = size = 0
    for some, number in _fitting(entries):
        if gathered and (count + number > MAX_ENTRIES or size + len(some) + 2 > MAX_BODY):
            yield _part(gathered, count, zipped)
            gathered, count, size = [], 0, 0
        gathered.append(some)
        count += number
        size += len(some) + 1
    if gathered:
        yield _part(gathered, count, zipped)


def _fitting(entries: Iterable[Entries]) -> Iterator[Entries]:
    """The same, but what is too much for one body by itself as single entries."""
    for some, number in entries:
        if len(some) + 2 <= MAX_BODY:
            yield some, number
        else:
            for one in _split(b"[%b]" % some):
                yield bytes(one), 1


def otlp_part(data: bytes, records: int, zipped: bool) -> Part:
    """An OTLP request as one body."""
    headers = {"Content-Type": "application/x-protobuf"}
    return Part(_packed(data), {**headers, **_GZIPPED}, records) if zipped else Part(data, headers, records)


def _part(entries: list[bytes], count: int, zipped: bool) -> Part:
    body = b"".join((b"[", b",".join(entries), b"]"))
    headers = {"Content-Type": "application/json"}
    return Part(_packed(body), {**headers, **_GZIPPED}, count) if zipped else Part(body, headers, count)


def _packed(body: bytes) -> bytes:
    compressor = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    return compressor.compress(body) + compressor.flush()
