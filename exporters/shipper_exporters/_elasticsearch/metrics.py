"""Data points as documents: those of one moment with the same attributes are one, each metric a field of it.

So it is in Elasticsearch's time series data streams, where a document's id is made of its dimensions and its time: two documents of
the same series and moment would be one. For these the destination makes the ids, and the action says of which type each new field is.
Any other index gets ids made as everywhere.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shipper.contracts import Request, Signal
from shipper.otlp.decode import attributes_of
from shipper.otlp.encode import AttributeValue
from shipper.otlp.messages import envelopes, parse
from shipper_exporters._elasticsearch.bulk import BulkBody, Run, Writer, action, id_prefix
from shipper_exporters._elasticsearch.ecs_fields import Document, plain_text
from shipper_exporters._elasticsearch.ecs_text import encode
from shipper_exporters._elasticsearch.logs import spans_of
from shipper_exporters._elasticsearch.names import Target, Targets
from shipper_exporters._elasticsearch.otel import common, kept
from shipper_exporters._elasticsearch.points import value_of_point
from shipper_exporters._elasticsearch.settings import ElasticsearchSettings

TWICE = "further data points of one metric with the same attributes at the same time"
NAMELESS = "metrics without a name"
_MILLISECOND = 1_000_000


@dataclass(slots=True)
class _Group:
    """Data points that are one document, and which records they are."""

    target: Target
    id_prefix: str
    name: int
    document: Document
    templates: dict[str, str] = field(default_factory=dict)
    points: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class MetricBody:
    """A request in both its forms; which is sent depends on what the destination turns out to be."""

    plain: BulkBody
    time_series: BulkBody

    @property
    def wire_bytes(self) -> int:
        """Size of the larger."""
        return max(self.plain.wire_bytes, self.time_series.wire_bytes)


class MetricBodies:
    """Makes the bodies; may be called in several threads at once."""

    def __init__(self, settings: ElasticsearchSettings, targets: Targets) -> None:
        self._targets = targets
        self._most = settings.max_body_bytes
        self._compressed = settings.compression == "gzip"
        self._index = "" if targets.varies else targets.of("metrics", {}, otel=True).index

    def make(self, request: Request) -> MetricBody:
        """The body of a request. Raises `MalformedOtlp`."""
        groups: list[_Group] = []
        left_out: Counter[str] = Counter()
        records = 0
        for batch in request.batches:
            for life, stream, start, payload in spans_of(batch):
                found = _Batch(id_prefix(life, stream, start), records, batch.cut.observed_ns, self._targets)
                records = found.read(payload)
                groups += found.groups.values()
                left_out += found.left_out
        why = ", ".join(left_out)
        count = left_out.total()
        return MetricBody(
            self._body(groups, records, count, why, ids=True), self._body(groups, records, count, why, ids=False)
        )

    def _body(self, groups: list[_Group], records: int, left_out: int, why: str, *, ids: bool) -> BulkBody:
        writer = Writer(self._most, self._compressed)
        for group in groups:
            index = "" if group.target.index == self._index else group.target.index
            if ids:
                first = b'%b%d"}}' % (action(index, group.id_prefix), group.name)
            else:
                told: Document = {"_index": index} if index else {}
                first = encode({"create": told | {"dynamic_templates": group.templates}})
            writer.add([b"".join((first, b"\n", encode(group.document), b"\n"))])
        writer.cut()
        runs = [Run(group.target.index, group.id_prefix, (group.name,)) for group in groups] if ids else []
        owners = tuple(tuple(group.points) for group in groups)
        return BulkBody(self._index, tuple(writer.parts), records, self._compressed, tuple(runs), owners, left_out, why)


class _Batch:
    """The groups of one batch; what is in another is never mixed in, so that its documents are always the same."""

    def __init__(self, prefix: str, first: int, observed_ns: int, targets: Targets) -> None:
        self._prefix = prefix
        self._first = first
        self._observed_ns = observed_ns
        self._targets = targets
        self.groups: dict[object, _Group] = {}
        self.left_out: Counter[str] = Counter()

    def read(self, payload: bytes) -> int:
        """Take in all points; returns the number of the next record. Raises `MalformedOtlp`."""
        record = self._first
        for resource, scope, metrics in envelopes(Signal.METRICS, parse(Signal.METRICS, payload)):
            shared = _Shared(attributes_of(resource.attributes), scope, self._targets)
            for metric in metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points if kind else ():
                    self._take(shared, metric, kind, point, record)
                    record += 1
        for group in self.groups.values():
            names = "".join(sorted(group.document["metrics"]))
            # A dimension in Elastic's template: documents of the same series and moment with other metrics differ by it.
            group.document["_metric_names_hash"] = f"{zlib.crc32(names.encode()):x}"
        return record

    def _take(self, shared: _Shared, metric: Any, kind: str, point: Any, record: int) -> None:
        try:
            found = value_of_point(metric, kind, point)
        except ValueError as error:
            self.left_out[str(error)] += 1
            return
        if found is None:
            return
        if not metric.name.strip():
            self.left_out[NAMELESS] += 1
            return
        time = point.time_unix_nano or self._observed_ns
        own = kept(attributes_of(point.attributes))
        key = (shared.key, time // _MILLISECOND, point.start_time_unix_nano // _MILLISECOND, metric.unit, encode(own))
        group = self.groups.get(key)
        if group is None:
            document = _document(time, point.start_time_unix_nano, metric.unit, own) | shared.document
            group = self.groups[key] = _Group(shared.target, self._prefix, record - self._first, document)
        if metric.name in group.document["metrics"]:
            self.left_out[TWICE] += 1
            return
        group.document["metrics"][metric.name], group.templates[f"metrics.{metric.name}"] = found
        group.points.append(record)


class _Shared:
    """What the points of a resource and a scope have in common."""

    def __init__(self, resource: Mapping[str, AttributeValue], scope: Any, targets: Targets) -> None:
        self.target = targets.of("metrics", resource, otel=True)
        more: Mapping[str, object] = {"data_stream": self.target.data_stream} if self.target.data_stream else {}
        scoped = (scope.name, scope.version, _texts(attributes_of(scope.attributes)))
        self.document = common(more, _texts(resource), scoped)
        self.key = encode(self.document)


def _document(time: int, start: int, unit: str, own: Mapping[str, AttributeValue]) -> Document:
    document: Document = {"@timestamp": time // _MILLISECOND, "metrics": {}}
    if start:
        document["start_timestamp"] = start // _MILLISECOND
    if unit:
        document["unit"] = unit
    if own:
        document["attributes"] = _texts(own)
    return document


def _texts(given: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Attributes with maps and lists as texts: a dimension has one value."""
    return {name: plain_text(value) if isinstance(value, Mapping | list) else value for name, value in given.items()}
