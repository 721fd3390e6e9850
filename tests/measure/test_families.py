"""What Prometheus clients expose, converted: both text formats mean the same, resets are seen, nonsense is left out."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary, generate_latest
from prometheus_client.openmetrics import exposition

from shipper.measure.families import Converted, convert
from shipper.measure.scrape import Refused, parse
from shipper.measure.starts import Starts
from shipper.otlp import metrics
from tests.measure.measurekit import Point, points

TEXT, OPENMETRICS = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0; charset=utf-8"
BIRTH, NOW = 1_700_000_000 * 10**9, 1_700_001_000 * 10**9


def converted(text: str, kind: str = TEXT, starts: Starts | None = None, now: int = NOW) -> Converted:
    return convert(parse(text.encode(), kind, 1000), starts or Starts(BIRTH), now)


def found(text: str, kind: str = TEXT, starts: Starts | None = None, now: int = NOW) -> list[Point]:
    return points(metrics.export_metrics(b"", b"", converted(text, kind, starts, now).metrics))


def kinds(text: str, kind: str = TEXT) -> dict[str, str]:
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

    messages = [Metric.FromString(metric) for metric in converted(text, kind).metrics]
    return {message.name: str(message.WhichOneof("data")) for message in messages}


@pytest.fixture
def registry() -> CollectorRegistry:
    """Something of every kind."""
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", ["queue"], registry=registry).labels("mail").inc(3)
    Gauge("temperature", "T.", unit="celsius", registry=registry).set(-1.5)
    histogram = Histogram("wait_seconds", "W.", ["queue"], buckets=(1, 2, 5), registry=registry).labels("mail")
    for value in (0.5, 1.5, 1.5, 9):
        histogram.observe(value)
    Summary("size", "S.", registry=registry).observe(7)
    Info("build", "B.", registry=registry).info({"version": "1"})
    Enum("state", "E.", states=["up", "down"], registry=registry).state("down")
    return registry


@pytest.mark.parametrize(("expose", "kind"), [(generate_latest, TEXT), (exposition.generate_latest, OPENMETRICS)])
def test_every_kind_of_both_formats_becomes_what_it_is(
    registry: CollectorRegistry, expose: Callable[[CollectorRegistry], bytes], kind: str
) -> None:
    """Counters, gauges, histograms and summaries stay what they are; info and states become gauges."""
    text = expose(registry).decode()
    assert kinds(text, kind) == {
        "jobs_total": "sum",
        "temperature_celsius": "gauge",
        "wait_seconds": "histogram",
        "size": "summary",
        "build_info": "gauge",
        "state": "gauge",
    }
    by_name = {point.name: point for point in found(text, kind, now=4 * 10**18)}
    assert (by_name["jobs_total"].value, by_name["jobs_total"].labels) == (3, {"queue": "mail"})
    wait = by_name["wait_seconds"]
    assert wait.labels == {"queue": "mail"}
    assert list(wait.message.bucket_counts) == [1, 2, 0, 1]
    assert list(wait.message.explicit_bounds) == [1, 2, 5]
    assert wait.message.sum == 12.5
    assert (by_name["size"].value, by_name["size"].message.sum) == (1, 7)
    for name in ("jobs_total", "wait_seconds", "size"):  # when they were created, just now
        assert BIRTH < by_name[name].start_ns < by_name[name].time_ns
    assert by_name["temperature_celsius"].start_ns == 0


def test_metric_names_with_units_keep_them() -> None:
    """The unit that OpenMetrics states becomes that of OTLP, in its own spelling."""
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

    text = "# TYPE size_bytes gauge\n# UNIT size_bytes bytes\n# HELP size_bytes How large.\nsize_bytes 3\n# EOF\n"
    (metric,) = (Metric.FromString(each) for each in converted(text, OPENMETRICS).metrics)
    assert (metric.name, metric.unit, metric.description) == ("size_bytes", "By", "How large.")


def test_untyped_samples_and_their_own_times_are_kept() -> None:
    """A bare number is a gauge; a time that stands beside it is believed."""
    bare, timed = found("load 1.5\nload_then 2 1700000500000\n")
    assert (bare.value, bare.time_ns) == (1.5, NOW)
    assert (timed.value, timed.time_ns) == (2, 1_700_000_500 * 10**9)


def test_a_counter_counts_since_its_process_or_the_hosts_birth() -> None:
    """The start is the same in every run of the sidecar, so its restart does not look like a reset."""
    text = "# TYPE c_total counter\nc_total 5\n"
    started = "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1700000100\n"
    (plain,) = found(text)
    assert plain.start_ns == BIRTH
    for _ in range(2):
        told = next(point for point in found(text + started) if point.name == "c_total")
        assert told.start_ns == 1_700_000_100 * 10**9


def test_a_counter_that_falls_began_anew() -> None:
    """A service that was restarted between two looks counts since the look before, and stays at that start."""
    starts = Starts(BIRTH)
    text = '# TYPE c_total counter\nc_total {}\n# TYPE h histogram\nh_bucket{{le="+Inf"}} {}\nh_count {}\nh_sum 1\n'

    def look(value: int, now: int) -> set[int]:
        return {point.start_ns for point in found(text.format(value, value, value), starts=starts, now=now)}

    assert look(5, NOW) == {BIRTH}
    assert look(6, NOW + 15) == {BIRTH}
    assert look(2, NOW + 30) == {NOW + 15}
    assert look(3, NOW + 45) == {NOW + 15}


def test_a_series_that_is_gone_is_forgotten() -> None:
    """Memory follows what is exposed now, not what ever was."""
    starts = Starts(BIRTH)
    found('# TYPE c_total counter\nc_total{a="1"} 5\n', starts=starts)
    found('# TYPE c_total counter\nc_total{a="2"} 5\n', starts=starts)
    assert len(starts._before) == 1


@pytest.mark.parametrize(
    "text",
    [
        "# TYPE c_total counter\nc_total NaN\n",
        "# TYPE c_total counter\nc_total -1\n",
        '# TYPE h histogram\nh_bucket{le="1"} 5\nh_bucket{le="+Inf"} 3\nh_count 3\nh_sum 1\n',
        '# TYPE h histogram\nh_bucket{le="1"} 0.5\nh_bucket{le="+Inf"} 3\nh_count 3\nh_sum 1\n',
        '# TYPE h histogram\nh_bucket{le="1"} 5\n',
        '# TYPE h histogram\nh_bucket{le="x"} 5\nh_count 9\n',
        '# TYPE h histogram\nh_bucket{le="+Inf"} NaN\nh_count 3\n',
        '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 3\n',
        '# TYPE s summary\ns{quantile="x"} 1\ns_count 1\n',
        "# TYPE s summary\ns_count -1\ns_sum 1\n",
    ],
)
def test_a_point_that_contradicts_itself_is_left_out_and_counted(text: str) -> None:
    """One broken histogram costs itself, not the whole page."""
    result = converted(text + "# TYPE fine gauge\nfine 1\n")
    assert (result.points, result.malformed) == (1, 1)


def test_not_a_number_is_a_value_of_gauges_and_quantiles() -> None:
    """A summary without observations has quantiles that are NaN, and they are passed on."""
    gauge, summary = found('# TYPE g gauge\ng NaN\n# TYPE s summary\ns{quantile="0.5"} NaN\ns_count 0\ns_sum 0\n')
    assert math.isnan(gauge.value)
    assert math.isnan(summary.message.quantile_values[0].value)


def test_a_family_named_as_if_it_were_a_creation_time_is_kept() -> None:
    """Only a gauge beside the counter it belongs to is taken for when that was created."""
    assert set(kinds("# TYPE user_created gauge\nuser_created 3\n")) == {"user_created"}
    assert set(kinds("# TYPE user_total counter\nuser_total 1\n# TYPE user_created gauge\nuser_created 3\n")) == {
        "user_total"
    }


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>", TEXT),
        (b"\xff\xfe", TEXT),
        (b"a{b=", TEXT),
        (b"a 1\n", OPENMETRICS),
        (b"# TYPE a counter\na 1\n# EOF\n", OPENMETRICS),
        (b'{"a": 1}', TEXT),
    ],
)
def test_what_is_no_exposition_is_refused_with_a_reason(body: bytes, kind: str) -> None:
    """A page that is something else is told as such."""
    with pytest.raises(Refused, match=r"^its answer is no Prometheus text: ."):
        parse(body, kind, 10)


def test_a_page_with_too_many_samples_is_refused() -> None:
    """A service that explodes in labels does not fill our memory, nor the store of metrics."""
    page = b"".join(b'a{b="%d"} 1\n' % number for number in range(11))
    parse(page, TEXT, 11)
    with pytest.raises(Refused, match="more than 10 samples"):
        parse(page, TEXT, 10)


def test_a_line_that_is_endless_is_refused_before_it_is_parsed() -> None:
    """The time for a line grows with the square of its length; nobody's page may take minutes."""
    with pytest.raises(Refused, match="a line of more than 16384 characters"):
        parse(b'a{b="' + b'\\"' * 500_000 + b'"} 1\n', TEXT, 10)


