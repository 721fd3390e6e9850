"""Answers of OTLP servers: written as the library reads them, and read so that garbage is never an acknowledgement."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.answer import encode_response, encode_status, parse_response, parse_status
from shipper.otlp.wire import field, varint_field

PROTOBUF = "application/x-protobuf"
JSON = "application/json; charset=utf-8"
RESPONSES: dict[Signal, tuple[Any, str]] = {
    Signal.LOGS: (ExportLogsServiceResponse, "rejected_log_records"),
    Signal.TRACES: (ExportTraceServiceResponse, "rejected_spans"),
    Signal.METRICS: (ExportMetricsServiceResponse, "rejected_data_points"),
}
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
counts = st.integers(0, 2**63 - 1)
signals = st.sampled_from(list(Signal))


@settings(max_examples=60)
@given(signals, counts, texts)
def test_responses_are_those_of_the_library(signal: Signal, rejected: int, message: str) -> None:
    """Our bytes parse to the library's response, and the library's bytes to our values; JSON as well."""
    response, name = RESPONSES[signal]
    body = encode_response(signal, rejected, message)
    partial = response.FromString(body).partial_success
    assert (getattr(partial, name), partial.error_message) == (rejected, message)
    theirs = response(partial_success={name: rejected, "error_message": message}).SerializeToString()
    assert parse_response(signal, theirs, PROTOBUF) == (rejected, message)
    assert parse_response(signal, body, PROTOBUF) == (rejected, message)
    assert parse_response(signal, encode_response(signal, rejected, message, json=True), JSON) == (rejected, message)


def test_full_success_is_said_without_a_partial_success() -> None:
    """Nothing rejected and nothing to say leaves the response empty in both encodings."""
    assert encode_response(Signal.LOGS) == b""
    assert encode_response(Signal.LOGS, json=True) == b"{}"


def test_json_names_what_was_rejected_by_signal() -> None:
    """The count stands under the name that the signal's specification gives it, as a decimal string."""
    body = json.loads(encode_response(Signal.METRICS, 3, "no", json=True))
    assert body == {"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "no"}}


@pytest.mark.parametrize("content_type", ["", PROTOBUF, JSON, "text/html", "text/plain"])
def test_an_empty_body_is_success(content_type: str) -> None:
    """A server that says 200 and nothing else has taken the data."""
    assert parse_response(Signal.LOGS, b"", content_type) == (0, "")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<html><body>Sign in</body></html>", "text/html; charset=utf-8"),
        (b"<!DOCTYPE html><html>", PROTOBUF),
        (b"<html>", ""),
        (b"OK", "text/plain"),
        (b"OK", PROTOBUF),
        (b"{}", PROTOBUF),
        (b"{}", "text/plain"),
        (b"<html>", JSON),
        (b"[]", JSON),
        (b'"ok"', JSON),
        (b"\xff", JSON),
        (b"[" * 100_000, JSON),
        (b'{"partialSuccess": 5}', JSON),
        (b'{"partialSuccess": {"rejectedLogRecords": "-1"}}', JSON),
        (b'{"partialSuccess": {"rejectedLogRecords": true}}', JSON),
        (b'{"partialSuccess": {"rejectedLogRecords": "\xc2\xb2"}}', JSON),
        (b'{"partialSuccess": {"errorMessage": 5}}', JSON),
        (field(1, varint_field(1, -1)), PROTOBUF),
        (field(1, field(2, b"\xff")), PROTOBUF),
        (field(1, field(1, b"")), PROTOBUF),
        (varint_field(1, 1), PROTOBUF),
        (field(1, b"xy")[:-1], PROTOBUF),
    ],
)
def test_what_is_no_response_is_refused(body: bytes, content_type: str) -> None:
    """Login pages, plain text and malformed responses raise MalformedOtlp: nobody said the data arrived."""
    with pytest.raises(MalformedOtlp):
        parse_response(Signal.LOGS, body, content_type)


@settings(max_examples=200)
@given(st.binary(max_size=40) | texts.map(str.encode), st.sampled_from([PROTOBUF, JSON, "", "text/html"]), signals)
def test_only_malformed_otlp_escapes(body: bytes, content_type: str, signal: Signal) -> None:
    """Arbitrary bodies are read or refused; a protobuf body that is read, the library reads the same."""
    response, name = RESPONSES[signal]
    with suppress(MalformedOtlp):
        found = parse_response(signal, body, content_type)
        if content_type in (PROTOBUF, ""):
            partial = response.FromString(body).partial_success
            assert found == (getattr(partial, name), partial.error_message)
    with suppress(MalformedOtlp):
        parse_status(body, content_type)


@settings(max_examples=40)
@given(texts, st.integers(0, 16))
def test_a_status_is_that_of_the_library(message: str, code: int) -> None:
    """The body of an error answer parses as google.rpc.Status, and back, in both encodings."""
    body = encode_status(message, code=code)
    status = Status.FromString(body)
    assert (status.message, status.code) == (message, code)
    assert parse_status(status.SerializeToString(), PROTOBUF) == message
    assert parse_status(encode_status(message, json=True, code=code), JSON) == message
