"""When numbers are shipped: a zero first, what changed, the last word in the drain, and never what was not committed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shipper.errors import LedgerFull, SpoolFull
from shipper.ledger import LedgerThread
from shipper.measure.samples import NOTHING, Samples
from shipper.testing.clock import START_WALL_NS, FakeClock
from tests.measure.measurekit import HOST
from tests.measure.sourcekit import INTERVAL, Gauge, Run, in_state, until


def test_the_first_sample_of_a_service_is_zero(tmp_path: Path) -> None:
    """Requests served before the first look are seen as growth, with an earlier zero to grow from."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock)
        async with run.running():
            run.file.span()
            run.counter.add(run.file)
            await run.counted(1)
            await clock.run(INTERVAL)
            zero, first = run.requests()
            starts = {point.start_ns for sample in run.samples() for point in sample}
        assert [(outcome, value) for outcome, value, _ in zero] == [("ok", 0), ("error", 0)]
        assert [(outcome, value) for outcome, value, _ in first] == [("ok", 1), ("error", 0)]
        assert zero[0][2] < first[0][2]
        assert starts == {zero[0][2]}

    in_state(tmp_path, work)


def test_a_sample_holds_counts_and_durations_with_the_identity(tmp_path: Path) -> None:
    """Each sample says whose it is: service, release and generation, and the host's name as the instance."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock)
        async with run.running():
            run.file.span(ms=500)
            run.file.span(ms=501, error=True)
            run.counter.add(run.file)
            await run.counted(2)
            await clock.run(INTERVAL)
            last = run.samples()[-1]
        by_name = {(point.name, point.labels.get("outcome", "")): point for point in last}
        assert by_name["shipper.requests", "ok"].value == by_name["shipper.requests", "error"].value == 1
        duration = by_name["shipper.request.duration", ""].message
        assert list(duration.bucket_counts) == [0, 0, 1, 1, 0, 0]
        assert list(duration.explicit_bounds) == [0.05, 0.2, 0.5, 1, 5]
        assert duration.sum == pytest.approx(1.001)
        resource = last[0].resource
        assert resource["service.name"] == "shop"
        assert resource["service.version"] == "r1"
        assert resource["shipper.generation"] == HOST["shipper.generation"]
        assert resource["service.instance.id"] == "h1"

    in_state(tmp_path, work)


def test_what_did_not_change_is_shipped_again_every_interval(tmp_path: Path) -> None:
    """A host that serves nothing for a while is told from one that is gone, by looking back over three intervals."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock)
        async with run.running():
            run.file.span()
            run.counter.add(run.file)
            await run.counted(1)
            await clock.run(INTERVAL)
            before = len(run.samples())
            await clock.run(10 * INTERVAL)
            assert len(run.samples()) - before == 10

    in_state(tmp_path, work)


def test_a_host_without_services_has_no_stream(tmp_path: Path) -> None:
    """Where nothing is counted and nothing configured, there is no file, no stream and nothing on /metrics."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock)
        async with run.running():
            await clock.run(300)
            await run.source.settled()
            assert "shipper_requests_total" not in run.exposed()
        assert not run.hub.streams
        assert not (tmp_path / "metrics").exists()

    in_state(tmp_path, work)


def test_the_last_sample_holds_what_was_found_in_the_drain(tmp_path: Path) -> None:
    """A request that failed while the host was dying is in the numbers: the sources settle first, then the sample is made."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        target = Gauge()
        run = Run(tmp_path, ledger, clock, target, upstream=True)
        async with run.running():
            run.counter.add(run.file)
            await until(lambda: [point for sample in run.samples() for point in sample if "outcome" in point.labels])
            reads = target.reads
            run.source.stop_reading()
            assert run.source.silent(0)
            run.source.close_events()
            await run.source.settled()
            last = [point for sample in run.samples() for point in sample]
            count = len(run.samples())
            await clock.run(300)
            assert len(run.samples()) == count
        assert [point.value for point in last if point.labels.get("outcome") == "error"][-1] == 1
        assert target.reads > reads
        assert [point.value for point in last if point.name == "reads"][-1] == reads + 1
        assert target.closed

    in_state(tmp_path, work)


def test_a_target_that_hangs_does_not_hold_up_the_drain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that dies while it is asked a last time costs a bounded wait."""
    monkeypatch.setattr("shipper.measure.source.LAST_SECONDS", 0.01)

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        target = Gauge()
        target.hangs = True
        run = Run(tmp_path, ledger, clock, target)
        async with run.running():
            await run.source.settled()
        assert run.report.metrics.problems.labels("scrape")._value.get() == 1

    in_state(tmp_path, work)


def test_a_new_run_goes_on_with_the_counts_and_says_them_at_once(tmp_path: Path) -> None:
    """After a kill between a commit and its sample, the numbers are shipped by the next run, with the same start time."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        first = Run(tmp_path, ledger, clock)
        first.file.span()
        first.counter.add(first.file)
        await first.counter.turn()  # committed, and then killed
        start = next(iter(first.counter.book.lines.values())).start_ns
        clock.advance(100)
        second = Run(tmp_path, ledger, clock)
        async with second.running():
            await until(second.samples)
            ((ok, _, _),) = second.samples()
        assert (ok.value, ok.start_ns) == (1, start)

    in_state(tmp_path, work)


