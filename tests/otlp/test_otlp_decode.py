"""Decoding: flat records, OTLP JSON both ways, and errors that are always MalformedOtlp."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp import encode
from shipper.otlp.decode import check, from_json, parse, records, to_json
from tests.otlp.otlp_strategies import damaged, requests, signals

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@settings(max_examples=100)
@given(st.data(), signals)
def test_json_and_back_is_the_same_message(data: st.DataObject, signal: Signal) -> None:
    """What to_json writes, from_json reads as the request it came from, whatever the records hold."""
    message = data.draw(requests(signal, unknown=False))
    text = to_json(signal, message.SerializeToString())
    assert b"\n" not in text
    assert parse(signal, from_json(signal, text)) == message


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "5", "-1", "x", TRACE, "=", "NaN", "1e999", 1 << 64, 1e30, "9" * 30, "²"])
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150)
@given(st.data(), signals)
def test_wrong_values_in_json_are_refused_and_nothing_else_escapes(data: st.DataObject, signal: Signal) -> None:
    """Any value in any place of an OTLP JSON request gives a request that parses, or MalformedOtlp."""
    tree = json.loads(to_json(signal, data.draw(requests(signal, unknown=False)).SerializeToString()))
    _replace_one(data, tree)
    with suppress(MalformedOtlp):
        parse(signal, from_json(signal, json.dumps(tree).encode()))


def _replace_one(data: st.DataObject, tree: Any) -> None:
    """Put any JSON value somewhere into the tree."""
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if not isinstance(tree[key], dict | list) or data.draw(st.integers(0, 5)) == 0:
            tree[key] = data.draw(json_values)
            return
        tree = tree[key]


@settings(max_examples=150)
@given(st.data(), signals)
def test_arbitrary_bytes_are_refused_or_decoded(data: st.DataObject, signal: Signal) -> None:
    """Neither decoder lets any other error than MalformedOtlp out."""
    content = data.draw(damaged(signal) | st.binary(max_size=60))
    with suppress(MalformedOtlp):
        list(records(signal, content))
    with suppress(MalformedOtlp):
        to_json(signal, content)
    with suppress(MalformedOtlp):
        from_json(signal, content)


def _one_log(log: dict[str, Any]) -> bytes:
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [log]}]}]}).encode()


def test_json_follows_otlp_and_not_the_general_mapping() -> None:
    """Ids are hex, 64 bit integers come as numbers or strings, enums as numbers or names, null is not set."""
    text = _one_log(
        {
            "timeUnixNano": 5,
            "observedTimeUnixNano": "1700000000000000000",
            "severityNumber": 9,
            "traceId": TRACE.upper(),
            "spanId": SPAN,
            "body": {"bytesValue": "_-8"},
            "attributes": [{"key": "a", "value": {"intValue": 7}}, {"key": "b", "value": {"doubleValue": "NaN"}}],
            "severityText": None,
            "inventedLater": {"traceId": 5},
            "event_name": "snake case is unknown",
        }
    )
    (record,) = records(Signal.LOGS, from_json(Signal.LOGS, text))
    assert (record.time_ns, record.observed_ns, record.severity) == (5, 17 * 10**17, 9)
    assert (record.trace_id, record.span_id, record.event_name) == (TRACE, SPAN, "")
    assert (record.body, record.attributes["a"]) == (b"\xff\xef", 7)
    assert repr(record.attributes["b"]) == "nan"
    named = from_json(Signal.LOGS, _one_log({"severityNumber": "SEVERITY_NUMBER_WARN"}))
    assert next(records(Signal.LOGS, named)).severity == 13


def test_written_json_is_otlp_json() -> None:
    """Ids in hex, 64 bit integers as strings, enums as numbers, lowerCamelCase names."""
    record = encode.log_record(
        time_ns=5,
        observed_ns=0,
        severity=9,
        body="ü",
        attributes={"n": 1},
        trace_id=bytes.fromhex(TRACE),
        span_id=bytes.fromhex(SPAN),
    )
    tree = json.loads(to_json(Signal.LOGS, encode.export_logs(b"", b"", [record])))
    (log,) = tree["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert log == {
        "timeUnixNano": "5",
        "severityNumber": 9,
        "body": {"stringValue": "ü"},
        "attributes": [{"key": "n", "value": {"intValue": "1"}}],
        "traceId": TRACE,
        "spanId": SPAN,
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "UTF-8"),
        (b"[]", "no JSON object"),
        (b'{"resourceLogs": NaN}', "beyond"),
        (b'{"resourceLogs": {}}', "no JSON array"),
        (b'{"resourceLogs": [null]}', "no JSON object"),
        (b'{"x": ' + b"9" * 5000 + b"}", "beyond"),
        (b"[" * 100_000, "beyond"),
        (_one_log({"traceId": "xyz"}), "traceId is not written in hex"),
        (_one_log({"traceId": "0a 7b"}), "hex"),
        (_one_log({"traceId": 5}), "hex"),
        (_one_log({"timeUnixNano": -1}), "out of range"),
        (_one_log({"timeUnixNano": "1.5"}), "no integer"),
        (_one_log({"timeUnixNano": True}), "no integer"),
        (_one_log({"severityNumber": "LOUD"}), "no integer"),
        (_one_log({"severityText": 5}), "no string"),
        (_one_log({"body": {"boolValue": 1}}), "neither true nor false"),
        (_one_log({"body": {"doubleValue": "1_0"}}), "no number"),
        (_one_log({"body": {"doubleValue": 10**400}}), "too large"),
        (_one_log({"body": {"bytesValue": "a"}}), "base64"),
    ],
)
def test_malformed_json_is_named(text: bytes, problem: str) -> None:
    """Each kind of wrong JSON is refused with the member and what is wrong with it."""
    with pytest.raises(MalformedOtlp, match=problem):
        from_json(Signal.LOGS, text)


@pytest.mark.parametrize("levels", [30, 45, 46, 47, 48, 49, 50, 60, 300])
def test_deep_json_is_decoded_or_refused(levels: int) -> None:
    """As deep as the library can follow, lists in lists are decoded and written back; deeper is MalformedOtlp."""
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(levels):
        value = {"arrayValue": {"values": [value]}}
    try:
        content = from_json(Signal.LOGS, _one_log({"body": value}))
    except MalformedOtlp:
        assert levels > 40
        return
    assert levels < 50
    assert from_json(Signal.LOGS, to_json(Signal.LOGS, content)) == content
    assert len(list(records(Signal.LOGS, content))) == 1


def test_spans_and_points_are_flat_records_too() -> None:
    """Name, times, ids, status, value and unit of spans and data points come with resource and scope."""
    spans = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
                "scopeSpans": [
                    {
                        "scope": {"name": "web"},
                        "spans": [
                            {
                                "traceId": TRACE,
                                "spanId": SPAN,
                                "name": "GET /",
                                "startTimeUnixNano": "5",
                                "endTimeUnixNano": "9",
                                "status": {"code": 2},
                            }
                        ],
                    }
                ],
            }
        ]
    }
    (span,) = records(Signal.TRACES, from_json(Signal.TRACES, json.dumps(spans).encode()))
    assert (span.name, span.time_ns, span.end_ns, span.status, span.scope) == ("GET /", 5, 9, 2, "web")
    assert (span.resource, span.trace_id) == ({"service.name": "shop"}, TRACE)
    points = [
        {"name": "up", "unit": "1", "gauge": {"dataPoints": [{"timeUnixNano": "5", "asInt": "3"}, {"asDouble": 0.5}]}},
        {"name": "took", "histogram": {"dataPoints": [{"count": "2", "sum": 1.5, "bucketCounts": ["2"]}]}},
    ]
    metrics = {"resourceMetrics": [{"scopeMetrics": [{"metrics": points}]}]}
    content = from_json(Signal.METRICS, json.dumps(metrics).encode())
    assert [(one.name, one.unit, one.value) for one in records(Signal.METRICS, content)] == [
        ("up", "1", 3),
        ("up", "1", 0.5),
        ("took", "", {"count": 2, "sum": 1.5}),
    ]


def test_a_record_that_is_broken_inside_is_found_by_the_check() -> None:
    """The library's check refuses a record whose text is no UTF-8, which the scanner does not look at."""
    content = encode.LineEncoder(b"", b"").encode([b"\xff"], 1)
    with pytest.raises(MalformedOtlp):
        check(Signal.LOGS, content)


def test_nothing_but_decoding_loads_the_protobuf_library() -> None:
    """Importing every module of the room and encoding, scanning and splicing leave protobuf unloaded."""
    program = """
import sys
from shipper.contracts import Signal
from shipper.otlp import answer, decode, encode, scan, splice
content = encode.LineEncoder(b"", b"").encode([b"x"], 1)
scan.scan(Signal.LOGS, splice.add_resource_attributes(Signal.LOGS, splice.take(Signal.LOGS, content, 0, 1), {"a": 1}))
answer.parse_response(Signal.LOGS, b"{}", "application/json")
print([name for name in sys.modules if name.startswith(("google", "opentelemetry", "grpc"))])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
