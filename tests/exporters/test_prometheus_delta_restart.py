"""Counts since the last point over restarts: the same samples again, whatever order the receiver takes samples in."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext, Request
from shipper.errors import Retryable
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Sink
from shipper_exporters._prometheus.delta import Sums
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from tests.exporters.metrickit import LIFE, exponential, payload, request
from tests.exporters.remote_write_two import SeriesTwo
from tests.exporters.test_prometheus_delta import NOW, Receiver, delta, increase, samples


class InAnyOrder(Receiver):
    """As with ``out_of_order_time_window``: only what stands at a time already is refused, if it is another value."""

    def _store(self, one: SeriesTwo, at: int, value: float) -> bool:
        points = self.points[one.labels["__name__"]]
        there = dict(points).setdefault(at, value)
        if (at, there) not in points:
            points.append((at, value))
            points.sort()
        return there == value


class Sidecar:
    """Sends one request after the other; what is acknowledged is written down with what is kept."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._runs = 0
        self.kept: dict[bytes, bytes] = {}
        self.waiting: list[Request] = []

    async def start(self) -> None:
        """A new run, after whatever became of the one before."""
        self._runs += 1
        options = PrometheusSettings(endpoint=f"{self._sink.url}/v1/metrics", protocol="2.0", max_samples_per_send=3)
        self._exporter = PrometheusExporter("prom", options, ExporterContext(FakeClock(), LIFE, self._runs, "test"))
        self._exporter.resume(dict(self.kept))
        await self._exporter.start()

    async def stop(self) -> None:
        await self._exporter.aclose()

    async def send(self) -> None:
        """The oldest; what fails stays the oldest."""
        prepared = self._exporter.prepare(self.waiting[0])
        answer = await self._exporter.send(prepared, Deadline(self._exporter._context.clock))
        assert answer == Accepted()
        self.kept |= {key: value for key, value in answer.keep.items() if value is not None}
        for key in [key for key, value in answer.keep.items() if value is None]:
            self.kept.pop(key, None)
        del self.waiting[0]


STEPS = st.lists(
    st.one_of(st.integers(0, 5), st.sampled_from(["send", "send", "lost", "503", "kill"])), min_size=1, max_size=25
)
"""What is counted, a request sent with an answer, without one or in vain, and a new run."""


@pytest.mark.parametrize("receiver_of", [Receiver, InAnyOrder])
@given(steps=STEPS)
@example(steps=[5, "send", 4, "lost", "kill"])
@settings(max_examples=20, deadline=None)
def test_every_count_arrives_once(receiver_of: type[Receiver], steps: list[int | str]) -> None:
    """Through lost answers and kills at any moment, what Prometheus takes for counted is what the service counted."""

    async def scenario() -> None:
        receiver = receiver_of()
        counted = at = 0
        async with Sink() as sink:
            sink.judge = receiver.judge
            sidecar = Sidecar(sink)
            await sidecar.start()
            for step in [*steps, 1]:
                if isinstance(step, int):
                    at += 15_000
                    counted += step
                    sidecar.waiting.append(request(payload(delta(step, NOW + at)), wall_ms=at))
                elif step == "kill":
                    await sidecar.stop()
                    await sidecar.start()
                elif sidecar.waiting:
                    receiver.script = [] if step == "send" else [step]
                    try:
                        await sidecar.send()
                    except Retryable:
                        assert step != "send"
            while sidecar.waiting:
                await sidecar.send()
            await sidecar.stop()
        assert increase(receiver.points["hits_total"]) == counted

    asyncio.run(scenario())


def test_sums_of_numbers_and_of_histograms_go_on() -> None:
    """What was taken is kept, numbers and native histograms alike; what is given up is kept no more."""
    first = Sums(10)
    found = first.begin(
        samples(delta(3, NOW), exponential("e", NOW, [1, 2], temporality=1, start_ms=NOW - 500, total=1.0))
    )
    kept = {key: value for key, value in first.kept(first.taken(found.samples)).items() if value is not None}
    assert len(kept) == 2
    second = Sums(10)
    second.resume(kept)
    more = [delta(4, NOW + 1000), exponential("e", NOW + 1000, [1, 2], temporality=1, start_ms=NOW + 500, total=1.0)]
    assert second.begin(samples(*more)).samples == first.begin(samples(*more)).samples
    assert second.kept(second.doubtful(sample[1] for sample in found.samples)) == dict.fromkeys(kept)