def test_the_zero_of_a_service_is_written_before_its_counts_are_committed(tmp_path: Path) -> None:
    """Killed between the two, the next run makes another beginning; no count is ever shipped without one."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        class Dying:
            async def call(self, fn: Any, *args: Any) -> Any:
                if fn.__name__ == "_store":
                    await asyncio.Event().wait()  # for ever: the process is gone before it is done
                return await ledger.call(fn, *args)

        first = Run(tmp_path, Dying(), clock)
        first.file.span()
        first.counter.add(first.file)
        async with first.running():
            await until(first.samples)
        clock.advance(10)
        second = Run(tmp_path, ledger, clock)
        second.file.data = first.file.data
        async with second.running():
            second.counter.add(second.file)
            await second.counted(1)
            await second.source.settled()
            found = [[point for point in sample if point.labels.get("outcome") == "ok"] for sample in second.samples()]
        (zero,), (again,), (one,) = found
        assert (zero.value, again.value, one.value) == (0, 0, 1)
        assert zero.time_ns < again.time_ns < one.time_ns
        assert one.start_ns == again.start_ns

    in_state(tmp_path, work)


def test_the_stream_of_an_earlier_run_is_announced_again(tmp_path: Path) -> None:
    """Samples that no destination has taken yet are shipped after a restart, before any new number."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        first = Run(tmp_path, ledger, clock)
        async with first.running():
            first.counter.add(first.file)
            await until(first.samples)
            await clock.run(INTERVAL)
            before = len(first.samples())
        second = Run(tmp_path, ledger, clock)
        await second.source.open()
        assert len(second.samples()) == before
        await second.source.aclose()

    in_state(tmp_path, work)


def test_samples_are_in_order_when_the_clock_is_set_back(tmp_path: Path) -> None:
    """A store of metrics refuses points that are older than its last: time stamps only go forward."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock)
        async with run.running():
            run.counter.add(run.file)
            for requests in range(1, 5):
                run.file.span()
                run.counter.ready(run.file)
                await run.counted(requests)
                await clock.run(INTERVAL)
                clock.jump_wall(-3600)
            times = [sample[0][2] for sample in run.requests()]
        assert len(times) >= 4
        assert times == sorted(set(times))

    in_state(tmp_path, work)


def test_what_is_exposed_is_what_is_committed(tmp_path: Path) -> None:
    """Who scrapes /metrics never sees a count that a kill could take back."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        full = False

        class Filling:
            async def call(self, fn: Any, *args: Any) -> Any:
                if full and fn.__name__ == "_store":
                    raise LedgerFull("no room")
                return await ledger.call(fn, *args)

        run = Run(tmp_path, Filling(), clock)
        async with run.running():
            run.file.span(ms=300)
            run.counter.add(run.file)
            await run.counted(1)
            full = True
            run.file.span(error=True)
            run.counter.ready(run.file)
            await clock.run(5)
            errors = 'shipper_requests_total{env="",generation="g0",outcome="error",release="r1",service="shop"}'
            assert f"{errors} 0.0" in run.exposed()
            full = False
            await run.counted(2)
            page = run.exposed()
        assert f"{errors} 1.0" in page
        assert 'shipper_request_duration_seconds_bucket{env="",generation="g0",le="0.5",release="r1"' in page
        assert "shipper_requests_total" not in run.exposed()  # closed: nobody keeps it up to date any more

    in_state(tmp_path, work)


def test_numbers_that_cannot_be_written_down_are_said_and_come_later(tmp_path: Path) -> None:
    """A full disk costs samples, which the next one makes up for; it does not end the sidecar."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock)
        write, failing = run.stream.write, True

        async def fail(samples: Samples, time_ns: int) -> None:
            if failing:
                raise SpoolFull("no room")
            await write(samples, time_ns)

        run.stream.write = fail  # type: ignore[method-assign]
        async with run.running():
            run.file.span()
            run.counter.add(run.file)
            await run.counted(1, written=False)
            await clock.run(2 * INTERVAL)
            assert run.report.metrics.problems.labels("measure")._value.get() >= 1
            failing = False
            await run.source.settled()
            assert [value for _, value, _ in run.requests()[-1]] == [1, 0]

    in_state(tmp_path, work)


def test_services_of_many_releases_are_told_apart_in_one_sample(tmp_path: Path) -> None:
    """Two generations on one host are two resources of one request."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock)
        async with run.running():
            run.file.declare(2, service="shop", release="r2")
            run.file.span(resource=1)
            run.file.span(resource=2, error=True)
            run.counter.add(run.file)
            await run.counted(2)
            await run.source.settled()
            last = run.samples()[-1]
        errors = {p.resource["service.version"]: p.value for p in last if p.labels.get("outcome") == "error"}
        assert errors == {"r1": 0, "r2": 1}

    in_state(tmp_path, work)


def test_an_empty_sample_is_not_written(tmp_path: Path) -> None:
    """A target without numbers makes no stream."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock)
        await run.stream.write(NOTHING, START_WALL_NS)
        assert not run.hub.streams

    in_state(tmp_path, work)
