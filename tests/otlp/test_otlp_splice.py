"""The splicer against the protobuf library: moving bytes gives what moving messages gives."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp import encode
from shipper.otlp.decode import parse
from shipper.otlp.splice import add_resource_attributes, join, take, units
from shipper.otlp.wire import field
from tests.otlp.otlp_strategies import LEVELS, damaged, requests, signals


def _count(signal: Signal, message: Any) -> int:
    outer, inner, unit = LEVELS[signal]
    return sum(len(getattr(scope, unit)) for one in getattr(message, outer) for scope in getattr(one, inner))


def _taken(signal: Signal, message: Any, first: int, last: int) -> Any:
    """The same as take(), done with messages."""
    outer, inner, unit = LEVELS[signal]
    result = type(message)()
    result.CopyFrom(message)
    seen = 0
    for envelope in getattr(result, outer):
        for scope in getattr(envelope, inner):
            count = len(getattr(scope, unit))
            kept = [one for index, one in enumerate(getattr(scope, unit), seen) if first <= index < last]
            copies = [type(one).FromString(one.SerializeToString()) for one in kept]
            del getattr(scope, unit)[:]
            getattr(scope, unit).extend(copies)
            seen += count
        _keep(getattr(envelope, inner), lambda scope: bool(getattr(scope, unit)))
    _keep(getattr(result, outer), lambda envelope: bool(getattr(envelope, inner)))
    return result if getattr(result, outer) else type(message)()


def _keep(messages: Any, wanted: Any) -> None:
    for index in reversed(range(len(messages))):
        if not wanted(messages[index]):
            del messages[index]


@settings(max_examples=80)
@given(st.data(), signals)
def test_take_is_what_removing_records_from_the_message_gives(data: st.DataObject, signal: Signal) -> None:
    """Any range of units comes with its envelopes, URLs and unknown fields, and without empty envelopes."""
    message = data.draw(requests(signal))
    content = message.SerializeToString()
    total = _count(signal, message)
    assert units(signal, content) == total
    first = data.draw(st.integers(0, total))
    last = data.draw(st.integers(first, total))
    assert parse(signal, take(signal, content, first, last)) == _taken(signal, message, first, last)


@settings(max_examples=50)
@given(st.data(), signals)
def test_parts_joined_hold_every_unit_once_and_in_order(data: st.DataObject, signal: Signal) -> None:
    """Splitting at any unit and joining the halves keeps all units in their order."""
    content = data.draw(requests(signal)).SerializeToString()
    total = units(signal, content)
    middle = data.draw(st.integers(0, total))
    parts = [take(signal, content, 0, middle), take(signal, content, middle, total)]
    assert _units(signal, join(parts)) == _units(signal, content)
    assert units(signal, join(parts)) == total


def _units(signal: Signal, content: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Each unit with its resource and scope."""
    outer, inner, unit = LEVELS[signal]
    return [
        (one.SerializeToString(), envelope.resource.SerializeToString(), scope.scope.SerializeToString())
        for envelope in getattr(parse(signal, content), outer)
        for scope in getattr(envelope, inner)
        for one in getattr(scope, unit)
    ]


@settings(max_examples=50)
@given(st.data(), signals)
def test_join_is_the_librarys_merge(data: st.DataObject, signal: Signal) -> None:
    """Concatenated requests parse to one request with the envelopes of all of them."""
    messages = data.draw(st.lists(requests(signal), min_size=1, max_size=3))
    merged = type(messages[0])()
    for message in messages:
        merged.MergeFrom(message)
    assert parse(signal, join([message.SerializeToString() for message in messages])) == merged


@settings(max_examples=80)
@given(st.data(), signals)
def test_labels_are_added_where_they_are_missing(data: st.DataObject, signal: Signal) -> None:
    """Each resource gets the attributes whose keys it has not, behind its own; nothing else changes."""
    message = data.draw(requests(signal))
    content = message.SerializeToString()
    added = data.draw(st.dictionaries(st.sampled_from(["release", "host", "ключ"]), st.text("ab"), max_size=3))
    for envelope in getattr(message, LEVELS[signal][0]) if added else ():
        present = {pair.key for pair in envelope.resource.attributes}
        envelope.resource.SetInParent()
        for key, value in added.items():
            if key not in present:
                envelope.resource.attributes.add(key=key, value=AnyValue(string_value=value))
    assert parse(signal, add_resource_attributes(signal, content, added)) == message


def test_keys_of_every_part_of_a_split_resource_are_seen() -> None:
    """A resource sent in two fields, which parsers merge, does not get a key twice."""
    first, second = encode.resource({"a": "1"}), encode.resource({"b": "2"})
    content = field(1, field(1, first) + field(1, second))
    (envelope,) = parse(
        Signal.LOGS, add_resource_attributes(Signal.LOGS, content, {"a": "x", "b": "y", "c": "3"})
    ).resource_logs
    assert sorted(pair.key for pair in envelope.resource.attributes) == ["a", "b", "c"]


@pytest.mark.parametrize(("first", "last"), [(-1, 1), (2, 1), (0, 4), (4, 4)])
def test_units_that_are_not_there_cannot_be_taken(first: int, last: int) -> None:
    """A range outside the request raises ValueError instead of losing records silently."""
    content = encode.LineEncoder(b"", b"").encode([b"a", b"b", b"c"], 1)
    with pytest.raises(ValueError, match="no units"):
        take(Signal.LOGS, content, first, last)


@settings(max_examples=80)
@given(st.data(), signals)
def test_damaged_requests_are_refused_or_spliced(data: st.DataObject, signal: Signal) -> None:
    """On arbitrary bytes every operation works or raises MalformedOtlp."""
    content = data.draw(damaged(signal) | st.binary(max_size=60))
    with suppress(MalformedOtlp):
        take(signal, content, 0, units(signal, content))
    with suppress(MalformedOtlp):
        add_resource_attributes(signal, content, {"release": "1"})
