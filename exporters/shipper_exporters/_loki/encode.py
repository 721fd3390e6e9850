"""How log records become pushes to Loki: which stream, which line, which time, and everything else as metadata.

Few things are stream labels, as each combination of them is a stream to Loki, and hosts come and go. All else that is known
of a record, of its host first of all, is structured metadata under the names that Loki itself gives what comes over OTLP.

Times matter more than they seem to: of entries of one stream with the same time, line and metadata Loki keeps one. That makes
a repeat harmless, and would lose lines that a service really wrote twice. So records without a time of their own, as plain
lines are, are numbered in nanoseconds from the moment their batch was observed, and a record that is the same as another of
its push in everything is put a nanosecond behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache
from itertools import repeat, starmap
from typing import NamedTuple

from shipper.contracts import Request
from shipper.otlp.encode import AttributeValue
from shipper.otlp.rows import Envelope, LogBlock, LogRow, Table, log_blocks
from shipper.otlp.wire import text
from shipper_exporters._loki.names import flat, loki_name, loki_text, selector
from shipper_exporters._loki.tables import OBSERVED, SPAN, TRACE, own_metadata
from shipper_exporters._loki.wire import Push, entries, entry, metadata, pair, plain_entries

UNKNOWN = {"service_name": "unknown_service"}  # a stream needs a label; this one Loki would add itself
OWN = frozenset(
    {"observed_timestamp", "severity_number", "severity_text", "flags", "trace_id", "span_id", "event_name"}
)
"""Names of what a record has beside its attributes, as Loki's OTLP endpoint gives them (and ``event_name``, which it leaves out)."""

_ENVELOPES = 256
_KEPT_LENGTH = 128


_Made = tuple[bytes, bytes, int, int]
"""A record's line, its metadata, its time and when it was observed, 0 for unknown."""


class _Shared(NamedTuple):
    """What all records of an envelope have in common: the labels of their stream, metadata, the names taken, the resource."""

    labels: bytes
    metadata: bytes
    names: frozenset[str]
    resource: Mapping[str, AttributeValue]


class LokiEncoder:
    """Makes pushes. ``labels``: stream label -> resource attribute; ``most``: bytes of entries in a push."""

    def __init__(self, labels: Mapping[str, str], most: int) -> None:
        self._labels = dict(labels)
        self._most = most
        self._shared = lru_cache(_ENVELOPES)(self._share)

    def encode(self, request: Request) -> list[Push]:
        """The pushes of a request, each of one stream; equal requests give equal pushes. Raises `MalformedOtlp`."""
        streams: dict[bytes, _Stream] = {}
        for batch in request.batches:
            for block in log_blocks(batch.payload):
                shared = self._shared(block.envelope)
                stream = streams.get(shared.labels)
                if stream is None:
                    stream = streams[shared.labels] = _Stream(shared.labels, self._most)
                if block.lines is not None:
                    stream.add_lines(block.lines, shared.metadata, block.observed_ns or batch.cut.observed_ns)
                else:
                    _add_rows(stream, block, shared, batch.cut.observed_ns)
        return [push for stream in streams.values() for push in stream.finished()]

    def _share(self, envelope: Envelope) -> _Shared:
        resource = dict(envelope.resource)
        labels = {}
        for label, attribute in self._labels.items():
            value = loki_text(resource.get(attribute))
            if value:
                labels[label] = value
                if loki_name(attribute) == label:
                    del resource[attribute]
        labels = labels or UNKNOWN
        scope = {"scope.name": envelope.scope, "scope.version": envelope.scope_version, **envelope.scope_attributes}
        pairs = _apart((*flat(scope), *flat(resource)), OWN | labels.keys())
        encoded = b"".join(starmap(metadata, pairs.items()))
        return _Shared(text(selector(labels)), encoded, OWN.union(pairs, labels), envelope.resource)


class _Stream:
    """Entries of one stream, gathered into pushes."""

    def __init__(self, labels: bytes, most: int) -> None:
        self._labels = labels
        self._most = most
        self._pushes: list[Push] = []
        self._pieces: list[bytes] = []
        self._size = self._entries = 0
        self._free_ns = 0  # behind the last record that had no time of its own
        self._first_at: dict[int, tuple[bytes, bytes]] = {}
        self._others_at: set[tuple[int, tuple[bytes, bytes]]] = set()

    def add_lines(self, lines: list[bytes], rest: bytes, observed_ns: int) -> None:
        """Add lines of which nothing is known but when they were observed."""
        first, at = self._number(observed_ns, len(lines)), 0
        for piece, count in plain_entries(lines, rest, first):
            if count > 1 and len(piece) > self._most:
                for number in range(at, at + count):
                    self._add(entry(lines[number], rest, first + number), 1)
            else:
                self._add(piece, count)
            at += count

    def add(self, lines: Sequence[bytes], rests: Sequence[bytes], times: Sequence[int]) -> None:
        """Add entries that have a time, or one a nanosecond later for each that is the same in everything."""
        contents = zip(lines, rests, strict=True)
        claim = self._first_at.setdefault
        settled = [
            time_ns if claim(time_ns, content) is content else self._later(time_ns, content)
            for time_ns, content in zip(times, contents, strict=True)
        ]
        self._add_all(entries(lines, rests, settled))

    def add_untimed(self, line: bytes, rest: bytes, observed_ns: int) -> None:
        """Add an entry of which is known when it was observed, not when it was written."""
        self._add(entry(line, rest, self._number(observed_ns, 1)), 1)

    def finished(self) -> list[Push]:
        """All pushes of it; nothing can be added any more."""
        self._cut()
        return self._pushes

    def _later(self, time_ns: int, content: tuple[bytes, bytes]) -> int:
        """A time for an entry where another one has its time."""
        first = self._first_at[time_ns]
        while first == content or (time_ns, content) in self._others_at:
            time_ns += 1
            first = self._first_at.setdefault(time_ns, content)
            if first is content:
                return time_ns
        self._others_at.add((time_ns, content))
        return time_ns

    def _number(self, observed_ns: int, count: int) -> int:
        first = max(observed_ns, self._free_ns)
        self._free_ns = first + count
        return first

    def _add(self, piece: bytes, count: int) -> None:
        if self._pieces and self._size + len(piece) > self._most:
            self._cut()
        self._pieces.append(piece)
        self._size += len(piece)
        self._entries += count

    def _add_all(self, pieces: Sequence[bytes]) -> None:
        size = sum(map(len, pieces))
        if self._size + size > self._most:
            for piece in pieces:
                self._add(piece, 1)
            return
        self._pieces += pieces
        self._size += size
        self._entries += len(pieces)

    def _cut(self) -> None:
        if self._pieces:
            self._pushes.append(Push.of(self._labels, self._pieces, self._entries))
        self._pieces = []
        self._size = self._entries = 0


