"""Log records as documents of the Elastic Common Schema, which is what Kibana's users filter by.

For every exporter whose destination speaks ECS. What records share is encoded once for each envelope, and a run of plain lines is
written without looking at any line: around each text stands the same, but for a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from shipper.otlp.encode import AttributeValue
from shipper.otlp.rows import Envelope, LogBlock, LogRow
from shipper_exporters._ecs_fields import LIFE_LABEL, Document, attributes, plain_text, put
from shipper_exporters._ecs_text import encode, json_texts, numbers, timestamp

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
_KEPT = 1024


class EcsLogs:
    """Makes ECS documents of log records. ``more``: fields that every document has besides, such as ``data_stream``."""

    def __init__(self, more: Mapping[str, object] | None = None) -> None:
        self._more = dict(more or {})
        self._shared = lru_cache(_KEPT)(self._share)

    def documents(self, block: LogBlock, sequence: int, observed_ns: int) -> list[bytes]:
        """One JSON object for each record, in order.

        ``sequence``: a number that grows from record to record of a stream, for the first of the block; it tells the order of
        what has the same time. ``observed_ns``: the time of records that have none.
        """
        shared, written = self._shared(block.envelope)
        if block.lines is not None and "event" not in shared:
            return _lines(block.lines, written, sequence, block.observed_ns or observed_ns)
        return [
            encode(_document(row, shared, sequence + number, observed_ns)) for number, row in enumerate(block.rows())
        ]

    def _share(self, envelope: Envelope) -> tuple[Document, bytes]:
        document: Document = {}
        attributes(document, _own(envelope))
        for name, value in self._more.items():
            document[name] = value
        _agent(document, envelope.resource)
        if envelope.scope:
            put(document, ("log", "logger"), envelope.scope)
        document["ecs"] = {"version": ECS_VERSION}
        return document, encode(document)[1:]


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
    between = b'","event":{"sequence":'
    after = b"}," + shared
    return [
        b"".join((before, line, between, number, after))
        for line, number in zip(json_texts(lines), numbers(sequence, len(lines)), strict=True)
    ]


def _document(row: LogRow, shared: Document, sequence: int, observed_ns: int) -> Document:
    when = row.time_ns or row.observed_ns or observed_ns
    event: Document = {"sequence": sequence}
    own: Document = {"@timestamp": timestamp(when), "message": plain_text(row.body), "event": event}
    if row.time_ns and row.observed_ns and row.observed_ns != row.time_ns:
        event["created"] = timestamp(row.observed_ns)
    if row.severity:
        event["severity"] = row.severity
    level = row.severity_text or (_LEVELS[min(row.severity - 1, 23) // 4] if row.severity > 0 else "")
    if level:
        own["log"] = {"level": level}
    if row.trace_id:
        own["trace"] = {"id": row.trace_id}
    if row.span_id:
        own["span"] = {"id": row.span_id}
    if row.attributes:
        attributes(own, row.attributes.items())
        labels = own.get("labels", {})
        if LIFE_LABEL in labels and LIFE_LABEL in shared.get(
            "labels", {}
        ):  # what an audit counts by is not for a record to say
            labels[f"{LIFE_LABEL}_"] = labels.pop(LIFE_LABEL)
    if row.event_name:
        event["action"] = row.event_name
    return _merged(shared, own)


def _merged(shared: Document, own: Document) -> Document:
    """Both, with the record's own where they differ. Objects that only one has are not copied."""
    merged = own | shared
    for name in own.keys() & shared.keys():
        mine, theirs = own[name], shared[name]
        merged[name] = _merged(theirs, mine) if isinstance(mine, dict) and isinstance(theirs, dict) else mine
    return merged