WORDS = """# TYPE |# HELP |# UNIT |# EOF|a|a_total|a_bucket|a_created|{|}|le="1"|le="+Inf"|,|=|"|\\|
| |1|-1|1e309|NaN|+Inf|counter|histogram|summary|gauge|\x00|é"""
words = st.sampled_from(WORDS.split("|"))


@settings(max_examples=400, deadline=None)
@given(st.lists(words, max_size=40), st.sampled_from([TEXT, OPENMETRICS]))
def test_no_page_raises_anything_but_a_refusal(page: list[str], kind: str) -> None:
    """Whatever a service answers, it costs one look and no traceback; what is taken can be encoded and read back."""
    try:
        families = parse("".join(page).encode(), kind, 100)
    except Refused:
        return
    result = convert(families, Starts(BIRTH), NOW)
    assert len(points(metrics.export_metrics(b"", b"", result.metrics))) == result.points


def test_a_counter_that_is_new_begins_at_zero_when_it_was_not_yet_there() -> None:
    """The first error of a service is seen as growth; what a target had before anybody looked is not."""
    starts = Starts(BIRTH)
    seen = [(point.labels.get("code"), point.value, point.time_ns) for point in found(_codes(a=5), starts=starts)]
    assert seen == [("a", 5, NOW)]
    later = NOW + 15 * 10**9
    seen = [
        (point.labels.get("code"), point.value, point.time_ns)
        for point in found(_codes(a=6, b=2), starts=starts, now=later)
    ]
    assert seen == [("a", 6, later), ("b", 0, NOW), ("b", 2, later)]
    again = later + 15 * 10**9
    found(_codes(a=6), starts=starts, now=again)
    last = again + 15 * 10**9
    seen = [
        (point.labels.get("code"), point.value, point.time_ns)
        for point in found(_codes(a=6, b=2), starts=starts, now=last)
    ]
    assert seen == [("a", 6, last), ("b", 2, last)]  # it only was away