def _add_rows(stream: _Stream, block: LogBlock, shared: _Shared, observed_ns: int) -> None:
    for some in block.some():
        whole = some.tables[0] if len(some.tables) == 1 and not some.rows else None
        rests = _rests(whole, shared) if whole is not None and whole.times else None
        if whole is not None and rests is not None:
            stream.add(whole.bodies or [b""] * len(whole), rests, whole.times)
            continue
        made = some.in_order(lambda table: _of_table(table, shared), lambda _, row: _of_row(row, shared))
        lines, metadata_of, times, _ = zip(*made, strict=True)
        if all(times):
            stream.add(lines, metadata_of, times)
            continue
        for line, rest, time_ns, seen_ns in made:
            if time_ns:
                stream.add([line], [rest], [time_ns])
            else:
                stream.add_untimed(line, rest, seen_ns or observed_ns)


def _of_row(row: LogRow, shared: _Shared) -> _Made:
    rest = _metadata(row, shared) + shared.metadata
    return text(loki_text(row.body)), rest, row.time_ns, row.observed_ns


def _of_table(table: Table, shared: _Shared) -> list[_Made]:
    rests = _rests(table, shared)
    if rests is None:
        return [_of_row(row, shared) for row in table.rows()]
    bodies = repeat(b"") if table.bodies is None else table.bodies
    return list(zip(bodies, rests, table.times or repeat(0), table.observed or repeat(0), strict=False))


def _rests(table: Table, shared: _Shared) -> list[bytes] | None:
    """The metadata of each record; None when that depends on what is in them."""
    keys = tuple(column.name for column in table.attributes)
    if not table.scalar or not shared.resource.keys().isdisjoint(keys) or 0 in table.times or 0 in table.observed:
        return None
    return own_metadata(table, _names(keys, shared.names), _head, shared.metadata)


def _metadata(row: LogRow, shared: _Shared) -> bytes:
    """What a record has beside its line and what it shares."""
    time_ns, observed_ns, severity, severity_text, _, attributes, event_name, trace_id, span_id, flags = row
    out = [_head(severity, flags, severity_text, event_name)]
    if time_ns and observed_ns:  # also tells records apart that are the same but for when they were read
        out.append(pair(OBSERVED, str(observed_ns)))
    out += pair(TRACE, trace_id), pair(SPAN, span_id)
    if attributes:
        out += _attributes(attributes, shared)
    return b"".join(out)


def _head(severity: int, flags: int, severity_text: str, event_name: str) -> bytes:
    kept = len(severity_text) + len(event_name) < _KEPT_LENGTH
    return (_kept_head if kept else _made_head)(severity, flags, severity_text, event_name)


def _made_head(severity: int, flags: int, severity_text: str, event_name: str) -> bytes:
    values = {
        "severity_number": str(severity or ""),
        "severity_text": severity_text,
        "flags": str(flags or ""),
        "event_name": event_name,
    }
    return b"".join(starmap(metadata, values.items()))


_kept_head = lru_cache(1024)(_made_head)


def _attributes(attributes: Mapping[str, AttributeValue], shared: _Shared) -> Iterable[bytes]:
    taken = shared.names
    if not shared.resource.keys().isdisjoint(attributes):  # what the resource says already is not said twice
        attributes = {key: value for key, value in attributes.items() if shared.resource.get(key) != value}
    given = attributes.values()
    if dict in map(type, given):  # its members count by themselves
        return starmap(metadata, _apart(flat(attributes), taken).items())
    values = [value if type(value) is str else loki_text(value) for value in given]
    return map(metadata, _names(tuple(attributes), taken), values)


@lru_cache(1024)
def _names(keys: tuple[str, ...], taken: frozenset[str]) -> tuple[str, ...]:
    """The names of attributes that are no maps; records have the same few sets of them again and again."""
    return tuple(_apart(((loki_name(key), "any") for key in keys), taken))


def _apart(pairs: Iterable[tuple[str, str]], taken: Set[str]) -> dict[str, str]:
    """Pairs by name; one whose name is taken gets another, as LogQL does it, so that no value hides one that queries need.

    Pairs without a value are left out: to Loki they are not there.
    """
    apart: dict[str, str] = {}
    for name, value in pairs:
        while name in taken or name in apart:
            name += "_extracted"
        if value:
            apart[name] = value
    return apart
