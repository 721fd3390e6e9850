"""What may go at once after a pause, and what may not after an outage: thousands of hosts come back to the same destination."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from shipper.errors import DeliveryError, Retryable, Unusable
from shipper.pump.health import FOR_SECONDS, IN_A_ROW, Health
from shipper.pump.pace import TokenBucket
from shipper.testing.clock import FakeClock
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter

PACE = Limits(requests_per_second=1.0, burst=20, max_in_flight=4)


class Away:
    """Fails for ``seconds`` with the same answer to everything, then takes it."""

    def __init__(self, host: Host, seconds: float, error: DeliveryError) -> None:
        self.host = host
        self.back = host.clock.monotonic() + seconds
        self.error = error
        self.taken: list[float] = []

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if self.host.clock.monotonic() < self.back:
            raise self.error
        self.taken.append(self.host.clock.monotonic())
        return Accepted()


def story(directory: Path, seconds: float, error: DeliveryError) -> list[float]:
    """When requests were taken, in seconds after the first, of a host that writes ten lines a second."""

    async def tell() -> list[float]:
        host = Host(directory)
        exporter = ScriptedExporter()
        exporter.limits = PACE
        exporter.answer = away = Away(host, seconds, error)
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            written = 0
            while not away.taken or host.clock.monotonic() < away.taken[0] + 10:
                host.write(stream, b"line %d\n" % written)
                written += 1
                await host.clock.run(0.1)
            assert await host.drained(pump)
        assert sorted(exporter.lines()) == sorted(b"line %d" % n for n in range(written))
        host.close()
        return [at - away.taken[0] for at in away.taken]

    return asyncio.run(tell())


@pytest.mark.parametrize(
    "error", [Retryable("cannot connect: refused", unsent=True), Retryable("HTTP 503"), Unusable("HTTP 401")]
)
def test_after_an_outage_a_host_goes_on_at_its_pace(tmp_path: Path, error: DeliveryError) -> None:
    """What had set out before goes, and what gathered since in one request more; nothing that was saved up meanwhile."""
    taken = story(tmp_path, 60, error)
    for since, until in ((0, 1), (0, 5), (0, 10)):
        assert sum(since <= at < until for at in taken) <= PACE.max_in_flight + 1 + PACE.requests_per_second * until


def test_a_hiccup_costs_no_burst(tmp_path: Path) -> None:
    """One connection that had been closed is no outage: lines that follow go at once."""
    taken = story(tmp_path, 0.1, Retryable("connection reset"))
    assert sum(at < 1.5 for at in taken) >= 10


def test_the_end_of_an_outage_is_the_first_answer_after_lasting_failures() -> None:
    """Several failures over a second are one, and so is a wrong set-up; fewer are not."""
    clock = FakeClock()
    health = Health(clock)
    for _ in range(IN_A_ROW):
        health.failed("refused")
    health.answered()
    assert health.well_since == -math.inf
    for _ in range(IN_A_ROW):
        health.failed("refused")
        clock.advance(FOR_SECONDS)
    health.answered()
    assert health.well_since == clock.monotonic()
    clock.advance(1)
    health.failed("HTTP 401", unusable=True)
    clock.advance(1)
    health.answered()
    assert health.well_since == clock.monotonic()


@settings(max_examples=60, deadline=None)
@given(
    rate=st.floats(0.1, 50),
    burst=st.integers(1, 50),
    before=st.lists(st.floats(0, 5), max_size=20),
    outage=st.floats(0, 100),
    looked=st.booleans(),
    after=st.lists(st.floats(0, 3), max_size=40),
)
def test_a_bucket_forgets_what_it_saved_before_a_moment(
    rate: float, burst: int, before: list[float], outage: float, looked: bool, after: list[float]
) -> None:
    """From the end of an outage on it gives one token and its rate, whatever was taken before; and one soon enough."""
    clock = FakeClock()
    well_since = -math.inf
    bucket = TokenBucket(clock, rate, burst, lambda: well_since)
    for step in before:
        clock.advance(step)
        bucket.take()
    clock.advance(outage)
    if looked:
        bucket.wait()
    well_since = clock.monotonic()
    if outage * rate >= 1:
        assert bucket.wait() == 0
    taken = 0
    for step in after:
        clock.advance(step)
        while bucket.take():
            taken += 1
        assert taken <= min(1, burst) + rate * (clock.monotonic() - well_since) + 0.001
