"""What records are in Splunk: the text, the time, where it belongs, and the fields by which it is found."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import ExporterContext, Signal
from shipper.errors import Rejected
from shipper.otlp.encode import resource, scope
from shipper.otlp.metrics import counter, distribution, export_metrics, gauge, histogram, number, quantiles, summary
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE
from shipper_exporters.splunk import SplunkExporter, SplunkSettings
from tests.exporters.splunk_hec import TOKEN, HecServer
from tests.exporters.vendor_logs import AT, IDENTITY, TEXTS, VALUES, lines, one_batch, row


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_HEC_TOKEN", TOKEN)


def parts(payload: bytes, signal: Signal = Signal.LOGS, **options: Any) -> Any:
    settings = SplunkSettings(endpoint="https://splunk.example:8088", compression="none", **options)
    exporter = SplunkExporter("splunk", settings, ExporterContext(FakeClock(), LIFE, 1, "test"))
    return exporter.prepare(one_batch(payload, signal)).body


def events(payload: bytes, signal: Signal = Signal.LOGS, **options: Any) -> list[dict[str, Any]]:
    body = b"".join(part.data for part in parts(payload, signal, **options).parts)
    return [json.loads(line, parse_float=Decimal) for line in body.splitlines()]


def test_a_plain_line() -> None:
    """A line is an event with its time to the nanosecond, its host, its file as source, and the identity as fields."""
    (event,) = events(
        lines(["a line"], {**IDENTITY, "log.file.path": "/var/log/a.log"}), index="main", sourcetype="app"
    )
    assert event["time"] == Decimal("1700000000.123456789")
    assert (event["host"], event["source"]) == ("ip-10-0-0-1", "/var/log/a.log")
    assert (event["index"], event["sourcetype"]) == ("main", "app")
    assert event["event"] == "a line"
    assert IDENTITY.items() <= event["fields"].items()


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_lines_of_any_text(texts: list[str]) -> None:
    """Each line is one event with just its text, whatever is in it; one that is blank stands in an object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPLUNK_HEC_TOKEN", TOKEN)
        found = [event["event"] for event in events(lines(texts))]
    assert [text if text.strip() else {"body": text} for text in texts] == found


def test_a_record_with_all_that_it_can_have() -> None:
    """Severity, ids, event name and attributes are fields under the names that the Collector's exporter gives them."""
    payload = row(
        severity=17,
        severity_text="ERROR",
        event_name="order.failed",
        trace_id=bytes(range(16)),
        span_id=bytes(range(8)),
        attributes={
            "http": {"request": {"method": "GET"}, "status": 500},
            "tags": ["a", "b"],
            "deep": [{"a": 1}],
            "none": None,
            "nan": float("nan"),
            "half": 0.5,
            "raw": b"\x00\xff",
            "": "nameless",
        },
    )
    (event,) = events(payload)
    expected = {
        "otel.log.severity.number": 17,
        "otel.log.severity.text": "ERROR",
        "otel.log.name": "order.failed",
        "trace_id": "000102030405060708090a0b0c0d0e0f",
        "span_id": "0001020304050607",
        "http.request.method": "GET",
        "http.status": 500,
        "tags": ["a", "b"],
        "deep": '[{"a":1}]',
        "none": "",
        "nan": "nan",
        "half": Decimal("0.5"),
        "raw": "AP8=",
        "_": "nameless",
        "otel.scope.name": "app",
    }
    assert event["fields"] == {**IDENTITY, **expected}


def test_an_attribute_named_like_one_of_the_resource() -> None:
    """What the record says itself counts, and no field is there twice."""
    payload = row(attributes={"service.version": "9.9.9"})
    body = parts(payload).parts[0].data
    assert body.count(b'"service.version"') == 1
    (event,) = events(payload)
    assert event["fields"]["service.version"] == "9.9.9"
    assert event["fields"]["shipper.life.id"] == LIFE


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"a": [1, None]}, {"a": [1, None]}),
        (["x"], ["x"]),
        (7, 7),
        (True, True),
        (None, {"body": None}),
        (" ", {"body": " "}),
        (b"", {"body": ""}),
    ],
)
def test_bodies_of_other_kinds(body: Any, shown: Any) -> None:
    """A body that is no text is the event as it is; HEC takes none that is blank, so that stands in an object."""
    (event,) = events(row(body=body))
    assert event["event"] == shown


