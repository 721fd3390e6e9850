"""What a host says of itself: few series, zero at birth, never falling over restarts of the sidecar, and how it ended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Clock
from shipper.errors import LedgerFull
from shipper.events import Reporter
from shipper.ledger import Ledger, LedgerThread
from shipper.measure.catalogue import CATALOGUE, EXPOSURE_EDGES, OUTCOMES, Kind
from shipper.measure.health import UP
from shipper.measure.own import KEPT, OwnMetrics
from shipper.measure.own_reading import HostFacts
from shipper.measure.samples import of_book
from shipper.own_metrics import EXPOSURE_BUCKETS
from shipper.testing.clock import FakeClock
from tests.measure.measurekit import HOST, Point, SpanFile, count_all, counter_on, ledger_at, points

BORN = 1_800_000_000 * 10**9
SECOND = 10**9
FACTS = HostFacts(
    BORN,
    image="sha256:1",
    zone="eu-1a",
    host_type="m5",
    generation_started_ns=BORN - 60 * SECOND,
    release_built_ns=BORN - 3600 * SECOND,
)


def own_of(ledger: Any, report: Reporter, *destinations: str, facts: HostFacts = FACTS) -> OwnMetrics:
    return OwnMetrics(facts, HOST, destinations or ("otlp",), ledger=ledger, report=report)


def by_series(found: list[Point]) -> dict[tuple[str, ...], Point]:
    return {(point.name, *(value for _, value in sorted(point.labels.items()))): point for point in found}


def in_life(tmp_path: Path, work: Callable[[LedgerThread, Clock], Awaitable[None]]) -> None:
    async def main() -> None:
        ledger = ledger_at(tmp_path / "ledger.db")
        try:
            await work(ledger, FakeClock())
        finally:
            await ledger.aclose()

    asyncio.run(main())


def in_prometheus(found: list[Point]) -> int:
    """How many series these points are there: a distribution is its buckets, their sum and their count."""
    series = by_series(found).values()
    return sum(
        len(point.message.bucket_counts) + 2 if hasattr(point.message, "bucket_counts") else 1 for point in series
    )


def test_a_host_is_at_most_sixty_series(tmp_path: Path) -> None:
    """One service and one destination, with everything known that can be known."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        report = Reporter(clock)
        busy(report, 3)
        own = await own_of(ledger, report).sample(BORN + SECOND)
        stream, counter = SpanFile(), counter_on(ledger, FakeClock())
        stream.declare(1, service="shop")
        stream.span(error=True)
        counter.add(stream)
        await count_all(counter)
        requests = of_book(counter.book, HOST, "h1", BORN)
        assert in_prometheus(points(own.payload)) + in_prometheus(points(requests.payload)) <= 60

    in_life(tmp_path, work)


def busy(report: Reporter, times: int) -> None:
    """Something happens in every metric that the registry has."""
    m = report.metrics
    for _ in range(times):
        for stream in ("a", "b"):
            m.backlog.labels("otlp", stream).set(times)
        for outcome in OUTCOMES:
            m.requests.labels("otlp", outcome).inc()
        for counter in (m.acknowledged, m.acknowledged_bytes, m.rejected):
            counter.labels("otlp").inc()
        for cause in ("one", "two"):
            m.quarantined.labels("otlp", cause).inc()
            m.dropped.labels("otlp", cause).inc()
            m.lost_bytes.labels(cause).inc(10)
            m.service_lost.labels("logs", cause).inc()
            m.problems.labels(cause).inc()
            m.spool_bytes.labels(cause).set(7)
        m.exposure.labels("otlp").observe(0.3)


def test_everything_begins_at_zero_when_the_life_does(tmp_path: Path) -> None:
    """The birth has every series that later samples have, counters at zero, stamped at the beginning of the life."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        report = Reporter(clock)
        own = own_of(ledger, report)
        await own.open()
        assert not own.born
        birth = points((await own.birth()).payload)
        busy(report, 1)
        later = points((await own.sample(BORN + 15 * SECOND)).payload)
        assert own.born
        assert by_series(birth).keys() == by_series(later).keys()
        assert {point.time_ns for point in birth} == {BORN}
        counters = {entry.name for entry in CATALOGUE if entry.kind is not Kind.GAUGE}
        assert all(point.value == 0 and point.start_ns == BORN for point in birth if point.name in counters)
        assert {point.start_ns for point in later if point.name in counters} == {BORN}
        assert {point.start_ns for point in later if point.name not in counters} == {0}

    in_life(tmp_path, work)


def test_causes_and_streams_are_summed(tmp_path: Path) -> None:
    """What /metrics tells apart is one number here, by destination where there is one."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        report = Reporter(clock)
        busy(report, 2)
        found = {
            key: point.value
            for key, point in by_series(points((await own_of(ledger, report).sample(BORN)).payload)).items()
        }
        assert found["shipper.backlog", "otlp"] == 4
        assert found["shipper.quarantined.records", "otlp"] == 4
        assert found["shipper.lost",] == 40
        assert found["shipper.spool",] == 14
        sent = {outcome: found["shipper.requests_sent", "otlp", outcome] for outcome in set(OUTCOMES.values())}
        assert sent == {"accepted": 4, "rejected": 4, "retryable": 2, "failed": 4}

    in_life(tmp_path, work)


