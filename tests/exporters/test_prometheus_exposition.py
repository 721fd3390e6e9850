"""What is shown: the newest value of each series, in both text formats as their own parsers want them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from shipper_exporters._prometheus.convert import Converter
from shipper_exporters._prometheus.exposition import ANOTHER_TYPE, NATIVE, Exposition, Taken
from shipper_exporters._prometheus.exposition_text import asks_for_openmetrics, write
from tests.exporters.metrickit import IDENTITY, counter, exponential, gauge, payload

NOW = 1_700_000_000_000


class Page:
    """An exposition and what turns metrics into its samples."""

    def __init__(self, most: int = 1000) -> None:
        self.exposition = Exposition(most, 300.0)
        self._converter = Converter({})

    def take(self, *metrics: Metric, now: float = 0.0) -> Taken:
        return self.exposition.take(self._converter.convert([payload(*metrics)]).samples, now)

    def text(self, now: float = 0.0, *, openmetrics: bool = False) -> str:
        return write(self.exposition.shelves(now), openmetrics=openmetrics).decode()

    def seen(self) -> None:
        self.exposition.seen(self.exposition.snapshot())

    def values(self, now: float = 0.0) -> dict[str, float]:
        """By name, of series that have no other labels."""
        return {one.name: one.value for family in parse_text(self.text(now)) for one in family.samples}


def took(at: int = NOW, bounds: Iterable[float] = (0.1, 1.0)) -> Metric:
    metric = Metric(name="took", unit="s", description='It said "how"\nlong \\ wide')
    metric.histogram.aggregation_temporality = 2  # type: ignore[assignment]
    limits = list(bounds)
    point = metric.histogram.data_points.add(
        time_unix_nano=at * 1_000_000, count=len(limits) + 1, sum=4.5, bucket_counts=[1] * (len(limits) + 1)
    )
    point.explicit_bounds.extend(limits)
    point.exemplars.add(time_unix_nano=at * 1_000_000, as_double=0.5, trace_id=b"\xab" * 16)
    return metric


def summary() -> Metric:
    metric = Metric(name="waited", description="Waits.")
    point = metric.summary.data_points.add(time_unix_nano=NOW * 1_000_000, count=3, sum=9.0)
    point.quantile_values.add(quantile=0.5, value=2.0)
    return metric


def test_the_newest_value_is_shown() -> None:
    """Of each series the newest value is there, whatever order values come in, without a time."""
    page = Page()
    page.take(gauge("g", 1.0, NOW), counter("hits", 5, NOW))
    page.take(gauge("g", 2.0, NOW + 2))
    page.take(gauge("g", 3.0, NOW + 1))
    assert page.values() == {"g": 2.0, "hits_total": 5.0}
    identity = ",".join(f'{name}="{value}"' for name, value in sorted(IDENTITY.items()))
    assert page.text().splitlines()[1] == f"g{{{identity}}} 2.0"


def test_both_formats_are_what_their_parsers_want() -> None:
    """Names, types, units, help, labels of any text and exemplars are read back as they were."""
    page = Page()
    label = 'a"b\\c\nd é'
    page.take(took(), summary(), gauge("share", float("nan"), NOW, unit="1", path=label), counter("hits", 5, NOW))
    families = {family.name: family for family in parse_openmetrics(page.text(openmetrics=True))}  # type: ignore[no-untyped-call]
    kinds = {name: (family.type, family.unit) for name, family in families.items()}
    assert kinds == {
        "took_seconds": ("histogram", "seconds"),
        "waited": ("summary", ""),
        "share_ratio": ("gauge", "ratio"),
        "hits": ("counter", ""),
    }
    assert families["took_seconds"].documentation == 'It said "how"\nlong \\ wide'
    (ratio,) = families["share_ratio"].samples
    assert ratio.labels["path"] == label
    held = {one.labels["le"]: one.exemplar for one in families["took_seconds"].samples if "le" in one.labels}
    assert [le for le, exemplar in held.items() if exemplar is not None] == ["1.0" if "1.0" in held else "1"]
    plain = {family.name: family.type for family in parse_text(page.text())}
    assert plain == {"took_seconds": "histogram", "waited": "summary", "share_ratio": "gauge", "hits": "counter"}
    assert "# UNIT" not in page.text()


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="there is no promtool here; on Debian: apt-get install prometheus"
)
def test_promtool_finds_nothing() -> None:
    """Prometheus' own checker has nothing to say about it."""
    page = Page()
    hits, g = counter("hits", 5, NOW), gauge("g", 1.0, NOW, path="/x")
    hits.description, g.description = "Hits.", "G."
    page.take(took(), summary(), hits, g)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=page.text(), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_buckets_that_change_stay_in_order() -> None:
    """A bucket that comes later stands where its bound belongs, before the sum and the count."""
    page = Page()
    page.take(took())
    page.take(took(NOW + 1, bounds=(0.05, 0.1, 0.5, 1.0)))
    (family,) = parse_openmetrics(page.text(openmetrics=True))  # type: ignore[no-untyped-call]
    assert [one.labels.get("le", one.name) for one in family.samples][-2:] == ["took_seconds_sum", "took_seconds_count"]
    bounds = [float(one.labels["le"]) for one in family.samples if "le" in one.labels]
    assert bounds == sorted(bounds)