@settings(max_examples=100, deadline=None)
@given(VALUES, st.dictionaries(st.sampled_from(["", "a", "a.b", "service.name", "\x7f"]), VALUES, max_size=4))
def test_any_record_is_taken(body: Any, attributes: dict[str, Any]) -> None:
    """Whatever a record holds, HEC takes its event: no blank text, no nested field, no number that JSON does not know."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPLUNK_HEC_TOKEN", TOKEN)
        (part,) = parts(row(body=body, attributes=attributes)).parts
    event = json.loads(part.data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert HecServer()._fault_of(event) == 0
    assert event["fields"]["shipper.life.id"] == LIFE


def test_times() -> None:
    """The observed time stands in for one that is not known, and none at all is left to Splunk."""
    (event,) = events(row(time_ns=0))
    assert event["time"] == Decimal(AT + 1) / 10**9
    (event,) = events(row(time_ns=0, observed_ns=0))
    assert "time" not in event


def test_spans() -> None:
    """A span is an event in the shape of the Collector's exporter, at its start, in the index for spans."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    message = ExportTraceServiceRequest()
    envelope = message.resource_spans.add()
    envelope.resource.attributes.add(key="shipper.life.id").value.string_value = LIFE
    span = envelope.scope_spans.add().spans.add(
        name="GET /", kind=2, start_time_unix_nano=AT, end_time_unix_nano=AT + 5, trace_id=b"t" * 16, span_id=b"s" * 8
    )
    span.status.code, span.status.message = 2, "boom"
    span.attributes.add(key="k").value.int_value = 1
    span.events.add(name="exception", time_unix_nano=AT + 1)
    span.links.add(trace_id=b"l" * 16, span_id=b"l" * 8)
    (event,) = events(message.SerializeToString(), Signal.TRACES, traces_index="traces", index="main")
    assert (event["time"], event["index"]) == (Decimal(AT) / 10**9, "traces")
    assert event["fields"] == {"shipper.life.id": LIFE}
    shown = event["event"]
    assert (shown["kind"], shown["name"], shown["trace_id"]) == ("SPAN_KIND_SERVER", "GET /", (b"t" * 16).hex())
    assert shown["status"] == {"message": "boom", "code": "STATUS_CODE_ERROR"}
    assert (shown["start_time"], shown["end_time"], shown["attributes"]) == (AT, AT + 5, {"k": 1})
    assert [one["name"] for one in shown["events"]] == ["exception"]
    assert [one["span_id"] for one in shown["links"]] == [(b"l" * 8).hex()]


def test_metrics_of_one_time_are_one_event() -> None:
    """Numbers of one time and equal dimensions are one metric event, with names as Splunk allows them."""
    payload = export_metrics(
        resource(IDENTITY),
        scope("m"),
        [
            gauge("cpu usage", [number(0.5, AT, attributes={"core": 1})]),
            gauge("_memory", [number(7, AT, attributes={"core": 1}), number(8, AT, attributes={"core": 2})]),
            counter("hits", [number(3, AT, attributes={"core": 1})]),
        ],
    )
    found = events(payload, Signal.METRICS, metrics_index="metrics")
    assert [event["event"] for event in found] == ["metric"] * 3
    assert {event["index"] for event in found} == {"metrics"}
    first, second, third = (event["fields"] for event in found)
    assert (first["metric_name:cpu_usage"], first["metric_name:m.memory"], first["core"]) == (Decimal("0.5"), 7, 1)
    assert (first["metric_type"], first["shipper.life.id"]) == ("Gauge", LIFE)
    assert (second["metric_name:m.memory"], second["core"]) == (8, 2)
    assert (third["metric_name:hits"], third["metric_type"]) == (3, "Sum")


