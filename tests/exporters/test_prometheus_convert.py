"""OTLP metrics become the series and samples that the rules of OpenTelemetry and the identity of the host ask for."""

from __future__ import annotations

import json
import math
import struct
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp import metrics as ours
from shipper.otlp.encode import resource, scope
from shipper.otlp.scan import scan
from shipper_exporters._prometheus.convert import (
    FALLING_DELTA,
    MALFORMED,
    NO_NAME,
    UNSPECIFIED,
    Converted,
    Converter,
)
from shipper_exporters._prometheus.emit import COARSE, NO_VALUE
from shipper_exporters._prometheus.remote_write import Part, cut
from shipper_exporters._prometheus.samples import STALE
from tests.exporters.metrickit import HOST, IDENTITY, counter, gauge, payload
from tests.exporters.remote_write import bits, series_of

NOW = 1_700_000_000_000
STALE_BITS = 0x7FF0000000000002


def converted(*payloads: bytes, external: dict[str, str] | None = None) -> Converted:
    return Converter(external or {}).convert(payloads)


def series(found: Converted) -> dict[str, list[tuple[dict[str, str], list[tuple[int, int]]]]]:
    """By name, the other labels and the samples, as they are on the wire."""
    by_name = defaultdict(list)
    for one in series_of(Part.of(found.samples).data):
        labels = dict(one.labels)
        assert [name for name, _ in one.labels] == sorted(labels), "labels are sorted, and none is there twice"
        assert all(labels.values()), "an empty label is none"
        by_name[labels.pop("__name__")].append((labels, list(one.samples)))
    return dict(by_name)


def test_gauges_and_counters() -> None:
    """A gauge and a counter have their value, their time in milliseconds, the identity and their own attributes."""
    found = converted(payload(gauge("queue.depth", 2.5, NOW, kind="a"), counter("hits", 7, NOW)))
    assert series(found) == {
        "queue_depth": [({**IDENTITY, "kind": "a"}, [(NOW, bits(2.5))])],
        "hits_total": [(IDENTITY, [(NOW, bits(7.0))])],
    }
    assert (found.points, found.rejected) == (2, {})


def test_sum_that_may_fall() -> None:
    """A cumulative sum that may also fall is a gauge, without `_total`."""
    metric = Metric(name="connections")
    metric.sum.aggregation_temporality = 2  # type: ignore[assignment]
    metric.sum.data_points.add(time_unix_nano=NOW * 1_000_000, as_int=-3)
    assert series(converted(payload(metric))) == {"connections": [(IDENTITY, [(NOW, bits(-3.0))])]}


def test_histograms() -> None:
    """A histogram has cumulative buckets, the last without a bound, a sum and a count."""
    metric = Metric(name="took", unit="s")
    metric.histogram.aggregation_temporality = 2  # type: ignore[assignment]
    metric.histogram.data_points.add(
        time_unix_nano=NOW * 1_000_000, count=6, sum=4.5, bucket_counts=[1, 2, 3], explicit_bounds=[0.1, 1.0]
    )
    metric.histogram.data_points[0].attributes.add(key="le").value.string_value = "mine"
    own = {**IDENTITY, "exported_le": "mine"}
    assert series(converted(payload(metric))) == {
        "took_seconds_bucket": [
            ({**own, "le": "0.1"}, [(NOW, bits(1.0))]),
            ({**own, "le": "1"}, [(NOW, bits(3.0))]),
            ({**own, "le": "+Inf"}, [(NOW, bits(6.0))]),
        ],
        "took_seconds_sum": [(own, [(NOW, bits(4.5))])],
        "took_seconds_count": [(own, [(NOW, bits(6.0))])],
    }


def test_histogram_without_buckets_and_sum() -> None:
    """A histogram of no buckets has the one of everything, and without a sum none is made up."""
    metric = Metric(name="took")
    metric.histogram.aggregation_temporality = 2  # type: ignore[assignment]
    metric.histogram.data_points.add(time_unix_nano=NOW * 1_000_000, count=6)
    assert series(converted(payload(metric))) == {
        "took_bucket": [({**IDENTITY, "le": "+Inf"}, [(NOW, bits(6.0))])],
        "took_count": [(IDENTITY, [(NOW, bits(6.0))])],
    }


