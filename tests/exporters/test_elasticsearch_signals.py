"""Spans and data points as documents: events of their own, points of one moment together, values in Elasticsearch's types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shipper.contracts import Batch, Cut, Request, Signal
from shipper.otlp.jsonform import from_json
from shipper.testing.clock import START_WALL_NS
from shipper.testing.streams import LIFE, log_request
from shipper_exporters._elasticsearch.bulk import BulkBody
from shipper_exporters._elasticsearch.metrics import TWICE, MetricBodies
from shipper_exporters._elasticsearch.names import Targets
from shipper_exporters._elasticsearch.points import MALFORMED, NO_VALUE
from shipper_exporters._elasticsearch.settings import ElasticsearchSettings
from shipper_exporters._elasticsearch.spans import SpanBodies

NOW = 1_700_000_000_000_000_000
Items = list[tuple[dict[str, Any], dict[str, Any]]]


def pairs(**values: str) -> list[dict[str, Any]]:
    return [{"key": key.replace("__", "."), "value": {"stringValue": value}} for key, value in values.items()]


def request(signal: Signal, *batches: list[dict[str, Any]]) -> Request:
    """A request with a batch for each list of spans or metrics in OTLP's JSON form."""
    made = []
    for number, units in enumerate(batches):
        name = "Spans" if signal is Signal.TRACES else "Metrics"
        scope = {"scope": {"name": "app", "version": "1"}, name.lower(): units}
        resource = {"attributes": pairs(service__name="shop", shipper__life__id=LIFE)}
        document = {f"resource{name}": [{"resource": resource, f"scope{name}": [scope]}]}
        start = 100 * number
        cut = Cut(start, start + 100, start, start + 100, len(units), START_WALL_NS)
        made.append(Batch(LIFE, "otlp", signal, cut, from_json(signal, json.dumps(document).encode())))
    return log_request(*made)


def items_of(body: BulkBody) -> Items:
    lines = [json.loads(line) for part in body.parts for line in part.data.splitlines()]
    return [(lines[at]["create"], lines[at + 1]) for at in range(0, len(lines), 2)]


def settings(**options: Any) -> ElasticsearchSettings:
    return ElasticsearchSettings(endpoint="http://es:9200", compression="none", **options)


def spans(*given: dict[str, Any], **options: Any) -> tuple[BulkBody, Items]:
    body = SpanBodies(settings(**options), Targets(settings(**options))).make(request(Signal.TRACES, list(given)))
    return body, items_of(body)


def metrics(*given: dict[str, Any]) -> tuple[BulkBody, Items, Items]:
    """The body with our ids, its documents, and those of the body for time series."""
    both = MetricBodies(settings(), Targets(settings())).make(request(Signal.METRICS, list(given)))
    return both.plain, items_of(both.plain), items_of(both.time_series)


def gauge(name: str, value: object, at: int = NOW, unit: str = "", **attributes: str) -> dict[str, Any]:
    kind = "asDouble" if isinstance(value, float | str) else "asInt"
    point = {"timeUnixNano": at, kind: value, "attributes": pairs(**attributes)}
    return {"name": name, "unit": unit, "gauge": {"dataPoints": [point]}}


