"""The small parts of the pump: bucket, back-off, exposure histogram, pulse, gate, window, sizes."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Limits, Signal
from shipper.errors import Retryable
from shipper.pump.backoff import Backoff
from shipper.pump.cause import cause_of
from shipper.pump.exposure import ExposureHistogram
from shipper.pump.gate import Gate
from shipper.pump.gather import Parcel, Sizing
from shipper.pump.pace import TokenBucket
from shipper.pump.pulse import Pulse
from shipper.pump.window import Window
from shipper.testing.clock import FakeClock


@given(rate=st.floats(0.1, 100), burst=st.integers(1, 50), steps=st.lists(st.floats(0, 3), max_size=60))
def test_bucket_never_gives_more_than_burst_and_rate(rate: float, burst: int, steps: list[float]) -> None:
    """Over any time a bucket gives at most its burst plus its rate times that time."""
    clock = FakeClock()
    bucket = TokenBucket(clock, rate, burst)
    taken = 0
    begin = clock.monotonic()
    for step in steps:
        clock.advance(step)
        while bucket.take():
            taken += 1
        assert taken <= burst + rate * (clock.monotonic() - begin) + 0.001
        assert bucket.wait() > 0


def test_bucket_says_exactly_how_long_to_wait() -> None:
    """After the wait a bucket names, a token is there."""
    clock = FakeClock()
    bucket = TokenBucket(clock, 5.0, 1)
    assert bucket.take()
    assert not bucket.take()
    clock.advance(bucket.wait())
    assert bucket.take()


def test_bucket_refuses_a_rate_that_never_gives() -> None:
    """A bucket without rate or burst is a mistake."""
    with pytest.raises(ValueError, match="positive rate"):
        TokenBucket(FakeClock(), 0, 1)


def test_backoff_grows_to_its_limit_with_jitter() -> None:
    """Delays are drawn from [0, limit], and the limit doubles from 0.1 to 30 seconds."""
    backoff = Backoff(Random(3))
    limits = [min(30.0, 0.1 * 2**n) for n in range(40)]
    delays = [backoff.next() for _ in limits]
    assert all(0 <= delay <= limit for delay, limit in zip(delays, limits, strict=True))
    assert len(set(delays)) == len(delays)
    assert max(backoff.next(5.0) for _ in range(50)) <= 5.0  # a shorter limit for this time
    backoff.reset()
    assert backoff.next() <= 0.1


@given(st.lists(st.floats(0.0002, 5000), min_size=1, max_size=300))
def test_exposure_percentiles_are_five_percent_exact(values: list[float]) -> None:
    """A percentile is never below the true one, and at most 5 % above it."""
    histogram = ExposureHistogram()
    for value in values:
        histogram.add(value)
    for share in (0.5, 0.99):
        true = sorted(values)[max(0, -(-int(share * len(values) * 100) // 100) - 1)]
        assert histogram.percentile(share) >= true * 0.999
    stats = histogram.stats(1.5)
    assert stats.max == max(values)
    assert stats.count == len(values)
    assert stats.p50 <= stats.p99 <= stats.max
    assert stats.oldest == 1.5


def test_no_exposure_is_zero() -> None:
    """Without batches all figures are zero."""
    assert ExposureHistogram().stats(0.0).p99 == 0.0


def test_pulse_is_not_missed_between_look_and_wait() -> None:
    """A beat after the count was taken ends a wait that begins later."""

    async def story() -> None:
        clock, pulse = FakeClock(), Pulse()
        seen = pulse.beats
        pulse.beat()
        await asyncio.wait_for(pulse.wait(clock, since=seen), 5)

    asyncio.run(story())


def test_pulse_wait_ends_by_time_and_leaves_no_sleeper() -> None:
    """A wait ends after its seconds; one that is ended by a beat takes its alarm along."""

    async def story() -> None:
        clock, pulse = FakeClock(), Pulse()
        waiting = asyncio.create_task(pulse.wait(clock, 3.0))
        await clock.run(2.9)
        assert not waiting.done()
        await clock.run(0.1)
        assert waiting.done()
        waiting = asyncio.create_task(pulse.wait(clock, 3.0))
        await clock.settle()
        pulse.beat()
        await waiting
        await clock.settle()
        assert clock.sleeping() == 0

    asyncio.run(story())


def test_gate_honours_a_wish_up_to_the_deadline() -> None:
    """A destination's wish is honoured; where the deadline comes first, there is a last try shortly before it."""
    clock = FakeClock()
    gate = Gate(clock)
    gate.hold(3600)
    assert gate.wait() == 3600
    gate.deadline = Deadline.after(clock, 20)
    assert gate.wait() == 19
    clock.advance(19.5)
    assert gate.wait() == 0
    gate.hold(3600, at_least=0.2)
    assert gate.wait() == pytest.approx(0.2)


