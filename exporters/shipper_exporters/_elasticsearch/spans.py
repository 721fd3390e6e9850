"""Spans as documents, one each, and one for each of their events, as the Collector's Elasticsearch exporter writes them.

Events are documents of their own since that is where Kibana looks for exceptions: in the ``logs`` data stream of the same dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shipper.contracts import Request, Signal
from shipper.otlp.decode import attributes_of
from shipper.otlp.messages import envelopes, parse
from shipper_exporters._elasticsearch.bulk import BulkBody, Run, Writer, action, id_prefix
from shipper_exporters._elasticsearch.ecs_fields import Document
from shipper_exporters._elasticsearch.ecs_text import encode, timestamp
from shipper_exporters._elasticsearch.logs import spans_of
from shipper_exporters._elasticsearch.names import Target, Targets
from shipper_exporters._elasticsearch.otel import common, kept
from shipper_exporters._elasticsearch.settings import ElasticsearchSettings

_KINDS = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_LONGEST = (1 << 63) - 1  # as the field's type has it
_CODES = ("Unset", "Ok", "Error")


class SpanBodies:
    """Makes the bodies; may be called in several threads at once."""

    def __init__(self, settings: ElasticsearchSettings, targets: Targets) -> None:
        self._targets = targets
        self._most = settings.max_body_bytes
        self._compressed = settings.compression == "gzip"
        self._index = "" if targets.varies else targets.of("traces", {}, otel=True).index

    def make(self, request: Request) -> BulkBody:
        """The body of a request. Raises `MalformedOtlp`."""
        writer = Writer(self._most, self._compressed)
        runs: list[Run] = []
        owners: list[tuple[int, ...]] = []
        records = 0
        for batch in request.batches:
            for life, stream, start, payload in spans_of(batch):
                prefix = id_prefix(life, stream, start)
                first = records
                for resource, scope, spans in envelopes(Signal.TRACES, parse(Signal.TRACES, payload)):
                    places = self._places(resource, scope)
                    for span in spans:
                        name = records - first
                        for target, after, one, document in _documents(span, name, places):
                            before = action("" if target.index == self._index else target.index, prefix)
                            whole = encode(document)[:-1] + b"," + after
                            writer.add([b"".join((before, one.encode(), b'"}}\n', whole, b"\n"))])
                            runs.append(Run(target.index, prefix, (one,)))
                            owners.append((records,))
                        records += 1
        writer.cut()
        return BulkBody(self._index, tuple(writer.parts), records, self._compressed, tuple(runs), tuple(owners))

    def _places(self, resource: Any, scope: Any) -> dict[str, tuple[Target, bytes]]:
        """Where spans and their events go, each with what all of them have."""
        of = attributes_of(resource.attributes)
        scoped = (scope.name, scope.version, attributes_of(scope.attributes))
        places = {}
        for kind in ("traces", "logs"):
            target = self._targets.of(kind, of, otel=True)
            more: Mapping[str, object] = {"data_stream": target.data_stream} if target.data_stream else {}
            places[kind] = (target, encode(common(more, of, scoped))[1:])
        return places


def _documents(
    span: Any, number: int, places: Mapping[str, tuple[Target, bytes]]
) -> Iterator[tuple[Target, bytes, str, Document]]:
    """The span and its events: where to, what is common, the last part of the id, and the document."""
    target, after = places["traces"]
    yield target, after, str(number), _span(span)
    target, after = places["logs"]
    for place, event in enumerate(span.events):
        yield target, after, f"{number}.{place}", _event(span, event)


def _span(span: Any) -> Document:
    document: Document = {
        "@timestamp": timestamp(span.start_time_unix_nano),
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "name": span.name,
        "kind": _named(_KINDS, span.kind),
        "duration": min(max(0, span.end_time_unix_nano - span.start_time_unix_nano), _LONGEST),
        "attributes": kept(attributes_of(span.attributes)),
        "status": {"code": _named(_CODES, span.status.code)},
        "links": [_link(link) for link in span.links],
    }
    if span.status.message:
        document["status"]["message"] = span.status.message
    if span.parent_span_id:
        document["parent_span_id"] = span.parent_span_id.hex()
    if span.trace_state:
        document["trace_state"] = span.trace_state
    for dropped in ("dropped_attributes_count", "dropped_events_count", "dropped_links_count"):
        if count := getattr(span, dropped):
            document[dropped] = count
    return document


def _named(names: tuple[str, ...], number: int) -> str:
    """The name of a value of an enum; one that OTLP does not know, negative ones too, is none."""
    return names[number] if 0 <= number < len(names) else names[0]


def _link(link: Any) -> Document:
    found: Document = {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()}
    if link.trace_state:
        found["trace_state"] = link.trace_state
    if link.attributes:
        found["attributes"] = kept(attributes_of(link.attributes))
    return found


def _event(span: Any, event: Any) -> Document:
    document: Document = {
        "@timestamp": timestamp(event.time_unix_nano or span.start_time_unix_nano),
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "event_name": event.name,
        "attributes": {**kept(attributes_of(event.attributes)), **({"event.name": event.name} if event.name else {})},
    }
    if event.dropped_attributes_count:
        document["dropped_attributes_count"] = event.dropped_attributes_count
    return document
