"""When numbers are shipped: a zero first, what changed, the last word in the drain, and never what was not committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from shipper.contracts import Source, StreamKind
from shipper.errors import LedgerFull, SpoolFull
from shipper.events import Reporter
from shipper.ledger import LedgerThread
from shipper.measure.exposition import BookCollector
from shipper.measure.own import OwnMetrics
from shipper.measure.own_reading import HostFacts
from shipper.measure.requests import RequestCounter
from shipper.measure.samples import NOTHING, Samples
from shipper.measure.source import MeasureSource
from shipper.measure.stream import MetricsStream
from shipper.measure.writing import Writer
from shipper.otlp import metrics
from shipper.testing.clock import START_WALL_NS, FakeClock
from tests.measure.measurekit import HOST, Announced, Point, SpanFile, batches, counter_on, ledger_at

INTERVAL = 15.0


class Upstream(Source):
    """A source that finds one more request while it settles."""

    def __init__(self, counter: RequestCounter, stream: SpanFile) -> None:
        self.name = "services"
        self._counter = counter
        self._stream = stream

    async def run(self) -> None:
        await asyncio.Event().wait()

    def stop_reading(self) -> None:
        pass

    def silent(self, quiet_seconds: float) -> bool:
        return True

    def close_events(self) -> None:
        pass

    async def settled(self) -> None:
        await asyncio.sleep(0)
        self._stream.span(error=True)
        self._counter.ready(self._stream)


class Gauge:
    """A target that counts how often it is read."""

    interval = INTERVAL

    def __init__(self) -> None:
        self.reads = 0
        self.closed = False
        self.hangs = False

    async def read(self, last: bool = False) -> Samples:
        self.reads += 1
        if self.hangs:
            await asyncio.Event().wait()
        point = metrics.number(self.reads, 1)
        return Samples(metrics.export_metrics(b"", b"", [metrics.gauge("reads", [point])]), 1, 1)

    async def aclose(self) -> None:
        self.closed = True


class Run:
    """One run of the source on a state directory."""

    def __init__(
        self,
        directory: Path,
        ledger: Any,
        clock: FakeClock,
        *targets: Gauge,
        upstream: bool = False,
        own: bool = False,
        over: bool = False,
    ) -> None:
        self.clock = clock
        self.report = Reporter(clock)
        self.hub = Announced()
        self.file = SpanFile()
        self.file.declare(1, service="shop", release="r1")
        self.counter = counter_on(ledger, clock, report=self.report)
        self.stream, self.ends = (
            MetricsStream(
                str(directory / name),
                life="life",
                hub=self.hub,
                ledger=ledger,
                destinations=("otlp",),
                max_bytes=1 << 20,
                report=self.report,
                name=name,
                kind=kind,
            )
            for name, kind in (("metrics", StreamKind.DATA), ("metrics-life", StreamKind.LIFE))
        )
        self.source = MeasureSource(
            self.counter,
            targets,
            Writer(self.stream, self.ends, clock, self.report),
            own=OwnMetrics(HostFacts(clock.wall_ns()), HOST, ["otlp"], ledger=ledger, report=self.report)
            if own
            else None,
            collector=BookCollector(lambda: self.counter.book, routes=False),
            over=over,
            host=HOST,
            instance="h1",
            interval=INTERVAL,
            after=[Upstream(self.counter, self.file)] if upstream else [],
            clock=clock,
            report=self.report,
        )

    def requests(self) -> list[list[tuple[str, float, int]]]:
        """Outcome, value and time of the request counters in each sample."""
        return [
            [
                (point.labels["outcome"], point.value, point.time_ns)
                for point in sample
                if point.name == "shipper.requests"
            ]
            for sample in self.samples()
        ]

    def samples(self) -> list[list[Point]]:
        return batches(self.hub.streams[0]) if self.hub.streams else []

    def late(self) -> list[list[Point]]:
        """What was written to the stream of the end."""
        return batches(self.hub.streams[1]) if len(self.hub.streams) > 1 else []

    def exposed(self) -> str:
        return generate_latest(self.report.metrics.registry).decode()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.source.open()
        task = asyncio.create_task(self.source.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.source.aclose()

    async def counted(self, requests: int, *, written: bool = True) -> None:
        """Let time pass until so many requests are committed, and the beginning of them is written."""
        while sum(line.requests for line in self.counter.book.lines.values()) < requests:
            await self.clock.run(1)
            await asyncio.sleep(0.001)
        if written:  # the stream is made in the ledger's thread
            await until(self.samples)


def in_state(tmp_path: Path, work: Callable[[LedgerThread, FakeClock], Awaitable[None]]) -> None:
    async def main() -> None:
        ledger = ledger_at(tmp_path / "ledger.db")
        try:
            await work(ledger, FakeClock())
        finally:
            await ledger.aclose()

    asyncio.run(main())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the ledger has a thread of its own
            await asyncio.sleep(0.001)


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


def ended(sample: list[Point]) -> set[tuple[str, ...]]:
    """The series that are ended in it."""
    return {(point.name, *point.labels.values()) for point in sample if point.message.flags}


def lived(sample: list[Point]) -> set[tuple[str, ...]]:
    """The series that have a value in it."""
    return {(point.name, *point.labels.values()) for point in sample if not point.message.flags}


def test_a_life_begins_in_numbers_once(tmp_path: Path) -> None:
    """The first run writes the beginning of every series at the life's birth; the next goes on, at once."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        born = clock.wall_ns()
        first = Run(tmp_path, ledger, clock, own=True)
        async with first.running():
            await until(first.samples)
            assert {point.time_ns for point in first.samples()[0]} == {born}
            await clock.run(INTERVAL)
            await until(lambda: len(first.samples()) == 2)
            assert lived(first.samples()[0]) == lived(first.samples()[1])
        clock.advance(3)
        second = Run(tmp_path, ledger, clock, own=True)
        async with second.running():
            await until(lambda: len(second.samples()) == 3)
            assert {point.time_ns for point in second.samples()[2]} == {clock.wall_ns()}

    in_state(tmp_path, work)


