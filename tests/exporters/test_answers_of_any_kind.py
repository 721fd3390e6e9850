"""Whatever a server answers, it means something: accepted, or one of the errors that have a consequence."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from shipper.contracts import Signal
from shipper.errors import DeliveryError
from shipper_exporters._datadog import answers as datadog
from shipper_exporters._elasticsearch.bulk_answers import outcomes
from shipper_exporters._elasticsearch.product import recognise
from shipper_exporters._http.answers import phrase
from shipper_exporters._http.client import Answer
from shipper_exporters._http.grpc import Reply
from shipper_exporters._loki import answers as loki
from shipper_exporters._otlp import answers as otlp
from shipper_exporters._otlp import grpc_answers as grpc
from shipper_exporters._prometheus import answers as prometheus
from shipper_exporters._prometheus import pushgateway_answers as pushgateway
from shipper_exporters._prometheus.remote_write_dialect import Dialect
from shipper_exporters._splunk import answers as splunk

WHERE, WALL = "http://there", 1_700_000_000_000_000_000
WORDS = (
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        '"',
        "null",
        "true",
        "1",
        "-1",
        "1e999",
        "9" * 30,
        " ",
        "\n",
        "\x00",
        "é",
        "<html>",
    ),
    *('"code"', '"text"', '"ackId"', '"invalid-event-number"', '"acks"', '"errors"', '"items"', '"create"', '"status"'),
    *('"error"', '"type"', '"reason"', '"_id"', '"message"', '"details"', '"partialSuccess"', '"rejectedLogRecords"'),
    *(
        "errors like: ",
        "max entry size '",
        "stream '{",
        "}'",
        "has timestamp too old: ",
        "total ignored: 3 out of 2 for stream",
    ),
    *(
        "entry with timestamp 2026-11-24 00:00:00 +0000 UTC ignored, reason: '",
        "Per stream rate limit exceeded (limit: ",
    ),
    *(
        "KB/sec)",
        "ingestion rate limit exceeded for user x (limit: ",
        " bytes/sec)",
        "out of order",
        "err-mimir-x",
        "too large",
    ),
    *("responded with HTTP Status Code 413", "larger than max", "grpc-encoding", "pipeline with id ["),
)
TYPES = ("", "text/plain", "text/html", "application/json; charset=utf-8", "application/x-protobuf")

bodies = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from(WORDS), max_size=14).map(lambda words: "".join(words).encode()),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([word.strip('"') for word in WORDS if word[:1] == '"']), inner)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)
headers = st.fixed_dictionaries(
    {"Content-Type": st.sampled_from(TYPES)},
    optional={
        "Retry-After": st.sampled_from(["", "7", "9" * 400, "-1", "²", "Fri, 31 Dec 9999 23:59:59 GMT", "soon"]),
        "X-RateLimit-Reset": st.sampled_from(["", "7", "9" * 400, "x"]),
        "Location": st.sampled_from(["", "http://elsewhere/\r\n"]),
        "X-Prometheus-Remote-Write-Samples-Written": st.sampled_from(["", "0", "1", "9" * 400, "-1", "²", "x"]),
    },
)
answers = st.builds(
    lambda status, said, body: Answer(status, CIMultiDict(said), body),
    st.sampled_from(
        [200, 201, 202, 204, 299, 300, 308, 400, 401, 404, 408, 409, 413, 422, 429, 431, 499, 500, 503, 599]
    ),
    headers,
    bodies,
)


def _splunk(answer: Answer) -> Any:
    splunk.parse(answer)
    return splunk.meaning(answer, 6 << 20, WHERE, WALL)


def _datadog(answer: Answer) -> Any:
    if answer.status >= 300:
        raise datadog.failure(answer, WHERE, WALL)
    return datadog.accepted(answer, WHERE)


def _otlp(answer: Answer) -> Any:
    if answer.status >= 300:
        raise otlp.failure(answer.status, answer.headers, answer.body, WHERE, WALL)
    return otlp.success(Signal.LOGS, answer.status, answer.headers, answer.body, WHERE)


def _elasticsearch(answer: Answer) -> Any:
    recognise(answer.headers, answer.body)
    return outcomes(answer, iter([("index", "id")]), 1, WHERE, WALL)


def _remote_write(answer: Answer) -> Any:
    dialect = Dialect("auto")
    if dialect.other(answer, dialect.version) is None:
        return prometheus.meaning(answer, WHERE, WALL)
    return None


MEANINGS: dict[str, Callable[[Answer], Any]] = {
    "datadog": _datadog,
    "elasticsearch": _elasticsearch,
    "loki": lambda answer: loki.meaning(answer, 3, WHERE, WALL),
    "otlp": _otlp,
    "pushgateway": lambda answer: pushgateway.check(answer, WHERE, WALL),
    "remote write": _remote_write,
    "splunk": _splunk,
}


@pytest.mark.parametrize("who", MEANINGS)
@settings(max_examples=120, deadline=None)
@given(answer=answers)
def test_an_answer_means_something(who: str, answer: Answer) -> None:
    """An answer of any status, with any words, is read without stumbling, and what is said of it is fit to print."""
    try:
        MEANINGS[who](answer)
    except DeliveryError as error:
        said = str(error)
        assert said.isprintable(), said
        assert len(said) < 1000
        assert phrase(answer.status) in said or str(answer.status) in said


@settings(max_examples=120, deadline=None)
@given(
    code=st.none() | st.integers(0, 99),
    message=st.lists(st.sampled_from(WORDS), max_size=6).map("".join),
    details=st.binary(max_size=40),
    answer=answers,
)
def test_a_call_ends_with_something(code: int | None, message: str, details: bytes, answer: Answer) -> None:
    """The same of the status of a gRPC call, whatever stands in its details."""
    metadata = {name.lower(): value for name, value in answer.headers.items()}
    reply = Reply(code, message, details, metadata, answer.body, answer.status)
    error = grpc.failure(reply, WHERE, WALL)
    assert str(error).isprintable()