def test_gate_shortens_our_own_delays_in_a_drain() -> None:
    """In a drain a back-off takes a tenth of what is left at most, but never spins."""
    clock = FakeClock()
    gate = Gate(clock)
    assert gate.capped(30) == 30
    gate.deadline = Deadline.after(clock, 20)
    assert gate.capped(30) == 2
    clock.advance(19.9)
    assert gate.capped(30) == 0.05


def test_window_lets_nobody_wait_behind_a_hung_request() -> None:
    """A part-filled request gathers behind a young one, up to twice the usual answer time."""
    clock = FakeClock()
    window = Window(clock)
    window.answered(0.050)
    assert window.part_filled_wait(4, lifted=False) == 0
    window.enter(Parcel("r1", Signal.LOGS, [], clock.monotonic()))
    assert window.part_filled_wait(4, lifted=False) == pytest.approx(0.1)
    assert window.part_filled_wait(4, lifted=True) == pytest.approx(0.0125)
    clock.advance(0.1)
    assert window.part_filled_wait(4, lifted=False) == 0


def test_window_halves_when_asked_for_mercy_and_recovers() -> None:
    """After an overload fewer are sent at a time, and apart from each other; each answer allows one more, and sooner."""

    async def story() -> int:
        clock = FakeClock()
        window = Window(clock)
        for request in "ab":  # one refusal may be a hiccup
            clock.advance(1)
            window.mercy(request, clock.monotonic(), 30)
        most = running = 0

        async def one() -> None:
            nonlocal most, running
            await window.admits()
            with window.sending(Parcel("r", Signal.LOGS, [], 0.0)):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                running -= 1

        async with clock.autojump():
            began = clock.monotonic()
            await asyncio.gather(*(one() for _ in range(5)))
            assert clock.monotonic() - began > 3
            for _ in range(40):
                window.answered(0.01)
            began = clock.monotonic()
            await one()
            assert clock.monotonic() == began
        return most

    assert asyncio.run(story()) == 1


def test_sizing_follows_what_was_measured() -> None:
    """The allowed raw size follows the compression ratio, and shrinks after a refusal for size."""
    limits, sizing = Limits(max_raw_bytes=4 << 20), Sizing()
    for _ in range(40):
        sizing.measured(source=1 << 20, raw=1 << 20, wire=1 << 19)
    assert sizing.max_raw(limits) == pytest.approx(2 << 20, rel=0.01)
    for _ in range(40):
        sizing.measured(source=1 << 20, raw=1 << 20, wire=1 << 10)
    assert sizing.max_raw(limits) == limits.max_raw_bytes
    sizing.too_large(1 << 20)
    assert sizing.max_raw(limits) == 1 << 19
    sizing.accepted(1 << 19)
    assert sizing.max_raw(limits) > 1 << 19


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("localhost:4318: HTTP 503", "http_503"),
        ("http://127.0.0.1:443/v1/logs answered 503 Service Unavailable: at most 400 a minute", "http_503"),
        ("http://10.1.2.127/v1/logs: closed the connection without an answer", "connection"),
        ("10.0.0.1:4318: cannot connect: refused", "connection"),
        ("sink: no answer for 10 s", "timeout"),
        ("sink: went away", "other"),
    ],
)
def test_causes_are_a_few_fixed_words(reason: str, cause: str) -> None:
    """What an exporter says becomes one of a few words, never a metric label of its own."""
    assert cause_of(Retryable(reason)) == cause
