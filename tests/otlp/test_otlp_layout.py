"""A layout takes the same parts out of a request as a walk does, however often."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.layout import Layout
from shipper.otlp.splice import take, units
from shipper.otlp.wire import field, varint_field

UNITS = st.one_of(st.binary(max_size=40), st.binary(min_size=120, max_size=140), st.just(b"x" * 20_000))
OTHER = st.sampled_from([b"", field(1, b"scope"), field(3, b"url"), varint_field(9, 7), field(300, b"later")])
SCOPES = st.lists(st.tuples(OTHER, st.lists(UNITS, max_size=5), OTHER, st.lists(UNITS, max_size=3)), max_size=3)
RESOURCES = st.lists(st.tuples(OTHER, SCOPES, OTHER), max_size=3)


def request(resources: list[tuple[bytes, list[tuple[bytes, list[bytes], bytes, list[bytes]]], bytes]]) -> bytes:
    def scope(before: bytes, first: list[bytes], between: bytes, second: list[bytes]) -> bytes:
        return before + b"".join(field(2, u) for u in first) + between + b"".join(field(2, u) for u in second)

    def resource(before: bytes, scopes: list[tuple[bytes, list[bytes], bytes, list[bytes]]], after: bytes) -> bytes:
        return before + b"".join(field(2, scope(*each)) for each in scopes) + after

    return b"".join(field(1, resource(*each)) for each in resources)


@settings(max_examples=80, deadline=None)
@given(RESOURCES, st.data())
def test_parts_are_those_of_a_walk(
    resources: list[tuple[bytes, list[tuple[bytes, list[bytes], bytes, list[bytes]]], bytes]], data: st.DataObject
) -> None:
    """Byte for byte, unknown fields and envelopes without units included."""
    body = request(resources)
    layout = Layout(body)
    assert layout.units == units(Signal.LOGS, body)
    first = data.draw(st.integers(0, layout.units))
    last = data.draw(st.integers(first, layout.units))
    assert layout.take(first, last) == take(Signal.LOGS, body, first, last)


@settings(max_examples=150, deadline=None)
@given(RESOURCES, st.data())
def test_what_a_walk_refuses_is_refused(
    resources: list[tuple[bytes, list[tuple[bytes, list[bytes], bytes, list[bytes]]], bytes]], data: st.DataObject
) -> None:
    """A damaged request is malformed for both, or for neither."""
    body = bytearray(request(resources) or b"\x0a\x00")
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(body[: data.draw(st.integers(0, len(body)))])
    try:
        count = units(Signal.LOGS, damaged)
    except MalformedOtlp:
        with pytest.raises(MalformedOtlp):
            Layout(damaged)
    else:
        assert Layout(damaged).units == count


def test_units_that_are_not_there_are_an_error() -> None:
    """As for a walk: nobody asks for them but by mistake."""
    layout = Layout(request([(b"", [(b"", [b"a", b"b"], b"", [])], b"")]))
    for first, last in ((-1, 1), (2, 1), (0, 3)):
        with pytest.raises(ValueError, match="no units"):
            layout.take(first, last)