def _codes(**counts: int) -> str:
    lines = [f'errors_total{{code="{code}"}} {count}' for code, count in counts.items()]
    return "\n".join(["# TYPE errors_total counter", *lines, ""])


def test_a_histogram_and_a_summary_that_are_new_begin_at_zero() -> None:
    """All of their parts do, at the time of the look before."""
    starts = Starts(BIRTH)
    found("# TYPE up gauge\nup 1\n", starts=starts)
    later = NOW + 15 * 10**9
    text = (
        "# TYPE wait histogram\n"
        'wait_bucket{le="1"} 2\nwait_bucket{le="+Inf"} 3\nwait_sum 4\nwait_count 3\n'
        '# TYPE size summary\nsize{quantile="0.5"} 2\nsize_sum 9\nsize_count 4\n'
    )
    zero, wait, small, size = found(text, starts=starts, now=later)
    assert (zero.value, zero.time_ns, list(zero.message.bucket_counts)) == (0, NOW, [0, 0])
    assert list(zero.message.explicit_bounds) == list(wait.message.explicit_bounds)
    assert (wait.value, wait.time_ns, wait.start_ns) == (3, later, NOW)
    assert (small.value, small.time_ns, small.message.sum) == (0, NOW, 0)
    assert (size.value, size.start_ns) == (4, NOW)


def test_a_sample_with_a_time_of_its_own_has_no_zero_before_it() -> None:
    """It may be older than the last look, and a zero behind it would be a reset."""
    starts = Starts(BIRTH)
    found("# TYPE up gauge\nup 1\n", starts=starts)
    text = f'# TYPE errors_total counter\nerrors_total{{code="a"}} 3 {(NOW - 5 * 10**9) // 10**6}\n'
    assert [point.value for point in found(text, starts=starts, now=NOW + 10**9)] == [3]
