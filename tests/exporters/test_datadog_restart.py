"""Deltas for Datadog over restarts of the sidecar: nothing is missing, and nothing counts twice."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, Batch, Cut, ExporterContext, Request, Signal
from shipper.errors import Retryable
from shipper.ids import uuid7
from shipper.otlp.metrics import counter, distribution, export_metrics, histogram, number
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper_exporters.datadog import DatadogExporter, DatadogSettings
from tests.exporters.datadog_intake import KEY, Intake, errors, points

LIFE = uuid7(START_WALL_NS)
SECOND = 1_000_000_000
NAMES = ("a", "b")


class Sidecar:
    """Sends requests one after the other, as a pump does with metrics; what is acknowledged is written down with what is kept."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._run = 0
        self._made = 0
        self.kept: dict[bytes, bytes] = {}
        self.waiting: list[Request] = []
        self.rejected = 0

    async def start(self) -> None:
        """A new run, after whatever became of the one before."""
        self._run += 1
        url = f"{self._intake.url}/otlp/v1/metrics"
        self._exporter = DatadogExporter(
            "datadog", DatadogSettings(metrics_endpoint=url), ExporterContext(FakeClock(), LIFE, self._run, "test")
        )
        self._exporter.resume(dict(self.kept))
        await self._exporter.start()

    async def restart(self) -> None:
        await self._exporter.aclose()
        await self.start()

    async def stop(self) -> None:
        await self._exporter.aclose()

    def add(self, payload: bytes) -> None:
        self._made += 1
        cut = Cut(self._made, self._made + 1, 0, 0, 1, START_WALL_NS)
        self.waiting.append(
            Request(f"r{self._made}", Signal.METRICS, (Batch(LIFE, "m", Signal.METRICS, cut, payload),))
        )

    async def send(self) -> None:
        """The oldest; what fails stays the oldest."""
        prepared = self._exporter.prepare(self.waiting[0])
        answer = await self._exporter.send(prepared, Deadline(self._exporter._context.clock))
        self.rejected += answer.rejected
        for key, value in answer.keep.items():
            if value is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = value
        del self.waiting[0]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_API_KEY", KEY)


def sample(at: int, totals: Counter[str], starts: dict[str, int]) -> bytes:
    """What a service says of its counters."""
    when = START_WALL_NS + at * SECOND
    found = [counter(name, [number(totals[name], when, starts[name])]) for name in starts]
    took = [
        histogram(f"{name}.took", [distribution([total, 0], [1.0], float(total), when, starts[name])])
        for name, total in totals.items()
        if name in starts
    ]
    return export_metrics(b"", b"", [*found, *took])


def arrived(intake: Intake) -> Counter[str]:
    """What all deltas come to, by metric."""
    found: Counter[str] = Counter()
    for message in intake.metrics:
        for name, point in points(message):
            found[name] += point.count if name.endswith(".took") else point.as_int
    return found


ACTIONS = st.sampled_from(["sample", "sample", "send", "send", "fail", "kill", "begin anew"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ACTIONS, st.integers(0, 9)), max_size=40))
def test_deltas_add_up_over_runs(actions: list[tuple[str, int]]) -> None:
    """Whenever requests fail and the sidecar is killed: what arrived adds up to what was counted, of new series too."""

    async def scenario() -> None:
        totals, expected, starts = Counter[str](), Counter[str](), dict[str, int]()
        async with asyncio.timeout(60), Intake() as intake:
            sidecar = Sidecar(intake)
            await sidecar.start()
            for at, (action, more) in enumerate([*actions, ("sample", 1)], start=1):
                name = NAMES[more % len(NAMES)]
                if action == "sample":
                    starts.setdefault(name, START_WALL_NS + at * SECOND - 1)
                    totals[name] += more
                    expected[name] += more
                    sidecar.add(sample(at, totals, starts))
                elif action == "begin anew" and name in starts:
                    starts[name] = START_WALL_NS + at * SECOND - 1
                    totals[name] = 0
                elif action == "kill":
                    await sidecar.restart()
                elif action == "send" and sidecar.waiting:
                    await sidecar.send()
                elif action == "fail" and sidecar.waiting:
                    intake.answer = errors(503, "later")
                    with pytest.raises(Retryable):
                        await sidecar.send()
                    intake.answer = None
            while sidecar.waiting:
                await sidecar.send()
            await sidecar.stop()
            found = arrived(intake)
            assert {name: found[name] for name in NAMES} == {name: expected[name] for name in NAMES}
            assert {name: found[f"{name}.took"] for name in NAMES} == {name: expected[name] for name in NAMES}
            assert sidecar.rejected == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DD_API_KEY", KEY)
        asyncio.run(scenario())


def test_what_nobody_knows_the_outcome_of_is_the_same_again() -> None:
    """A request whose answer was lost with the sidecar comes again with the same deltas, and not with others."""

    async def scenario() -> None:
        starts = {"a": START_WALL_NS}
        async with asyncio.timeout(60), Intake() as intake:
            sidecar = Sidecar(intake)
            await sidecar.start()
            sidecar.add(sample(1, Counter(a=5), starts))
            await sidecar.send()
            sidecar.add(sample(2, Counter(a=12), starts))
            sidecar.add(sample(3, Counter(a=13), starts))
            books = sidecar.kept.copy(), sidecar.waiting.copy()
            await sidecar.send()
            sidecar.kept, sidecar.waiting = books  # it was killed before it wrote that down
            await sidecar.restart()
            await sidecar.send()
            await sidecar.send()
            await sidecar.stop()
            found = [[point.as_int for name, point in points(one) if name == "a"] for one in intake.metrics]
            assert found == [[5], [7], [7], [1]]

    asyncio.run(scenario())


def test_what_is_kept_is_small() -> None:
    """What is kept of a series does not grow with its labels, and only of series that a request holds is anything written."""

    async def scenario() -> None:
        async with asyncio.timeout(60), Intake() as intake:
            sidecar = Sidecar(intake)
            await sidecar.start()
            when = START_WALL_NS + SECOND
            labels = {f"label-{n}": "x" * 100 for n in range(20)}
            found = [number(n, when, START_WALL_NS, {**labels, "n": str(n)}) for n in range(50)]
            sidecar.add(export_metrics(b"", b"", [counter("many", found)]))
            await sidecar.send()
            assert len(sidecar.kept) == 50
            assert max(len(key) + len(value) for key, value in sidecar.kept.items()) < 80
            sidecar.add(export_metrics(b"", b"", [counter("other", [number(1, when, START_WALL_NS)])]))
            prepared = sidecar._exporter.prepare(sidecar.waiting[0])
            answer = await sidecar._exporter.send(prepared, Deadline(sidecar._exporter._context.clock))
            assert answer == Accepted()
            assert len(answer.keep) == 1
            await sidecar.stop()

    asyncio.run(scenario())
