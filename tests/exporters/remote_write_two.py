"""Reading remote writes of version 2.0 in tests, as strictly as the specification lets a receiver be, and answering them.

With the protobuf library and a description of the messages of its own (Prometheus, ``prompb/io/prometheus/write/v2/types.proto``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from shipper.testing.sink import Answer, Received

CONTENT_TYPE = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


@dataclass(frozen=True)
class SeriesTwo:
    """One series of a request; ``histograms`` and ``exemplars`` as decoded messages, the latter with labels as text."""

    labels: dict[str, str]
    samples: list[tuple[int, float]]
    starts: list[int]  # of the series, then of each sample or histogram
    histograms: list[Any]
    exemplars: list[tuple[dict[str, str], float, int]]
    type: int
    help: str
    unit: str


def read(body: bytes) -> list[SeriesTwo]:
    """The series of a request. Raises AssertionError for what a receiver may refuse."""
    message = _Request.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    symbols = list(message.symbols)
    assert symbols[0] == "", "the first symbol is empty"
    assert len(set(symbols)) == len(symbols), "symbols are there once"
    return [_series(one, symbols) for one in message.timeseries]


def wrote(series: Iterable[SeriesTwo], *, less: int = 0) -> dict[str, str]:
    """The headers of a receiver that wrote ``series``, all but some samples."""
    found = list(series)
    return {
        "X-Prometheus-Remote-Write-Samples-Written": str(sum(len(one.samples) for one in found) - less),
        "X-Prometheus-Remote-Write-Histograms-Written": str(sum(len(one.histograms) for one in found)),
        "X-Prometheus-Remote-Write-Exemplars-Written": str(sum(len(one.exemplars) for one in found)),
    }


def receive(request: Received) -> Answer:
    """What a receiver of 2.0 alone says to a request that it stores."""
    if request.headers.get("Content-Type") != CONTENT_TYPE:
        return Answer(415, b"only io.prometheus.write.v2.Request is accepted", "text/plain", keep=False)
    assert request.headers["X-Prometheus-Remote-Write-Version"] == "2.0.0"
    assert request.headers["Content-Encoding"] == "snappy"
    return Answer(204, b"", headers=wrote(read(request.wire)))


def receive_one(request: Received) -> Answer:
    """What a strict receiver of 1.0 alone says."""
    if request.headers.get("Content-Type") != "application/x-protobuf":
        return Answer(415, b"unsupported", "text/plain", keep=False)
    return Answer(204, b"")


def _series(one: Any, symbols: list[str]) -> SeriesTwo:
    labels = _labels(one.labels_refs, symbols)
    assert bool(one.samples) != bool(one.histograms), "a series has samples or histograms"
    for points in (one.samples, one.histograms):
        times = [point.timestamp for point in points]
        assert times == sorted(times), "samples are in order of time"
    exemplars = [(_labels(each.labels_refs, symbols), each.value, each.timestamp) for each in one.exemplars]
    assert all(at for *_, at in exemplars), "an exemplar has a time"
    return SeriesTwo(
        labels,
        [(sample.timestamp, sample.value) for sample in one.samples],
        [one.created_timestamp, *(point.start_timestamp for point in (*one.samples, *one.histograms))],
        list(one.histograms),
        exemplars,
        one.metadata.type,
        symbols[one.metadata.help_ref],
        symbols[one.metadata.unit_ref],
    )


def _labels(refs: Any, symbols: list[str]) -> dict[str, str]:
    texts = [symbols[ref] for ref in refs]
    names, values = texts[::2], texts[1::2]
    assert len(names) == len(values), "every label has a value"
    assert names == sorted(set(names)), "labels are sorted, and none is there twice"
    assert all(texts), "no name or value of a label is empty"
    return dict(zip(names, values, strict=True))


def _messages() -> type:
    file = descriptor_pb2.FileDescriptorProto(name="write_v2.proto", package="io.prometheus.write.v2", syntax="proto3")
    kind = descriptor_pb2.FieldDescriptorProto
    text, number, double, whole = kind.TYPE_STRING, kind.TYPE_UINT32, kind.TYPE_DOUBLE, kind.TYPE_INT64
    shapes: dict[str, list[tuple[str, int, Any, bool]]] = {
        "Request": [("symbols", 4, text, True), ("timeseries", 5, "TimeSeries", True)],
        "TimeSeries": [
            ("labels_refs", 1, number, True), ("samples", 2, "Sample", True), ("histograms", 3, "Histogram", True),
            ("exemplars", 4, "Exemplar", True), ("metadata", 5, "Metadata", False), ("created_timestamp", 6, whole, False),
        ],
        "Sample": [("value", 1, double, False), ("timestamp", 2, whole, False), ("start_timestamp", 3, whole, False)],
        "Exemplar": [("labels_refs", 1, number, True), ("value", 2, double, False), ("timestamp", 3, whole, False)],
        "Metadata": [("type", 1, number, False), ("help_ref", 3, number, False), ("unit_ref", 4, number, False)],
        "BucketSpan": [("offset", 1, kind.TYPE_SINT32, False), ("length", 2, number, False)],
        "Histogram": [
            ("count_int", 1, kind.TYPE_UINT64, False), ("sum", 3, double, False), ("schema", 4, kind.TYPE_SINT32, False),
            ("zero_threshold", 5, double, False), ("zero_count_int", 6, kind.TYPE_UINT64, False),
            ("negative_spans", 8, "BucketSpan", True), ("negative_deltas", 9, kind.TYPE_SINT64, True),
            ("positive_spans", 11, "BucketSpan", True), ("positive_deltas", 12, kind.TYPE_SINT64, True),
            ("reset_hint", 14, number, False), ("timestamp", 15, whole, False), ("start_timestamp", 17, whole, False),
        ],
    }  # fmt: skip
    for name, members in shapes.items():
        message = file.message_type.add(name=name)
        for member, at, of, repeated in members:
            added = message.field.add(name=member, number=at)
            added.label = kind.LABEL_REPEATED if repeated else kind.LABEL_OPTIONAL
            if isinstance(of, str):
                added.type, added.type_name = kind.TYPE_MESSAGE, f".io.prometheus.write.v2.{of}"
            else:
                added.type = of
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("io.prometheus.write.v2.Request"))


_Request: Any = _messages()
