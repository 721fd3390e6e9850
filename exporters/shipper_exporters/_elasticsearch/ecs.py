"""Log records as documents of the Elastic Common Schema, which is what Kibana's users filter by.

For every exporter whose destination speaks ECS. What records share is encoded once for each envelope, and a run of plain lines is
written without looking at any line: around each text stands the same, but for a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from shipper.otlp.encode import AttributeValue
from shipper.otlp.rows import SOME, Envelope, LogBlock, LogRow
from shipper_exporters._elasticsearch.ecs_fields import LIFE_LABEL, Document, attributes, plain_text, put, steady
from shipper_exporters._elasticsearch.ecs_text import TIMES, encode, numbers, timestamp
from shipper_exporters._jsoncolumns import FIELDS, KINDS, json_texts
from shipper_exporters._stencil import Stencils

__all__ = ["ECS_VERSION", "LIFE_LABEL", "EcsLogs"]

ECS_VERSION = "8.11.0"
_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
_OS_TYPES = {
    "linux": "linux",
    "windows": "windows",
    "darwin": "macos",
    "aix": "unix",
    "hpux": "unix",
    "solaris": "unix",
}
_AGENT = ("telemetry.sdk.name", "telemetry.sdk.language", "telemetry.distro.name")
_VERSIONS = ("telemetry.distro.version", "telemetry.sdk.version")
_OF_THE_AGENT = frozenset(_AGENT + _VERSIONS)
_MIXED = ("log", "labels", "numeric_labels")
_KEPT = 1024
_seen = lru_cache(64)(timestamp)  # records are seen many at a time


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the records of an envelope have in common: as fields, and written.

    ``mixed`` are the objects that nearly every record has something of its own in; ``rest`` is all else, ``names`` its objects.
    """

    fields: Document
    whole: bytes
    mixed: Document
    rest: bytes
    names: frozenset[str]

    @classmethod
    def of(cls, document: Document) -> _Shared:
        """By its fields."""
        mixed = {name: document[name] for name in _MIXED if name in document}
        rest = {name: value for name, value in document.items() if name not in mixed}
        return cls(document, encode(document)[1:], mixed, encode(rest)[1:], frozenset(rest))

    def with_own(self, own: Document) -> bytes:
        """A whole document, written; where both have a field it is the record's."""
        for name, theirs in self.mixed.items():
            mine = own.get(name)
            own[name] = _merged(theirs, mine) if mine else theirs
        if self.names.isdisjoint(own):
            return encode(own)[:-1] + b"," + self.rest
        return encode(_merged(self.fields, own))


class EcsLogs:
    """Makes ECS documents of log records. ``more``: fields that every document has besides, such as ``data_stream``."""

    def __init__(self, more: Mapping[str, object] | None = None) -> None:
        self._more = dict(more or {})
        self._shared = lru_cache(_KEPT)(self._share)
        self._stencils = Stencils(KINDS, (*FIELDS, *TIMES), steady)

    def documents(self, block: LogBlock, sequence: int, observed_ns: int) -> Iterator[list[bytes]]:
        """One JSON object for each record, in order, some at a time: so they stay in the processor's cache.

        ``sequence``: a number that grows from record to record of a stream, for the first of the block; it tells the order of
        what has the same time. ``observed_ns``: the time of records that have none.
        """
        shared = self._shared(block.envelope)
        if block.lines is not None and "event" not in shared.fields:
            for at in range(0, len(block.lines), SOME):
                lines = block.lines[at : at + SOME]
                yield _lines(lines, shared.whole, sequence + at, block.observed_ns or observed_ns)
            return
        named = LIFE_LABEL in shared.mixed.get("labels", ())

        def write(row: LogRow, number: int) -> bytes:
            own = _document(row, number, observed_ns)
            if named and "labels" in own and LIFE_LABEL in own["labels"]:
                # What an audit counts by is for the host to say, not for a record.
                own["labels"][f"{LIFE_LABEL}_"] = own["labels"].pop(LIFE_LABEL)
            return shared.with_own(own)

        for some in block.some():
            yield self._stencils.write(some, block.envelope, write, sequence, b"%d".__mod__)
            sequence += some.count

    def _share(self, envelope: Envelope) -> _Shared:
        document: Document = {}
        attributes(document, _own(envelope))
        document |= self._more
        _agent(document, envelope.resource)
        if envelope.scope:
            put(document, ("log", "logger"), envelope.scope)
        document["ecs"] = {"version": ECS_VERSION}
        return _Shared.of(document)


def _own(envelope: Envelope) -> list[tuple[str, AttributeValue]]:
    scope = list(envelope.scope_attributes.items())
    if envelope.scope_version:
        scope.append(("otel.scope.version", envelope.scope_version))
    return [(name, value) for name, value in envelope.resource.items() if name not in _OF_THE_AGENT] + scope


def _agent(document: Document, resource: Mapping[str, AttributeValue]) -> None:
    """What collected the records, as APM Server names it: SDK, language and distribution in one."""
    name, language, distribution = (plain_text(resource.get(key)) for key in _AGENT)
    parts = [name or "otlp", *([language or "unknown"] if language or distribution else []), distribution]
    put(document, ("agent", "name"), "/".join(part for part in parts if part))
    for key in _VERSIONS:
        if version := plain_text(resource.get(key)):
            put(document, ("agent", "version"), version)
            break
    system = _OS_TYPES.get(plain_text(resource.get("os.type")))
    if system:
        put(document, ("host", "os", "type"), system)


def _lines(lines: list[bytes], shared: bytes, sequence: int, observed_ns: int) -> list[bytes]:
    before = b'{"@timestamp":"%b","message":"' % timestamp(observed_ns).encode()
    after = b"}," + shared
    texts = iter(json_texts(lines))
    documents: list[bytes] = []
    for beginning, endings in numbers(sequence, len(lines)):
        between = b'","event":{"sequence":' + beginning
        documents += [b"".join((before, next(texts), between, ending, after)) for ending in endings]
    return documents


def _document(row: LogRow, sequence: int, observed_ns: int) -> Document:
    time_ns, seen_ns, severity, text, body, given, name, trace, span, _ = row
    event: Document = {"sequence": sequence}
    own: Document = {
        "@timestamp": timestamp(time_ns or seen_ns or observed_ns),
        "message": body if isinstance(body, str) else plain_text(body),
        "event": event,
    }
    if time_ns and seen_ns and seen_ns != time_ns:
        event["created"] = _seen(seen_ns)
    if severity:
        event["severity"] = severity
    if level := text or (_LEVELS[min(severity - 1, 23) // 4] if severity > 0 else ""):
        own["log"] = {"level": level}
    if trace:
        own["trace"] = {"id": trace}
    if span:
        own["span"] = {"id": span}
    if given:
        attributes(own, given.items())
    if name:
        event["action"] = name
    return own


def _merged(shared: Document, own: Document) -> Document:
    """Both, with the record's own where they differ. Objects that only one has are not copied."""
    merged = own | shared
    for name in own.keys() & shared.keys():
        mine, theirs = own[name], shared[name]
        merged[name] = _merged(theirs, mine) if isinstance(mine, dict) and isinstance(theirs, dict) else mine
    return merged