def test_the_buckets_of_exposure_are_those_of_the_registry_put_together(tmp_path: Path) -> None:
    """Each observation is in exactly one of the few buckets that are shipped."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        report = Reporter(clock)
        assert set(EXPOSURE_EDGES) <= set(EXPOSURE_BUCKETS)
        for seconds in (0.001, 0.025, 0.026, 0.5, 1.9, 2, 7, 10, 11, 400):
            report.metrics.exposure.labels("otlp").observe(seconds)
        point = by_series(points((await own_of(ledger, report).sample(BORN)).payload))["shipper.exposure", "otlp"]
        assert list(point.message.bucket_counts) == [2, 1, 1, 2, 2, 2]
        assert point.message.sum == pytest.approx(432.452)

    in_life(tmp_path, work)


def test_a_host_says_who_and_since_when_it_is(tmp_path: Path) -> None:
    """Image, zone and type of the host stand on one series only; what is not known is not there."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        found = points((await own_of(ledger, Reporter(clock)).sample(BORN)).payload)
        info = next(point for point in found if point.name == "shipper.host.info")
        assert info.value == 1
        assert set(info.labels) == {"image", "zone", "host_type", "shipper_version"}
        at = {point.name: point.value for point in found if point.name.endswith("timestamp")}
        assert at == {
            "shipper.host.started.timestamp": BORN / 1e9,
            "shipper.generation.started.timestamp": BORN / 1e9 - 60,
            "shipper.release.built.timestamp": BORN / 1e9 - 3600,
        }
        bare = points((await own_of(ledger, Reporter(clock), facts=HostFacts(BORN)).sample(BORN)).payload)
        assert set(next(point for point in bare if point.name == "shipper.host.info").labels) == {"shipper_version"}
        at = {point.name: point.value for point in bare if point.name.endswith("timestamp")}
        assert at["shipper.generation.started.timestamp"] == BORN / 1e9
        assert "shipper.release.built.timestamp" not in at

    in_life(tmp_path, work)


def test_a_farewell_is_in_the_last_sample_and_taken_back_with_the_end(tmp_path: Path) -> None:
    """Both outcomes are zero until one is said; a host that lives on has said nothing, with a new start time."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        own = own_of(ledger, Reporter(clock))

        async def farewells(at: int) -> dict[str, tuple[float, int]]:
            found = points((await own.sample(at)).payload)
            values = by_series(found)
            assert values["shipper.drain.left",].value == (5 if values["shipper.farewells", "expired"].value else 0)
            return {
                point.labels["outcome"]: (point.value, point.start_ns)
                for point in found
                if point.name == "shipper.farewells"
            }

        assert await farewells(BORN + 1) == {"drained": (0, BORN), "expired": (0, BORN)}
        own.ended("expired", 5)
        last = await own.sample(BORN + 2)
        assert by_series(points(last.payload))["shipper.host.state",].value == 5
        assert await farewells(BORN + 3) == {"drained": (0, BORN), "expired": (1, BORN)}
        own.lives_on(BORN + 4)
        assert await farewells(BORN + 5) == {"drained": (0, BORN + 4), "expired": (0, BORN + 4)}

    in_life(tmp_path, work)


@settings(max_examples=30, deadline=None)
@given(
    runs=st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.floats(0, 20), st.booleans()), max_size=5), min_size=1, max_size=4
    )
)
def test_what_is_counted_never_falls_while_the_life_lasts(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[int, float, bool]]]
) -> None:
    """Over runs that are killed at any time, what was shipped is the sum of all that was counted up to each run's last sample."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        shipped: list[tuple[float, float, float]] = []
        truth, at = 0, BORN
        for run in runs:
            report = Reporter(clock)
            own = own_of(ledger, report)
            await own.open()
            counted, total = 0, truth
            for count, seconds, sampled in run:
                report.metrics.acknowledged.labels("otlp").inc(count)
                report.metrics.exposure.labels("otlp").observe(seconds)
                counted += count
                if sampled:
                    at += SECOND
                    found = by_series(points((await own.sample(at)).payload))
                    truth = total + counted
                    assert found["shipper.acknowledged.records", "otlp"].value == truth
                    exposure = found["shipper.exposure", "otlp"]
                    shipped.append((truth, exposure.value, exposure.message.sum))
                    assert exposure.start_ns == BORN
        assert shipped == sorted(shipped)
        assert all(a <= b for one, other in pairwise(shipped) for a, b in zip(one, other, strict=True))

    in_life(tmp_path_factory.mktemp("life"), work)


