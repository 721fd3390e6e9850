"""The scanner against the protobuf library: same counts and times, and nothing accepted that the library refuses."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp import encode
from shipper.otlp.decode import check
from shipper.otlp.scan import Scan, scan
from shipper.otlp.wire import field, fixed64_field, varint_field
from tests.otlp.otlp_strategies import LEVELS, damaged, requests, signals

NOW = 1_700_000_000_000_000_000
RESOURCE = encode.resource({"service.name": "shop"})
SCOPE = encode.scope("file", "1")


def _by_library(signal: Signal, message: Any) -> Scan:
    """Count and oldest time as the library's message has them."""
    outer, inner, units = LEVELS[signal]
    found: list[int] = []
    for envelope in getattr(message, outer):
        for scope in getattr(envelope, inner):
            for unit in getattr(scope, units):
                if signal is Signal.LOGS:
                    found.append(unit.time_unix_nano or unit.observed_time_unix_nano)
                elif signal is Signal.TRACES:
                    found.append(unit.start_time_unix_nano)
                elif kind := unit.WhichOneof("data"):
                    found.extend(point.time_unix_nano for point in getattr(unit, kind).data_points)
    return Scan(len(found), min((time for time in found if time), default=0))


@cache
def _envelopes_only() -> Any:
    """A message class that is an OTLP request in all but its records, which are mere bytes."""
    file = descriptor_pb2.FileDescriptorProto(
        name="envelopes.proto",
        package="envelopes",
        syntax="proto3",
        dependency=["opentelemetry/proto/common/v1/common.proto", "opentelemetry/proto/resource/v1/resource.proto"],
    )
    proto = ".opentelemetry.proto"
    layout: dict[str, list[tuple[int, Any, Any, str | None]]] = {
        "Request": [(1, 3, 11, ".envelopes.Outer")],
        "Outer": [(1, 1, 11, f"{proto}.resource.v1.Resource"), (2, 3, 11, ".envelopes.Inner"), (3, 1, 9, None)],
        "Inner": [(1, 1, 11, f"{proto}.common.v1.InstrumentationScope"), (2, 3, 12, None), (3, 1, 9, None)],
    }
    for name, members in layout.items():
        message = file.message_type.add(name=name)
        for number, label, kind, type_name in members:
            one = message.field.add(name=f"f{number}", number=number, label=label, type=kind)
            if type_name:
                one.type_name = type_name
    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("envelopes.Request"))


@settings(max_examples=80)
@given(st.data(), signals)
def test_counts_and_times_are_those_of_the_library(data: st.DataObject, signal: Signal) -> None:
    """The walk over bytes and the library's check agree with the message on records and oldest time."""
    message = data.draw(requests(signal))
    content = message.SerializeToString()
    assert scan(signal, content) == _by_library(signal, message)
    assert check(signal, content) == _by_library(signal, message)


@settings(max_examples=150)
@given(st.data(), signals)
def test_what_is_accepted_has_envelopes_the_library_accepts(data: st.DataObject, signal: Signal) -> None:
    """Damaged requests are refused with MalformedOtlp, or the library reads their envelopes too."""
    content = data.draw(damaged(signal) | st.binary(max_size=60))
    offset = None
    try:
        scan(signal, content)
    except MalformedOtlp as error:
        offset = error.offset
    if offset is None:
        _envelopes_only().FromString(content)
    else:
        assert 0 <= offset <= len(content)


@settings(max_examples=80)
@given(st.data(), signals)
def test_the_librarys_check_accepts_what_the_library_parses(data: st.DataObject, signal: Signal) -> None:
    """Of damaged requests, check() lets through those that parse, with the scanner's count, and refuses the others."""
    content = data.draw(damaged(signal))
    with suppress(MalformedOtlp):  # the scanner is stricter: groups and misused field types are no OTLP
        found = check(signal, content)
        assert scan(signal, content) == found


@settings(max_examples=60)
@given(st.lists(st.integers(0, 300) | st.sampled_from([16_300, 16_384, 20_000, 70_000]), max_size=40), st.data())
def test_own_lines_are_counted_among_others(lengths: list[int], data: st.DataObject) -> None:
    """Batches of the line encoder, some records with extra fields, scan as the library reads them."""
    indexes = st.integers(0, len(lengths) - 1) if lengths else st.nothing()
    extra = {index: encode.log_attribute("k", "v") for index in data.draw(st.sets(indexes))}
    encoder = encode.LineEncoder(RESOURCE, SCOPE)
    content = encoder.encode([b"x" * length for length in lengths], NOW, extra)
    more = encoder.encode([b"later"], NOW + 1)
    assert scan(Signal.LOGS, content + more) == Scan(len(lengths) + 1, NOW if lengths else NOW + 1)
    assert scan(Signal.LOGS, content + more) == check(Signal.LOGS, content + more)