def test_all_that_lives_ends_with_the_farewell(tmp_path: Path) -> None:
    """Own series, requests and what was read of others get a last value that says how it ended, and a moment later their end."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock, Gauge(), own=True, upstream=True)
        async with run.running():
            run.counter.add(run.file)
            run.file.span()
            run.counter.ready(run.file)
            await run.counted(1)
            await run.source.settled()
            counted = len(run.samples())
            await run.source.farewell("drained", 0)
            await clock.run(10 * INTERVAL)
            assert len(run.samples()) == counted  # what the account counts was complete before
            (last,) = run.late()
            before = [point for sample in run.samples() for point in sample]
        assert {("reads",), ("shipper.requests", "ok"), ("shipper.request.duration",), ("shipper.streams",)} <= ended(
            last
        )
        assert ended(last) == lived(before)
        values = {(point.name, *point.labels.values()): point.value for point in last if not point.message.flags}
        assert values["shipper.farewells", "drained"] == 1
        assert values["shipper.requests", "ok"] == values["shipper.requests", "error"] == 1
        (at,) = {point.time_ns for point in last if not point.message.flags}
        assert {point.time_ns for point in last if point.message.flags} == {at + 1_000_000}
        assert at > max(point.time_ns for point in before if point.name != "reads")

    in_state(tmp_path, work)


def test_a_long_drain_is_seen_by_the_other_stream(tmp_path: Path) -> None:
    """While a backlog is sent the host says how it is, but nothing that would have to be accounted for."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock, own=True)
        async with run.running():
            await run.source.settled()
            before = len(run.samples())
            for count in range(1, 4):
                await clock.run(INTERVAL)
                await until(lambda count=count: len(run.late()) == count)
            assert len(run.samples()) == before
            assert not any(ended(sample) for sample in run.late())

    in_state(tmp_path, work)


def test_numbers_go_on_when_the_drain_is_taken_back(tmp_path: Path) -> None:
    """Requests are counted again, and the host's series live again: after their end too, where a host outlived its farewell."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock, own=True)
        async with run.running():
            run.counter.add(run.file)
            run.file.span()
            await run.counted(1)
            await run.source.settled()
            await run.source.farewell("expired", 7)
            stamped = max(point.time_ns for point in run.late()[-1])
            run.source.reopen()
            run.source.go_on(outlived=True)
            run.file.span(error=True)
            run.counter.ready(run.file)
            await run.counted(2)
            before = len(run.samples())
            await clock.run(INTERVAL)
            await until(lambda: len(run.samples()) > before)
            again = {(point.name, *point.labels.values()): point for point in run.samples()[-1]}
            assert again["shipper.requests", "error"].value == 1
            assert again["shipper.farewells", "expired"].value == again["shipper.drain.left",].value == 0
            assert min(point.time_ns for point in again.values()) > stamped
            await run.source.settled()
            await run.source.farewell("drained", 0)
            assert {("shipper.requests", "error"), ("shipper.streams",)} <= ended(run.late()[-1])

    in_state(tmp_path, work)


def test_an_end_that_cannot_be_written_is_tried_again_whole(tmp_path: Path) -> None:
    """A full disk delays the end of the series; nothing of it is lost."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock, own=True)
        async with run.running():
            await run.source.settled()
            write, failing = run.ends.write, True

            async def fail(samples: Samples, time_ns: int) -> None:
                if failing:
                    raise SpoolFull("no room")
                await write(samples, time_ns)

            run.ends.write = fail  # type: ignore[method-assign]
            with pytest.raises(SpoolFull):
                await run.source.farewell("drained", 0)
            assert not run.late()
            failing = False
            await run.source.farewell("drained", 0)
            (last,) = run.late()
            assert ended(last) == lived(last) | lived(run.samples()[0])

    in_state(tmp_path, work)


def test_what_an_earlier_life_left_is_said_once_and_ended(tmp_path: Path) -> None:
    """A life that died without a word gets its last numbers from the next one, and is not seen alive because of it."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        died = Run(tmp_path, ledger, clock)
        async with died.running():
            died.counter.add(died.file)
            died.file.span()
            await died.counted(1)
        clock.advance(1000)
        later = Run(tmp_path, ledger, clock, over=True)
        async with later.running():
            before = len(later.samples())
            await clock.run(3 * INTERVAL)
            assert len(later.samples()) == before
            await later.source.settled()
            (last,) = later.samples()[before:]
            assert (
                ended(last)
                == lived(last)
                == {
                    ("shipper.requests", "ok"),
                    ("shipper.requests", "error"),
                    ("shipper.request.duration",),
                }
            )

    in_state(tmp_path, work)


def test_a_life_that_said_farewell_needs_no_other_to_speak_for_it(tmp_path: Path) -> None:
    """Unless something of it was counted only afterwards."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        first = Run(tmp_path, ledger, clock)
        async with first.running():
            first.counter.add(first.file)
            first.file.span()
            await first.counted(1)
            await first.source.settled()
            await first.source.farewell("expired", 3)
        for more in (0, 1):
            later = Run(tmp_path, ledger, clock, over=True)
            later.file.data = first.file.data
            async with later.running():
                before = len(later.samples())
                for _ in range(more):
                    later.file.span()
                later.counter.add(later.file)
                await later.source.settled()
                assert len(later.samples()) == before + more

    in_state(tmp_path, work)