def histogram(point: dict[str, Any], kind: str = "histogram") -> dict[str, Any]:
    return {"name": "h", kind: {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": NOW, **point}]}}


SPAN = {
    "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708", "parentSpanId": "0807060504030201",
    "name": "GET /", "kind": 2, "startTimeUnixNano": NOW, "endTimeUnixNano": NOW + 1_500, "traceState": "a=b",
    "attributes": pairs(http__route="/"), "status": {"code": 2, "message": "no"}, "droppedEventsCount": 3,
    "links": [{"traceId": "11" * 16, "spanId": "22" * 8, "attributes": pairs(why="retry")}],
    "events": [
        {"name": "exception", "timeUnixNano": NOW + 7, "attributes": pairs(exception__type="ValueError")},
        {"name": "", "timeUnixNano": NOW + 8},
    ],
}  # fmt: skip


def test_a_span() -> None:
    """A span is a document with OTLP's names, and each of its events another, in the data stream for logs."""
    body, items = spans({**SPAN, "events": []}, SPAN)
    shared = {
        "resource": {"attributes": {"service.name": "shop", "shipper.life.id": LIFE}},
        "scope": {"name": "app", "version": "1"},
    }
    assert [(action.get("_index"), action["_id"]) for action, _ in items] == [
        (None, f"{LIFE}.otlp.0.0"),
        (None, f"{LIFE}.otlp.0.1"),
        ("logs-generic.otel-default", f"{LIFE}.otlp.0.1.0"),
        ("logs-generic.otel-default", f"{LIFE}.otlp.0.1.1"),
    ]
    assert items[1][1] == {
        "@timestamp": "2023-11-14T22:13:20.000000000Z",
        "trace_id": SPAN["traceId"], "span_id": SPAN["spanId"], "parent_span_id": SPAN["parentSpanId"],
        "trace_state": "a=b", "name": "GET /", "kind": "Server", "duration": 1500, "attributes": {"http.route": "/"},
        "status": {"code": "Error", "message": "no"}, "dropped_events_count": 3,
        "links": [{"trace_id": "11" * 16, "span_id": "22" * 8, "attributes": {"why": "retry"}}],
        "data_stream": {"type": "traces", "dataset": "generic.otel", "namespace": "default"}, **shared,
    }  # fmt: skip
    assert items[2][1] == {
        "@timestamp": "2023-11-14T22:13:20.000000007Z",
        "trace_id": SPAN["traceId"], "span_id": SPAN["spanId"], "event_name": "exception",
        "attributes": {"exception.type": "ValueError", "event.name": "exception"},
        "data_stream": {"type": "logs", "dataset": "generic.otel", "namespace": "default"}, **shared,
    }  # fmt: skip
    assert (body.index, body.records) == ("traces-generic.otel-default", 2)
    assert [body.of(document) for document in range(4)] == [(0,), (1,), (1,), (1,)]


def test_spans_to_an_index() -> None:
    """Spans may go to an index of their own, and their events to that of the logs."""
    body, items = spans(SPAN, index="old-{signal}")
    assert body.index == "old-traces"
    assert [action.get("_index") for action, _ in items] == [None, "old-logs", "old-logs"]
    assert not [document for _, document in items if "data_stream" in document]


def test_points_of_one_moment() -> None:
    """Points with the same attributes, time and unit are one document; any other is another."""
    body, items, series = metrics(
        gauge("a", 1, unit="1"), gauge("b", 2.5, unit="1"), gauge("c", 3), gauge("a", 4, NOW + 10**9, unit="1"),
        gauge("a", 5, unit="1", host="x"),
    )  # fmt: skip
    assert [document["metrics"] for _, document in items] == [{"a": 1, "b": 2.5}, {"c": 3}, {"a": 4}, {"a": 5}]
    assert [body.of(document) for document in range(4)] == [(0, 1), (2,), (3,), (4,)]
    assert [action["_id"] for action, _ in items] == [f"{LIFE}.otlp.0.{first}" for first in (0, 2, 3, 4)]
    assert items[3][1] == {
        "@timestamp": 1_700_000_000_000, "unit": "1", "attributes": {"host": "x"}, "metrics": {"a": 5},
        "data_stream": {"type": "metrics", "dataset": "generic.otel", "namespace": "default"},
        "resource": {"attributes": {"service.name": "shop", "shipper.life.id": LIFE}},
        "scope": {"name": "app", "version": "1"}, "_metric_names_hash": items[3][1]["_metric_names_hash"],
    }  # fmt: skip
    assert [document for _, document in series] == [document for _, document in items]
    assert series[0][0] == {"dynamic_templates": {"metrics.a": "gauge_long", "metrics.b": "gauge_double"}}


def test_batches_are_not_mixed() -> None:
    """Points of several batches are documents of their own, so that each batch gives the same ones whatever it goes with."""
    asked = request(Signal.METRICS, [gauge("a", 1)], [gauge("b", 2)])
    both = MetricBodies(settings(), Targets(settings())).make(asked)
    items = items_of(both.plain)
    assert [action["_id"] for action, _ in items] == [f"{LIFE}.otlp.0.0", f"{LIFE}.otlp.100.0"]
    assert items[0][1]["_metric_names_hash"] != items[1][1]["_metric_names_hash"]
    assert [both.plain.of(document) for document in (0, 1)] == [(0,), (1,)]


@pytest.mark.parametrize(
    ("metric", "value", "template"),
    [
        (gauge("h", 5), 5, "gauge_long"),
        (gauge("h", 0.25), 0.25, "gauge_double"),
        ({"name": "h", "sum": {"isMonotonic": True, "aggregationTemporality": 2, "dataPoints": [{"asInt": 7}]}}, 7, "counter_long"),
        ({"name": "h", "sum": {"isMonotonic": True, "aggregationTemporality": 1, "dataPoints": [{"asInt": 7}]}}, 7, "gauge_long"),
        (
            {"name": "h", "sum": {"isMonotonic": True, "aggregationTemporality": 2, "dataPoints": [{"asDouble": 1.5}]}},
            1.5,
            "counter_double",
        ),
        ({"name": "h", "summary": {"dataPoints": [{"sum": 2.5, "count": 3}]}}, {"sum": 2.5, "value_count": 3}, "summary"),
        (
            histogram({"bucketCounts": [1, 0, 2, 3], "explicitBounds": [10, 20, 40]}),
            {"counts": [1, 2, 3], "values": [5.0, 30.0, 40.0]},
            "histogram",
        ),
        (
            histogram({"bucketCounts": [1, 1], "explicitBounds": [-4]}),
            {"counts": [2], "values": [-4.0]},
            "histogram",
        ),
        (histogram({"count": 4, "sum": 10.0}), {"counts": [4], "values": [2.5]}, "histogram"),
        (histogram({}), {"counts": [], "values": []}, "histogram"),
        (
            histogram(
                {
                    "scale": 0, "zeroCount": 5, "positive": {"offset": 0, "bucketCounts": [1, 2]},
                    "negative": {"offset": 1, "bucketCounts": [3, 0, 4]},
                },
                "exponentialHistogram",
            ),
            {"counts": [4, 3, 5, 1, 2], "values": [-12.0, -3.0, 0.0, 1.5, 3.0]},
            "histogram",
        ),
    ],
)  # fmt: skip
def test_values(metric: dict[str, Any], value: object, template: str) -> None:
    """Each kind of point has the value, and the dynamic template, of Elasticsearch's type for it."""
    body, items, series = metrics(metric)
    assert items[0][1]["metrics"]["h"] == (
        pytest.approx(value) if not isinstance(value, dict) else approximately(value)
    )
    assert series[0][0]["dynamic_templates"] == {"metrics.h": template}
    assert body.left_out == 0


def test_spans_of_any_length_and_kind() -> None:
    """What is longer than a field can hold is as long as that, and a kind that OTLP does not know is none."""
    long = {"name": "long", "startTimeUnixNano": 0, "endTimeUnixNano": 2**64 - 1}
    odd = {"name": "odd", "kind": -7, "status": {"code": -7}, "links": [{"attributes": pairs(**{" ": "x"})}]}
    _, items = spans(long, odd)
    assert items[0][1]["duration"] == 2**63 - 1
    assert (items[1][1]["kind"], items[1][1]["status"]["code"]) == ("Unspecified", "Unset")
    assert items[1][1]["links"][0]["attributes"] == {"_": "x"}


def test_metrics_without_a_name() -> None:
    """They are counted, and take no other metric of their moment with them."""
    body, items, _ = metrics(gauge("", 1), gauge(" ", 2), gauge("a", 3))
    assert [document["metrics"] for _, document in items] == [{"a": 3}]
    assert (body.left_out, body.why) == (2, "metrics without a name")


def approximately(value: dict[str, Any]) -> dict[str, Any]:
    return {name: pytest.approx(one) for name, one in value.items()}


def test_what_has_no_form() -> None:
    """Points that Elasticsearch has no form for are left out and counted by their reason; that a series ended is no loss."""
    ended = {"name": "gone", "gauge": {"dataPoints": [{"timeUnixNano": NOW, "flags": 1}]}}
    body, items, _ = metrics(
        gauge("a", 1), gauge("a", 2), gauge("n", "NaN"), {"name": "e", "gauge": {"dataPoints": [{"timeUnixNano": NOW}]}},
        histogram({"bucketCounts": [1, 2], "explicitBounds": [1, 2, 3]}), ended, {"name": "none"},
    )  # fmt: skip
    assert [document["metrics"] for _, document in items] == [{"a": 1}]
    assert (body.records, body.left_out) == (6, 4)
    assert TWICE in body.why
    assert NO_VALUE in body.why
    assert MALFORMED in body.why