def test_summaries() -> None:
    """A summary has a series for each quantile, a sum and a count."""
    metric = Metric(name="took", unit="ms")
    point = metric.summary.data_points.add(time_unix_nano=NOW * 1_000_000, count=3, sum=9.0)
    point.quantile_values.add(quantile=0.5, value=2.0)
    point.quantile_values.add(quantile=1.0, value=5.0)
    assert series(converted(payload(metric))) == {
        "took_milliseconds": [
            ({**IDENTITY, "quantile": "0.5"}, [(NOW, bits(2.0))]),
            ({**IDENTITY, "quantile": "1"}, [(NOW, bits(5.0))]),
        ],
        "took_milliseconds_sum": [(IDENTITY, [(NOW, bits(9.0))])],
        "took_milliseconds_count": [(IDENTITY, [(NOW, bits(3.0))])],
    }


def test_the_end_of_series() -> None:
    """A point that says there is no value ends its series, all of them where it has several; no other value looks so."""
    took = Metric(name="took")
    took.histogram.aggregation_temporality = 2  # type: ignore[assignment]
    took.histogram.data_points.add(time_unix_nano=NOW * 1_000_000, explicit_bounds=[0.5], flags=1)
    (stale,) = struct.unpack("<d", STALE)
    found = series(
        converted(payload(gauge("a", None, NOW, flags=1), took, gauge("b", stale, NOW), gauge("c", math.nan, NOW)))
    )
    assert [samples for _, samples in found["a"]] == [[(NOW, STALE_BITS)]]
    assert {labels["le"]: samples for labels, samples in found["took_bucket"]} == {
        "0.5": [(NOW, STALE_BITS)],
        "+Inf": [(NOW, STALE_BITS)],
    }
    assert found["took_sum"][0][1] == found["took_count"][0][1] == [(NOW, STALE_BITS)]
    for name in "bc":
        value = found[name][0][1][0][1]
        assert value != STALE_BITS
        assert math.isnan(struct.unpack("<d", struct.pack("<Q", value))[0])


def test_what_has_no_form_is_counted() -> None:
    """Deltas of sums that may fall, too coarse exponential histograms, points without a value or a time and nameless metrics
    are counted by reason.
    """
    coarse = Metric(name="e")
    coarse.exponential_histogram.aggregation_temporality = 2  # type: ignore[assignment]
    coarse.exponential_histogram.data_points.add(time_unix_nano=NOW * 1_000_000, scale=-5)
    falling = counter("f", 1, NOW, temporality=1)
    falling.sum.is_monotonic = False
    found = converted(
        payload(
            falling, counter("d", 1, NOW, temporality=0), coarse,
            gauge("n", None, NOW), gauge("t", 1.0, 0), gauge("...", 1.0, NOW), gauge("ok", 1.0, NOW),
        )
    )  # fmt: skip
    assert found.rejected == {FALLING_DELTA: 1, UNSPECIFIED: 1, COARSE: 1, NO_VALUE: 2, NO_NAME: 1}
    assert found.points == 7
    assert len(found.samples) == 1


def test_malformed_point() -> None:
    """A point whose attributes are no text is counted and left out; what is broken around points is said."""
    good = payload(gauge("g", 1.0, NOW, key="text"))
    found = converted(good.replace(b"text", b"te\xff\xfe"))
    assert (found.points, found.rejected, found.samples) == (1, {MALFORMED: 1}, [])
    with pytest.raises(MalformedOtlp):
        converted(good[:-3])


@pytest.mark.parametrize(
    ("given_", "instance"),
    [
        ({"service.instance.id": "i", "host.id": "h", "host.name": "n"}, "i"),
        ({"host.id": "h", "host.name": "n"}, "h"),
        ({"host.name": "n", "service.instance.id": ""}, "n"),
        ({}, None),
    ],
)
def test_instance(given_: dict[str, str], instance: str | None) -> None:
    """The instance is the service's own id, else the host's id, else its name; without any there is no such label."""
    (labels, _) = series(converted(payload(gauge("g", 1.0, NOW), resource=given_)))["g"][0]
    assert labels.get("instance") == instance


def test_only_the_identity_of_a_resource_is_labels() -> None:
    """Of a resource only the identity becomes labels; the old name of the environment counts where the new one is missing."""
    given_ = {"service.name": "api", "deployment.environment": "prod", "process.pid": 4, "host.arch": "arm64"}
    (labels, _) = series(converted(payload(gauge("g", 1.0, NOW), resource=given_)))["g"][0]
    assert labels == {"service": "api", "env": "prod"}


