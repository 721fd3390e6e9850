"""The encoder against the protobuf library: what it writes means what was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from shipper.contracts import Signal
from shipper.otlp import encode
from shipper.otlp.decode import parse, records, value_of

NOW = 1_700_000_000_000_000_000
RESOURCE = encode.resource({"service.name": "shop"})
SCOPE = encode.scope("file", "1")
LENGTHS = [
    0,
    1,
    100,
    108,
    109,
    110,
    111,
    112,
    113,
    114,
    115,
    116,
    117,
    118,
    119,
    120,
    121,
    122,
    123,
    124,
    125,
    126,
    127,
]
LENGTHS += [128, 129, 130, 16_000, *range(16_360, 16_390), 65_536, 1 << 20]

values = st.recursive(
    st.none()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=6,
)
attributes = st.dictionaries(st.text("abc.", max_size=4), values, max_size=3)


def _records(data: bytes) -> list[Any]:
    (envelope,) = parse(Signal.LOGS, data).resource_logs
    (scope,) = envelope.scope_logs
    return list(scope.log_records)


@settings(max_examples=60)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=300), st.integers(0, 2**64 - 1)
)
def test_every_line_becomes_a_record_with_its_body_and_observed_time(lines: list[str], observed: int) -> None:
    """Each line is one record, in order, with the line as string body and the given observed time."""
    data = encode.LineEncoder(RESOURCE, SCOPE).encode([line.encode() for line in lines], observed)
    found = _records(data)
    assert [record.body.string_value for record in found] == lines
    assert {record.observed_time_unix_nano for record in found} <= {observed}


def test_lines_of_every_length_of_length_are_framed_right() -> None:
    """Lines around the borders where a length takes one byte more keep all their bytes."""
    lines = [b"x" * length for length in LENGTHS]
    data = encode.LineEncoder(RESOURCE, SCOPE).encode(lines, NOW)
    assert [len(record.body.string_value) for record in _records(data)] == LENGTHS
    assert len(parse(Signal.LOGS, data).SerializeToString()) == len(data)  # no length is padded


def test_the_cache_of_heads_stays_small_and_right() -> None:
    """More line lengths than the cache holds are encoded right, and the cache does not keep them all."""
    lines = [b"y" * length for length in range(10_000)]
    found = _records(encode.LineEncoder(RESOURCE, SCOPE).encode(lines, NOW))
    assert [len(record.body.string_value) for record in found] == list(range(10_000))
    assert len(encode._HEADS) <= encode._CACHED_LENGTHS


@settings(max_examples=40)
@given(st.data(), st.integers(1, 400))
def test_extra_fields_go_to_their_line_only(data: st.DataObject, count: int) -> None:
    """Attributes given for some lines are on these records and on no others."""
    wanted = data.draw(st.dictionaries(st.integers(0, count - 1), attributes, max_size=5))
    extra = {
        index: b"".join(encode.log_attribute(key, value) for key, value in more.items())
        for index, more in wanted.items()
    }
    lines = [b"line %d" % index for index in range(count)]
    found = list(records(Signal.LOGS, encode.LineEncoder(RESOURCE, SCOPE).encode(lines, NOW, extra)))
    assert [record.body for record in found] == [line.decode() for line in lines]
    assert {index: dict(record.attributes) for index, record in enumerate(found) if record.attributes} == {
        index: more for index, more in wanted.items() if more
    }
    assert {record.observed_ns for record in found} == {NOW}


@pytest.mark.parametrize("index", [-1, 2])
def test_extra_fields_for_a_line_that_is_not_there_are_refused(index: int) -> None:
    """A line number outside the chunk raises IndexError instead of losing the fields."""
    with pytest.raises(IndexError, match="of 2"):
        encode.LineEncoder(RESOURCE, SCOPE).encode([b"a", b"b"], NOW, {index: b""})


def test_envelopes_carry_resource_and_scope() -> None:
    """Resource attributes, scope name and version come back from the request."""
    data = encode.LineEncoder(RESOURCE, encode.scope("file", "2", {"a": 1})).encode([b"x"], NOW)
    (record,) = records(Signal.LOGS, data)
    assert (record.resource, record.scope, record.scope_version) == ({"service.name": "shop"}, "file", "2")
    assert record.scope_attributes == {"a": 1}


@settings(max_examples=100)
@given(
    attributes,
    values,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 24),
    st.sampled_from([b"", bytes(range(16))]),
    st.integers(0, 2**32 - 1),
)
def test_a_log_record_means_what_it_was_given(
    given_attributes: dict[str, Any], body: Any, time: int, observed: int, severity: int, trace_id: bytes, flags: int
) -> None:
    """Every field of a hand-made LogRecord is read back by the library with the same value and type."""
    content = encode.log_record(
        time_ns=time,
        observed_ns=observed,
        body=body,
        severity=severity,
        severity_text="S",
        attributes=given_attributes,
        event_name="shipper.birth",
        trace_id=trace_id,
        span_id=b"12345678",
        flags=flags,
    )
    message = LogRecord.FromString(content)
    assert (message.time_unix_nano, message.observed_time_unix_nano) == (time, observed)
    assert (message.severity_number, message.severity_text, message.flags) == (severity, "S", flags)
    assert (message.trace_id, message.span_id, message.event_name) == (trace_id, b"12345678", "shipper.birth")
    assert repr(value_of(message.body)) == repr(body)
    (record,) = records(Signal.LOGS, encode.export_logs(RESOURCE, SCOPE, [content]))
    assert repr(record.attributes) == repr(given_attributes)


def test_numbers_beyond_64_bits_keep_their_digits() -> None:
    """An integer that no OTLP value can hold becomes its decimal text."""
    content = encode.log_record(time_ns=0, observed_ns=0, body=2**70)
    assert value_of(LogRecord.FromString(content).body) == str(2**70)


def test_text_that_is_no_unicode_is_kept_readable() -> None:
    """A file name with undecodable bytes still makes a valid string."""
    content = encode.log_record(time_ns=0, observed_ns=0, body="a\udcffb")
    assert LogRecord.FromString(content).body.string_value == "a\\udcffb"


def test_too_deep_and_foreign_values_are_refused() -> None:
    """A value nested without end raises ValueError and an object of no OTLP type raises TypeError."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="levels deep"):
        encode.any_value(endless)
    with pytest.raises(TypeError, match="object is no attribute value"):
        encode.any_value(object())  # type: ignore[arg-type]


def test_the_deepest_value_allowed_is_still_parsed() -> None:
    """What the encoder lets through does not exceed the nesting that parsers accept."""
    deep: Any = "x"
    for _ in range(encode.MAX_DEPTH):
        deep = {"k": deep}
    content = encode.log_record(time_ns=0, observed_ns=0, body=deep, attributes={"deep": deep})
    (record,) = records(Signal.LOGS, encode.export_logs(RESOURCE, SCOPE, [content]))
    assert record.body == deep