def test_distributions() -> None:
    """A histogram is its sum, its count and cumulative buckets by ``le``; a summary its sum, its count and quantiles."""
    payload = export_metrics(
        resource({}),
        scope("m"),
        [
            histogram("took", [distribution([1, 2, 3, 0, 0], [0.1, 5.0, 1048576.0, 1048577.0], 9.0, AT)]),
            summary("size", [quantiles(4, 10.0, {0.99: 8.0}, AT)]),
        ],
    )
    found = events(payload, Signal.METRICS, metrics_index="metrics")
    buckets = {
        event["fields"]["le"]: event["fields"]["metric_name:took_bucket"] for event in found if "le" in event["fields"]
    }
    assert buckets == {"0.1": 1, "5": 3, "1048576": 6, "1048577": 6, "+Inf": 6}
    together = {
        key: value for event in found for key, value in event["fields"].items() if key.startswith("metric_name:")
    }
    assert (together["metric_name:took_count"], together["metric_name:took_sum"]) == (6, 9)
    assert (together["metric_name:size_count"], together["metric_name:size_0.99"]) == (4, 8)


def test_what_has_no_form_is_counted() -> None:
    """Points without a number or a time, and exponential histograms, are left out and counted by their reason."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    odd = ExportMetricsServiceRequest()
    metric = odd.resource_metrics.add().scope_metrics.add().metrics.add(name="odd")
    metric.exponential_histogram.data_points.add(time_unix_nano=AT, count=1)
    ended = odd.resource_metrics.add().scope_metrics.add().metrics.add(name="ended")
    ended.gauge.data_points.add(time_unix_nano=AT, flags=1)  # no number, and nothing is missing
    payload = export_metrics(
        resource({}), scope("m"), [gauge("g", [number(float("inf"), AT), number(1, 0), number(2, AT)])]
    )
    body = parts(payload + odd.SerializeToString(), Signal.METRICS, metrics_index="metrics")
    assert (body.records, sum(body.left_out.values()), body.parts[0].events) == (5, 3, 1)


def test_metrics_only_where_an_index_is_named() -> None:
    """A metric event in an index of another kind would vanish, so without a metrics index none are taken."""
    context = ExporterContext(FakeClock(), LIFE, 1, "test")
    without = SplunkExporter("s", SplunkSettings(endpoint="https://splunk.example:8088"), context)
    assert without.signals == {Signal.LOGS, Signal.TRACES}
    raw = SplunkExporter("s", SplunkSettings(endpoint="https://splunk.example:8088", api="raw"), context)
    assert raw.signals == {Signal.LOGS}


def test_raw() -> None:
    """The raw endpoint gets the texts, a line each; where they belong, and whose life it was, is in the query."""
    (part,) = parts(lines(["a", "b\nc"]), api="raw", index="main").parts
    assert part.data == b"a\nb\nc\n"
    assert part.events == 2
    assert dict(part.query) == {"host": "ip-10-0-0-1", "source": f"checkout#{LIFE}", "index": "main"}
    assert part.between(1, 2).data == b"b\nc\n"
    (part,) = parts(row(severity=9, attributes={"k": "v"}), api="raw").parts
    assert json.loads(part.data)["attributes"] == {"k": "v"}


def test_raw_is_cut_between_records() -> None:
    """Parts for the raw endpoint are cut by size and where another resource begins, never inside of a record."""
    payload = lines(["x" * 600, "y" * 600, "z\nz"]) + lines(["other"], {**IDENTITY, "log.file.path": "/b"})
    found = parts(payload, api="raw", max_content_length=1024).parts
    assert [part.data for part in found] == [b"x" * 600 + b"\n", b"y" * 600 + b"\nz\nz\n", b"other\n"]


@pytest.mark.parametrize("signal", list(Signal))
def test_no_otlp(signal: Signal) -> None:
    """Bytes that are no OTLP are rejected with a sentence."""
    with pytest.raises(Rejected, match="not valid OTLP"):
        parts(b"\xff\xff", signal, metrics_index="metrics")