def test_awkward_labels() -> None:
    """Values are kept as they are, also long ones with quotes; an attribute never takes the place of the identity."""
    generation = "g\"'/\\\n" + "x" * 300
    metric = gauge(
        "g", 1.0, NOW, instance="db-1", __name__="evil", b=True, i=-4, f=1.0, raw=b"\x00\xff", many=["a", "b"], none="",
        **{"a.b": "1", "a-b": "2", "http.route": "/x"},
    )  # fmt: skip
    (labels, _) = series(converted(payload(metric, resource={**HOST, "shipper.generation": generation})))["g"][0]
    assert labels == {
        **IDENTITY,
        "generation": generation,
        "exported_instance": "db-1",
        "exported___name__": "evil",
        "b": "true",
        "i": "-4",
        "f": "1",
        "raw": "AP8=",
        "many": json.dumps(["a", "b"], separators=(",", ":")),
        "a_b": "2;1",
        "http_route": "/x",
    }


def test_external_labels() -> None:
    """External labels are on every series that has none of that name."""
    found = converted(
        payload(gauge("g", 1.0, NOW, zone="a"), gauge("h", 1.0, NOW)),
        external={"zone": "x", "env": "y", "region": "eu"},
    )
    assert series(found)["g"][0][0] == {**IDENTITY, "zone": "a", "region": "eu"}
    assert series(found)["h"][0][0] == {**IDENTITY, "zone": "x", "region": "eu"}


def test_what_shipper_makes_itself() -> None:
    """Requests made without the protobuf library convert the same."""
    found = converted(
        ours.export_metrics(
            resource(HOST),
            scope("shipper.measure", "1"),
            [
                ours.counter(
                    "shipper.requests", [ours.number(5, NOW * 1_000_000, 1, {"outcome": "ok"})], unit="{request}"
                ),
                ours.histogram(
                    "shipper.request.duration", [ours.distribution([1, 0], [0.4], 0.1, NOW * 1_000_000)], unit="s"
                ),
            ],
        )
    )
    assert set(series(found)) == {
        "shipper_requests_total",
        "shipper_request_duration_seconds_bucket",
        "shipper_request_duration_seconds_sum",
        "shipper_request_duration_seconds_count",
    }


def test_labels_that_are_not_remembered() -> None:
    """However few series are remembered, the same comes out."""
    one = payload(*(gauge("g", float(n), NOW, n=n) for n in range(20)))
    forgetful = Converter({}, remembered=3)
    assert [forgetful.convert([one]) for _ in range(3)] == [converted(one)] * 3


def test_series_are_cut_by_time() -> None:
    """Samples are in order of time whatever order they came in, and no request has more than asked for."""
    payloads = [payload(gauge("g", float(at), NOW + at), gauge("h", 1.0, NOW + at)) for at in (3, 1, 2, 0)]
    parts, twice = cut(converted(*payloads).samples, 3)
    assert [[time - NOW for time, *_ in part.samples] for part in parts] == [[0, 0, 1], [1, 2, 2], [3, 3]]
    assert not twice


def test_the_same_sample_twice() -> None:
    """A sample that comes twice is sent once; another value of a series at the same time is left out and known."""
    same = payload(gauge("g", 1.0, NOW))
    parts, twice = cut(converted(same, same, payload(gauge("g", 2.0, NOW))).samples, 10)
    assert [len(part.samples) for part in parts] == [1]
    assert [sample[3] for sample in twice] == [2]


@given(
    st.lists(
        st.builds(
            gauge,
            st.text(max_size=8),
            st.floats() | st.none(),
            st.integers(0, 1 << 40),
            st.text(max_size=4),
            st.integers(0, 3),
        ),
        max_size=6,
    ),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers(-9, 9) | st.booleans(), max_size=4),
)
def test_every_point_is_accounted_for(metrics: list[Metric], given_: dict[str, str]) -> None:
    """Whatever comes, as many points are converted or rejected as the account says were sent."""
    data = payload(*metrics, resource=given_)
    found = converted(data)
    assert found.points == scan(Signal.METRICS, data).records == len(metrics)
    assert len({sample[3] for sample in found.samples}) + sum(found.rejected.values()) == found.points
    series(found)