def test_a_destination_that_is_new_in_a_later_run_begins_at_zero(tmp_path: Path) -> None:
    """Its series are preceded by a zero at the last sample of the run before; those of the others go on."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        first = own_of(ledger, Reporter(clock))
        await first.open()
        await first.birth()
        await first.sample(BORN + 15 * SECOND)
        report = Reporter(clock)
        report.metrics.acknowledged.labels("more").inc(9)
        second = own_of(ledger, report, "otlp", "more")
        await second.open()
        found = [
            (point.labels["destination"], point.value, point.time_ns - BORN, point.start_ns - BORN)
            for point in points((await second.sample(BORN + 30 * SECOND)).payload)
            if point.name == "shipper.acknowledged.records"
        ]
        assert sorted(found) == [
            ("more", 0, 15 * SECOND, 15 * SECOND),
            ("more", 9, 30 * SECOND, 15 * SECOND),
            ("otlp", 0, 30 * SECOND, 0),
        ]

    in_life(tmp_path, work)


@pytest.mark.parametrize("damage", ["", "[]", '{"at": 5, "series": [["shipper.lost"]]}', '{"series": 3}', "null"])
def test_damage_in_what_was_kept_costs_the_counts_of_the_runs_before(tmp_path: Path, damage: str) -> None:
    """It is said, and numbers go on."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        await ledger.call(Ledger.put, KEPT, damage)
        report = Reporter(clock)
        own = own_of(ledger, report)
        await own.open()
        assert report.metrics.problems.labels("measure")._value.get() == 1
        assert (await own.sample(BORN)).points > 30

    in_life(tmp_path, work)


def test_a_ledger_that_is_full_costs_no_sample(tmp_path: Path) -> None:
    """A host that is in trouble has to be seen most of all."""

    class Full:
        async def call(self, fn: Any, *args: Any) -> Any:
            raise LedgerFull("no room")

    async def main() -> None:
        report = Reporter(FakeClock())
        assert (await own_of(Full(), report).sample(BORN)).points > 30
        assert report.metrics.problems.labels("measure")._value.get() == 1

    asyncio.run(main())


def test_what_is_shipped_is_what_the_catalogue_says(tmp_path: Path) -> None:
    """Names, labels and kinds of every series stand in one table."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        report = Reporter(clock)
        report.metrics.fallback_helping.labels("archive").set(0)
        found = points((await own_of(ledger, report).sample(BORN)).payload)
        assert {point.name for point in found} == {own.name for own in CATALOGUE}
        for own in CATALOGUE:
            of_it = [point for point in found if point.name == own.name]
            assert all(set(point.labels) == set(own.labels) for point in of_it)
            assert all((point.start_ns > 0) is (own.kind is not Kind.GAUGE) for point in of_it)
            assert not any(math.isnan(point.value) for point in of_it)

    in_life(tmp_path, work)


def test_no_name_is_where_another_one_goes_on() -> None:
    """Where names are paths, as in OpenSearch, a name cannot be both a number and what others are below."""
    of_requests = ["shipper.requests", "shipper.request.duration", "shipper.job.runs", "shipper.job.duration", UP]
    names = [*(own.name for own in CATALOGUE), *of_requests]
    assert not [(one, other) for one in names for other in names if other.startswith(f"{one}.")]


def test_a_fallback_is_a_series_where_there_is_one(tmp_path: Path) -> None:
    """Under its own name, 0 from the beginning, so that its rise can be seen; a host without one has no such series."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        report = Reporter(clock)
        own = own_of(ledger, report)
        helping: list[tuple[str, float]] = []
        for at in range(3):
            if at:
                report.metrics.fallback_helping.labels("archive").set(at - 1)
            found = points((await own.sample(BORN + at * SECOND)).payload)
            helping += [(p.labels["destination"], p.value) for p in found if p.name == "shipper.fallback.helping"]
        assert helping == [("archive", 0), ("archive", 1)]

    in_life(tmp_path, work)


def test_a_gateway_exposes_nothing(tmp_path: Path) -> None:
    """What a gateway has not sent on lies on a disk that outlives it: how long an archive gathers is nobody's risk."""

    async def work(ledger: LedgerThread, clock: Clock) -> None:
        for gateway in (False, True):
            facts = HostFacts(BORN, gateway=gateway)
            shipped = points((await own_of(ledger, Reporter(clock), facts=facts).sample(BORN + SECOND)).payload)
            assert ("shipper.exposure" in {point.name for point in shipped}) is not gateway

    in_life(tmp_path, work)
