"""A request as it goes over the wire: bodies no larger than the collector takes, cut between events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from isal import isal_zlib

from shipper.otlp.encode import AttributeValue
from shipper.otlp.rows import LogRow, log_blocks
from shipper_exporters._splunk.events import text
from shipper_exporters._splunk.fields import Placement, place

_GZIP_LEVEL = 1
_GZIP_FORMAT = 31

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One body. ``sent``: its size before compression. ``ends``: where each event ends; none: at each line feed."""

    data: bytes = field(repr=False)
    events: int
    sent: int
    zipped: bool
    query: Query = ()
    ends: tuple[int, ...] = ()

    @classmethod
    def of(cls, events: Sequence[bytes], zipped: bool, query: Query = (), *, lines: bool = True) -> Part:
        """The part of these events, each with its line feed. ``lines``: none of them has another one in it."""
        body = b"".join(events)
        ends: list[int] = []
        if not lines:
            for event in events:
                ends.append((ends[-1] if ends else 0) + len(event))
        return cls(_packed([body]) if zipped else body, len(events), len(body), zipped, query, tuple(ends))

    def pieces(self) -> list[bytes]:
        """Its events, each with its line feed."""
        body = isal_zlib.decompress(self.data, _GZIP_FORMAT) if self.zipped else self.data
        if self.ends:
            return [body[start:end] for start, end in zip((0, *self.ends), self.ends, strict=False)]
        return [line + b"\n" for line in body[:-1].split(b"\n")]

    def between(self, start: int, end: int) -> Part:
        """The part with the events from ``start`` to ``end``."""
        if end - start == self.events:
            return self
        return Part.of(self.pieces()[start:end], self.zipped, self.query, lines=not self.ends)


@dataclass
class SplunkBody:
    """A request made ready. ``records`` are what it was made of; ``left_out`` those with no form in Splunk, by reason."""

    parts: tuple[Part, ...] = field(repr=False)
    records: int
    left_out: Mapping[str, int]

    @property
    def wire_bytes(self) -> int:
        """The size of all bodies."""
        return sum(len(part.data) for part in self.parts)

    def let_go(self) -> None:
        """Splunk has all of it, and what it may forget is made anew: hundreds of requests may wait to be indexed."""
        self.parts = ()


def cut(chunks: Iterable[bytes], most: int, zipped: bool) -> Iterator[Part]:
    """Parts of at most ``most`` bytes of events that are a line each; a single event may be larger."""
    gathered: list[bytes] = []
    size = 0
    for chunk in chunks:
        for some in (chunk,) if len(chunk) <= most else _smaller(chunk, most):
            if gathered and size + len(some) > most:
                yield _part(gathered, size, zipped)
                gathered, size = [], 0
            gathered.append(some)
            size += len(some)
    if size:
        yield _part(gathered, size, zipped)


def _smaller(events: bytes, most: int) -> Iterator[bytes]:
    at = 0
    while at < len(events):
        end = events.rfind(b"\n", at, at + most) + 1 or events.find(b"\n", at) + 1
        yield events[at:end]
        at = end


def _part(chunks: Sequence[bytes], size: int, zipped: bool) -> Part:
    data = _packed(chunks) if zipped else b"".join(chunks)
    return Part(data, sum([chunk.count(b"\n") for chunk in chunks]), size, zipped)


def raw_parts(payloads: Iterable[bytes], placement: Placement, most: int, zipped: bool) -> Iterator[Part]:
    """Parts for the raw endpoint: the text of each record, a line each; those of one resource together.

    What is more than a text (severity, attributes, ids) goes as the JSON object of all of it. Raises `MalformedOtlp`.
    """
    gathered: list[bytes] = []
    size = 0
    last: Query = ()
    for payload in payloads:
        for block in log_blocks(payload):
            query = _query(block.envelope.resource, placement)
            for row in block.rows():
                event = _raw(row) + b"\n"
                if gathered and (query != last or size + len(event) > most):
                    yield Part.of(gathered, zipped, last, lines=False)
                    gathered, size = [], 0
                gathered.append(event)
                size += len(event)
                last = query
    if gathered:
        yield Part.of(gathered, zipped, last, lines=False)


def _query(resource: Mapping[str, AttributeValue], placement: Placement) -> Query:
    """There are no fields in the raw endpoint, so the life, which an audit counts by, stands in the source."""
    found = place(resource, placement)
    life = resource.get("shipper.life.id")
    if isinstance(life, str) and life:
        found["source"] = f"{found['source']}#{life}" if "source" in found else life
    return tuple(found.items())


def _raw(row: LogRow) -> bytes:
    if isinstance(row.body, str) and not (row.severity or row.severity_text or row.attributes or row.trace_id):
        return row.body.encode("utf-8", "backslashreplace")
    shown = {key: value for key, value in row._asdict().items() if value}
    return text({**shown, "body": row.body})


def _packed(chunks: Iterable[bytes]) -> bytes:
    compressor = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    packed = [compressor.compress(chunk) for chunk in chunks]
    packed.append(compressor.flush())
    return b"".join(packed)