def _in_scope(*contents: bytes) -> bytes:
    return field(1, field(2, b"".join(contents)))


def test_a_line_that_only_looks_like_one_of_ours_is_walked() -> None:
    """A record with our head but other fields behind its body is read as what it is."""
    head = encode.line_head(1)
    record = head + b"x" + fixed64_field(1, 7)  # time instead of observed time
    assert scan(Signal.LOGS, _in_scope(record)) == Scan(1, 7)
    with pytest.raises(MalformedOtlp):
        scan(Signal.LOGS, _in_scope(head + b"x" + b"\x5a" + bytes(8)))  # our field with another wire type


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x0a", "inside a varint"),
        (b"\x0a\x05abc", "beyond the end"),
        (b"\x0a" + b"\x80" * 11 + b"\x01", "more than 5 bytes"),
        (b"\x78" + b"\xff" * 10 + b"\x01", "more than 10 bytes"),
        (b"\x78" + b"\xff" * 9 + b"\x02", "more than 64 bits"),
        (b"\x02\x00", "field number"),
        (b"\x0b", "wire type 3"),
        (b"\x0f", "wire type 7"),
        (b"\x08\x01", "wire type 0"),
        (b"\x09" + bytes(8), "wire type 1"),
        (b"\x79\x00", "fixed-size"),
        (field(1, field(3, b"\xff")), "UTF-8"),
        (field(1, field(1, field(1, field(1, b"\xed\xa0\x80")))), "UTF-8"),
        (_in_scope(varint_field(2, 1)), "wire type 0"),
        (_in_scope(field(2, varint_field(1, 1))), "a time has wire type 0"),
        (_in_scope(field(2, field(11, bytes(8)))), "a time has wire type 2"),
        (_in_scope(field(2, b"\x2a\x7fx")), "beyond the end"),
    ],
)
def test_broken_envelopes_are_named_with_their_offset(content: bytes, problem: str) -> None:
    """Truncated, over-long and mistyped fields are refused with what is wrong and where."""
    with pytest.raises(MalformedOtlp, match=problem) as raised:
        scan(Signal.LOGS, content)
    assert 0 <= raised.value.offset <= len(content)


@pytest.mark.parametrize("levels", [100, 100_000])
def test_nesting_without_end_is_refused(levels: int) -> None:
    """A resource attribute of lists in lists in lists is refused as too deep, never by exhausting the stack."""
    content, value = b"", b""
    parts: list[bytes] = []
    size = 0
    for _ in range(levels):  # inside out; each level is an AnyValue with an ArrayValue with a value
        for number in (1, 5):
            head = field(number, b"")[:1] + _varint(size)
            parts.append(head)
            size += len(head)
    value = b"".join(reversed(parts))
    content = field(1, field(1, field(1, field(2, value))))
    with pytest.raises(MalformedOtlp, match="nested"):
        scan(Signal.LOGS, content)
    with pytest.raises(DecodeError):
        _envelopes_only().FromString(content)
    with pytest.raises(MalformedOtlp):
        check(Signal.LOGS, content)


def _varint(n: int) -> bytes:
    return varint_field(1, n)[1:]


def test_a_metric_with_two_kinds_of_data_counts_the_last() -> None:
    """Where a sender set the data of a metric twice, the count follows what parsers keep."""
    gauge = field(5, field(1, fixed64_field(3, 5)) * 2)
    total = field(7, field(1, fixed64_field(3, 9)))
    content = _in_scope(field(2, gauge + total))
    assert scan(Signal.METRICS, content) == check(Signal.METRICS, content) == Scan(1, 9)


def test_unknown_fields_are_passed_over() -> None:
    """Fields of a later version of OTLP do not disturb the count."""
    unknown = field(900, b"new") + varint_field(901, 5)
    record = encode.log_record(time_ns=3, observed_ns=4, body="x") + unknown
    content = unknown + field(1, unknown + field(2, unknown + field(2, record)))
    assert scan(Signal.LOGS, content) == Scan(1, 3)
