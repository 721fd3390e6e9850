"""Exponential histograms become native ones that count the same in the same bounds, and can be added up."""

from __future__ import annotations

import math
from typing import Any

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper_exporters._prometheus.convert import Converter
from shipper_exporters._prometheus.emit import COARSE
from shipper_exporters._prometheus.native import MAX_BUCKETS, Native
from shipper_exporters._prometheus.points import Exponential
from shipper_exporters._prometheus.remote_write_two import message
from shipper_exporters._prometheus.samples import NO_POINT, Family, Labels, is_end, time_tail
from tests.exporters.metrickit import exponential, payload
from tests.exporters.remote_write_two import read

NOW = 1_700_000_000_000
LABELS = Labels.of({"__name__": "h"}.items(), Family("h", 3))


def written(native: Native) -> Any:
    """What a receiver reads."""
    sample = (NOW, LABELS, native.encoded(time_tail(NOW)), NO_POINT, None)
    (one,) = read(bytes(cramjam.snappy.compress_raw(message([sample]))))
    return one.histograms[0]


def buckets(spans: Any, deltas: Any) -> dict[int, int]:
    """The counts by bucket that spans and deltas stand for, as Prometheus reads them."""
    found: dict[int, int] = {}
    at = count = 0
    rest = iter(deltas)
    for span in spans:
        at += span.offset
        for _ in range(span.length):
            count += next(rest)
            if count:
                found[at] = count
            at += 1
    assert next(rest, None) is None, "as many deltas as the spans are long"
    return found


COUNTS = st.lists(st.integers(0, 3) | st.integers(0, 1 << 40), max_size=12).map(tuple)
SIDES = st.tuples(st.integers(-2000, 2000), COUNTS)
POINTS = st.builds(
    lambda scale, zero, positive, negative: Exponential(
        time_ns=1,
        count=zero + sum(positive[1]) + sum(negative[1]),
        total=1.0,
        scale=scale,
        zero_count=zero,
        positive=positive,
        negative=negative,
    ),
    st.integers(-4, 12),
    st.integers(0, 9),
    SIDES,
    SIDES,
)


@given(POINTS)
@settings(max_examples=150, deadline=None)
def test_each_count_is_in_its_bounds(point: Exponential) -> None:
    """Every count is in the one bucket of Prometheus that the bounds of its own bucket lie in; none is lost on the wire."""
    native = Native.of(point)
    assert native is not None
    got = written(native)
    assert -4 <= got.schema <= 8
    coarser = point.scale - got.schema
    for side, spans, deltas in (
        (point.positive, got.positive_spans, got.positive_deltas),
        (point.negative, got.negative_spans, got.negative_deltas),
    ):
        expected: dict[int, int] = {}
        for index, count in enumerate(side[1], side[0]):
            # OpenTelemetry: (base^index, base^(index+1)]; Prometheus: (base^(n-1), base^n], of a base that is coarser
            n = math.ceil((index + 1) / 2**coarser)
            assert (n - 1) * 2**coarser <= index < n * 2**coarser
            if count:
                expected[n] = expected.get(n, 0) + count
        assert buckets(spans, deltas) == expected
    assert (got.count_int, got.zero_count_int, got.sum) == (point.count, point.zero_count, 1.0)


@given(POINTS, POINTS)
@settings(max_examples=100, deadline=None)
def test_a_sum_counts_both(one: Exponential, other: Exponential) -> None:
    """Two histograms together have all counts of both, at the coarser scale or one with few enough buckets."""
    first, second = Native.of(one), Native.of(other)
    assert first is not None
    assert second is not None
    both = first.plus(second)
    assert both.schema <= min(first.schema, second.schema)
    assert both.count == first.count + second.count
    for name in ("positive", "negative"):
        side, parts = getattr(both, name), (getattr(first, name), getattr(second, name))
        assert sum(side.values()) == sum(sum(part.values()) for part in parts)
        assert len(side) <= MAX_BUCKETS or both.schema == -4
    assert both == second.plus(first)


def test_a_broader_zero_bucket() -> None:
    """Added to one with a broader zero bucket, what lies in that is counted there, and the zero bucket ends at a bound."""
    fine = Native(0, 6, 1.0, positive={-3: 1, 0: 2, 5: 3}, negative={-9: 0})
    broad = Native(0, 1, 1.0, zero_count=1, zero_threshold=0.75)
    both = fine.plus(broad)
    assert (both.zero_threshold, both.zero_count, dict(both.positive)) == (1.0, 4, {5: 3})
    assert both.count == 7


def test_many_buckets_become_fewer() -> None:
    """A sum of more buckets than anybody takes is made coarser."""
    one = Native(8, 200, 1.0, positive=dict.fromkeys(range(200), 1))
    other = Native(8, 200, 1.0, positive=dict.fromkeys(range(1000, 1200), 1))
    both = one.plus(other)
    assert len(both.positive) <= MAX_BUCKETS
    assert sum(both.positive.values()) == 400


@pytest.mark.parametrize("scale", [-5, -11])
def test_too_coarse(scale: int) -> None:
    """What is too coarse for Prometheus has no form and is counted."""
    found = Converter({}).convert([payload(exponential("e", NOW, [1], scale=scale))])
    assert (found.samples, found.rejected) == ([], {COARSE: 1})


def test_the_end_of_a_native_histogram() -> None:
    """A point that says there is no value ends the series, and nothing else does."""
    converted = Converter({}).convert(
        [payload(exponential("e", NOW, [], flags=1)), payload(exponential("e", NOW, [1, 2], total=4.0))]
    )
    assert [is_end(value) for _, _, value, *_ in converted.samples] == [True, False]


def test_a_sum_that_is_not_known() -> None:
    """Without a sum (there were negative values) it is no number, rather than a wrong one."""
    (sample,) = Converter({}).convert([payload(exponential("e", NOW, [1]))]).samples
    (one,) = read(bytes(cramjam.snappy.compress_raw(message([sample]))))
    assert math.isnan(one.histograms[0].sum)
    assert not is_end(sample[2])
