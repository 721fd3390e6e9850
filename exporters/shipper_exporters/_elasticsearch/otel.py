"""Documents of the OpenTelemetry mapping: the names of OTLP kept, as the Collector's Elasticsearch exporter writes them by default.

Elasticsearch brings templates for it from 8.16 on (``logs-otel@template`` and others). Attributes keep their dots; those templates
take ``attributes`` and ``resource.attributes`` as they come and let them be searched without that prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from string import whitespace

from shipper.otlp.encode import AttributeValue
from shipper.otlp.rows import SOME, Envelope, LogBlock, LogRow, Table
from shipper_exporters._elasticsearch.ecs_fields import NAMELESS, Document, plain_text
from shipper_exporters._elasticsearch.ecs_text import TIMES, encode, timestamp
from shipper_exporters._jsoncolumns import FIELDS, KINDS, json_texts
from shipper_exporters._stencil import Stencils

_KEPT = 1024
_seen = lru_cache(64)(timestamp)  # records are seen many at a time
_NO_NAME = f"{whitespace}."
_MIXED: frozenset[type] = frozenset({dict, list})  # of values that may hold names
_ROUTING = frozenset({"data_stream.type", "data_stream.dataset", "data_stream.namespace"})


class OtelLogs:
    """Makes such documents of log records; ``more``: fields that every document has besides."""

    def __init__(self, more: Mapping[str, object]) -> None:
        self._more = dict(more)
        self._shared = lru_cache(_KEPT)(self._share)
        self._stencils = Stencils(KINDS, (*FIELDS, *TIMES), _steady)

    def documents(self, block: LogBlock, sequence: int, observed_ns: int) -> Iterator[list[bytes]]:
        """One JSON object for each record, in order, some at a time. ``observed_ns``: the time of records that have none."""
        shared = self._shared(block.envelope)
        if block.lines is not None:
            for at in range(0, len(block.lines), SOME):
                yield _lines(block.lines[at : at + SOME], shared, block.observed_ns or observed_ns)
            return

        def write(row: LogRow, _: int) -> bytes:
            return encode(_document(row, observed_ns))[:-1] + b"," + shared

        for some in block.some():
            yield self._stencils.write(some, block.envelope, write)

    def _share(self, envelope: Envelope) -> bytes:
        scope = (envelope.scope, envelope.scope_version, envelope.scope_attributes)
        return encode(common(self._more, envelope.resource, scope))[1:]


def common(
    more: Mapping[str, object],
    resource: Mapping[str, AttributeValue],
    scope: tuple[str, str, Mapping[str, AttributeValue]],
) -> Document:
    """What all records of a resource and a scope (name, version, attributes) have."""
    name, version, own = scope
    named: Document = {key: value for key, value in (("name", name), ("version", version)) if value}
    return {
        **more,
        "resource": {"attributes": kept(resource)},
        "scope": named | ({"attributes": kept(own)} if own else {}),
    }


def kept(given: Mapping[str, AttributeValue]) -> Mapping[str, AttributeValue]:
    """Attributes without those that say where a record goes, and all with a name."""
    if _ROUTING & given.keys():
        given = {name: value for name, value in given.items() if name not in _ROUTING}
    return _named(given)


def _named(given: Mapping[str, AttributeValue]) -> Mapping[str, AttributeValue]:
    """The same with a name for what has none but blanks and dots, in whatever depth."""
    if all(name.strip(_NO_NAME) for name in given) and _MIXED.isdisjoint(map(type, given.values())):
        return given
    found: dict[str, AttributeValue] = {}
    for key, value in given.items():
        name = key if key.strip(_NO_NAME) else NAMELESS
        while name in found or (name != key and name in given):
            name += NAMELESS
        found[name] = _value(value)
    return found


def _value(value: AttributeValue) -> AttributeValue:
    if isinstance(value, Mapping):
        return _named(value)
    return list(map(_value, value)) if isinstance(value, list) else value


def _lines(lines: list[bytes], shared: bytes, observed_ns: int) -> list[bytes]:
    now = timestamp(observed_ns).encode()
    before = b'{"@timestamp":"%b","observed_timestamp":"%b","body":{"text":"' % (now, now)
    after = b'"},' + shared
    return [b"".join((before, line, after)) for line in json_texts(lines)]


def _steady(table: Table) -> bool:
    """Whether these have the same fields as documents: an empty name of an event is none."""
    events = [column for column in table.attributes if column.name == "event.name"]
    return bool(table.observed) and all(all(column.values) for column in events)


def _document(row: LogRow, observed_ns: int) -> Document:
    observed = row.observed_ns or observed_ns
    document: Document = {
        "@timestamp": timestamp(row.time_ns or observed),
        "observed_timestamp": _seen(observed),
    }
    if row.severity_text:
        document["severity_text"] = row.severity_text
    if row.severity:
        document["severity_number"] = row.severity
    if row.trace_id:
        document["trace_id"] = row.trace_id
    if row.span_id:
        document["span_id"] = row.span_id
    if row.attributes:
        document["attributes"] = kept(row.attributes)
    event = row.event_name or row.attributes.get("event.name")
    if event:
        document["event_name"] = plain_text(event)
    if row.body is not None:
        document["body"] = _body(row.body)
    return document


def _body(body: AttributeValue) -> Document:
    if isinstance(body, Mapping):
        return {"structured": _named(body)}
    if isinstance(body, list):  # a list of objects is one field with several values; any other has to be within one
        named = _value(body)
        return {"structured": named if all(isinstance(item, Mapping) for item in body) else {"value": named}}
    return {"text": plain_text(body)}
