"""The ends of series: everything that was written and is gone is ended, with all that tells it from others, and nothing else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from shipper.contracts import Signal
from shipper.measure.live import Live, series_of
from shipper.measure.samples import SCOPE
from shipper.otlp import metrics
from shipper.otlp.encode import resource
from shipper.otlp.messages import parse
from shipper.otlp.scan import scan
from tests.measure.measurekit import points

NOW = 1_800_000_000 * 10**9
R1, R2 = resource({"service.name": "a"}), resource({"service.name": "b"})


def gauges(*names: str, of: bytes = R1, value: float = 1) -> bytes:
    return metrics.export_metrics(of, SCOPE, [metrics.gauge(name, [metrics.number(value, NOW)]) for name in names])


def everything() -> bytes:
    """A metric of each kind, two points each."""
    labels = ({"to": "x"}, {"to": "y"})
    found = [
        metrics.gauge("g", [metrics.number(1, NOW, 0, of) for of in labels], unit="By", description="G."),
        metrics.counter("c", [metrics.number(2.5, NOW, 5, of) for of in labels], unit="s"),
        metrics.histogram("h", [metrics.distribution([1, 2, 3], [0.1, 5], 7.0, NOW, 5, of) for of in labels], unit="s"),
        metrics.histogram("b", [metrics.distribution([4], [], None, NOW, 5)]),
        metrics.summary("s", [metrics.quantiles(3, 9.0, {0.5: 1.0, 0.9: 2.0}, NOW, 5, of) for of in labels]),
    ]
    return metrics.export_metrics(R1, SCOPE, found)


def test_every_kind_of_series_is_ended_with_its_shape() -> None:
    """Kind, unit, temporality, labels, buckets and quantiles of an end are those of the series, so that each part is found."""
    live = Live()
    assert live.wrote("own", everything(), NOW).points == 0
    ended = live.ends(NOW + 5)
    assert ended.points == 9
    assert scan(Signal.METRICS, ended.payload).records == 9
    (envelope,) = parse(Signal.METRICS, ended.payload).resource_metrics
    before = {
        metric.name: metric
        for metric in parse(Signal.METRICS, everything()).resource_metrics[0].scope_metrics[0].metrics
    }
    after = {metric.name: metric for metric in envelope.scope_metrics[0].metrics}
    assert before.keys() == after.keys()
    for name, metric in after.items():
        assert (metric.unit, metric.WhichOneof("data")) == (before[name].unit, before[name].WhichOneof("data"))
        ends, lived = _points(metric), _points(before[name])
        assert all(point.flags == 1 and point.time_unix_nano == NOW + 5 for point in ends)
        assert sorted(_labels(point) for point in ends) == sorted(_labels(point) for point in lived)
    assert after["c"].sum.is_monotonic
    assert after["c"].sum.aggregation_temporality == after["h"].histogram.aggregation_temporality == 2
    buckets = after["h"].histogram.data_points[0]
    assert list(buckets.explicit_bounds) == [0.1, 5]
    assert list(buckets.bucket_counts) == [0, 0, 0]
    assert [value.quantile for value in after["s"].summary.data_points[0].quantile_values] == [0.5, 0.9]


def _points(metric: Metric) -> list[object]:
    return list(getattr(metric, metric.WhichOneof("data") or "").data_points)


def _labels(point: object) -> list[tuple[str, str]]:
    return sorted((pair.key, pair.value.string_value) for pair in point.attributes)  # type: ignore[attr-defined]


def test_what_a_producer_has_no_more_is_ended_at_once() -> None:
    """Each producer speaks for its own series only, and one that comes back lives again."""
    live = Live()
    live.wrote("one", gauges("a", "b"), NOW)
    assert live.wrote("two", gauges("a", of=R2), NOW).points == 0
    gone = points(live.wrote("one", gauges("b", value=2), NOW + 1).payload)
    assert [(point.name, point.resource["service.name"], point.time_ns) for point in gone] == [("a", "a", NOW + 1)]
    assert live.wrote("one", gauges("a", "b"), NOW + 2).points == 0
    assert live.ends(NOW + 3).points == 3
    live.clear()
    assert live.ends(NOW + 4).points == 0


def test_the_beginning_of_a_series_ends_no_other() -> None:
    """What is new is added to what lives."""
    live = Live()
    live.wrote("one", gauges("a"), NOW)
    live.began("one", gauges("b"))
    assert live.ends(NOW).points == 2


@settings(deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcdef")), max_size=8))
def test_exactly_what_lives_is_ended(rounds: list[set[str]]) -> None:
    """After any course of writing, every series was ended as often as it went, and what is left at the end is the last round's."""
    live = Live()
    lives: set[str] = set()
    for now in rounds:
        gone = live.wrote("p", gauges(*sorted(now)), NOW)
        assert {point.name for point in points(gone.payload)} == lives - now
        lives = now
    assert {point.name for point in points(live.ends(NOW).payload)} == lives


def test_nothing_but_the_series_tells_series_apart() -> None:
    """Values, times and descriptions change; the series stays."""
    one = metrics.gauge("g", [metrics.number(1, NOW)], description="Before.")
    other = metrics.gauge("g", [metrics.number(2.5, NOW + 1, 3)], description="After.")
    assert set(series_of(metrics.export_metrics(R1, SCOPE, [one]))) == set(
        series_of(metrics.export_metrics(R1, SCOPE, [other]))
    )