def test_the_last_value_is_shown_once_more() -> None:
    """A series that ended is there until its last value was seen, and then no more."""
    page = Page()
    page.take(gauge("g", 1.0, NOW), gauge("h", 1.0, NOW))
    page.seen()
    page.take(gauge("g", 2.0, NOW + 1))
    page.take(gauge("g", None, NOW + 2, flags=1), gauge("h", None, NOW + 2, flags=1))
    assert page.values()["g"] == 2.0
    page.seen()
    assert page.values() == {}
    page.take(gauge("g", 3.0, NOW + 3))
    assert page.values() == {"g": 3.0}


def test_what_is_silent_goes() -> None:
    """A series without a new value for long is gone, but not before its last value was seen."""
    page = Page()
    page.take(gauge("g", 1.0, NOW), now=0.0)
    assert page.values(now=1000.0) == {"g": 1.0}
    page.seen()
    assert page.values(now=1000.0) == {}


def test_what_does_not_fit_is_counted() -> None:
    """Native histograms, a name with two types, and series beyond the bound are refused by their reason, once a point."""
    page = Page(most=8)
    assert page.take(exponential("e", NOW, [1])).rejected == {NATIVE: 1}
    page.take(counter("hits", 1, NOW), took())
    clashes = (gauge("hits", 1.0, NOW), gauge("hits_total", 1.0, NOW + 1), gauge("took_seconds_count", 1.0, NOW + 1))
    assert page.take(*clashes).rejected == {ANOTHER_TYPE: 3}
    flood = page.take(*(gauge("g", 1.0, NOW, user=n) for n in range(10)))
    assert flood.rejected.total() == 8  # the histogram has five series, the counter one
    assert "max_series (8)" in next(iter(flood.rejected))


def test_taking_back() -> None:
    """What is taken back was never there: values, ends and new series alike."""
    page = Page()
    page.take(gauge("g", 1.0, NOW), counter("hits", 1, NOW))
    before = page.text()
    taken = page.take(gauge("g", 2.0, NOW + 1), counter("new", 1, NOW), gauge("g", None, NOW + 2, flags=1))
    assert page.text() != before
    page.exposition.take_back(taken)
    assert page.text() == before
    page.take(gauge("new_total", 1.0, NOW))
    assert "# TYPE new_total gauge" in page.text()


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
    ],
)
def test_which_format(accept: str, asked: bool) -> None:
    """OpenMetrics is for who asks for it."""
    assert asks_for_openmetrics(accept) is asked


METRICS = st.lists(
    st.builds(counter, st.sampled_from("ab"), st.integers(0, 9), st.integers(NOW, NOW + 5))
    | st.builds(
        gauge, st.sampled_from("bc"), st.floats() | st.none(), st.integers(NOW, NOW + 5), flags=st.integers(0, 1)
    )
    | st.builds(took, st.integers(NOW, NOW + 5), st.sets(st.sampled_from([0.1, 0.5, 1.0, 2.0])).map(sorted)),
    max_size=6,
)


@given(st.lists(st.tuples(METRICS, st.booleans(), st.booleans()), max_size=5))
@settings(max_examples=60, deadline=None)
def test_whatever_comes_can_be_read(steps: list[tuple[list[Metric], bool, bool]]) -> None:
    """Whatever is taken up, taken back and seen in between, the page is one that the strict parser takes."""
    page = Page(most=12)
    for metrics, back, seen in steps:
        before = page.text()
        taken = page.take(*metrics)
        if back:
            page.exposition.take_back(taken)
            assert page.text() == before
        list(parse_openmetrics(page.text(openmetrics=True)))  # type: ignore[no-untyped-call]
        list(parse_text(page.text()))
        if seen:
            page.seen()
