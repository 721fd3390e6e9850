"""Several destinations, of which one is ill: the others get everything as soon as if that one were not there.

To the moment, in the time of the clock; and however much the ill one lacks, nobody else's books know of it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from shipper.errors import Rejected, Retryable, TooLarge, Unusable
from shipper.pump import Pump
from shipper.pump.workbench import Workbench
from tests.pump.pumpkit import Answer, ForgetfulStream, Host, ScriptedExporter, ValuedStream, lines_of

STREAMS = ("a", "b")
WELL = ("first", "second")
ILL = "ill"
Step = tuple[str, float]
Taken = list[tuple[float, tuple[bytes, ...]]]  # when, and which lines

STEP = st.one_of(
    st.tuples(st.sampled_from(STREAMS), st.integers(1, 60)),
    st.tuples(st.sampled_from(STREAMS), st.integers(1, 60)),
    st.tuples(st.just("wait"), st.floats(0.01, 30)),
    st.tuples(st.sampled_from(["drain", "drain over"]), st.just(0)),
    st.tuples(st.just("ill turns"), st.integers(0, 9)),
)


def illnesses(host: Host, dice: Random) -> dict[str, Answer]:
    """All that one can suffer from, by name."""

    def failing(error: Callable[[], Exception]) -> Answer:
        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            raise error()

        return answer

    async def slow(prepared: Prepared, deadline: Deadline) -> Accepted:
        await host.clock.sleep(dice.uniform(1, 20))
        return Accepted()

    async def never(prepared: Prepared, deadline: Deadline) -> Accepted:
        await asyncio.Event().wait()
        raise AssertionError

    async def partly(prepared: Prepared, deadline: Deadline) -> Accepted:
        return Accepted(rejected=10_000, message="more than there were")

    async def takes_lines_only(prepared: Prepared, deadline: Deadline) -> Accepted:
        if len(lines_of(prepared)) > 1:
            raise TooLarge("HTTP 413")
        raise Rejected("HTTP 400")

    return {
        "slow": slow,
        "never answers": never,
        "answers nonsense": partly,
        "has a bug": failing(lambda: RuntimeError("a bug")),
        "refuses everything": takes_lines_only,
        "is unusable": failing(lambda: Unusable("HTTP 401")),
        "is down": failing(lambda: Retryable("connection refused", unsent=True)),
        "is overloaded": failing(lambda: Retryable("HTTP 429", dice.uniform(0.1, 60))),
        "dies half-way": failing(lambda: Retryable("closed the connection")),
        "is well": slow,
    }


def takes(host: Host, taken: Taken, dice: Random) -> Answer:
    """A destination in good health, and when it took what."""

    async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
        await host.clock.sleep(dice.choice([0.002, 0.05, 0.3]))
        taken.append((host.clock.monotonic(), tuple(lines_of(prepared))))
        return Accepted()

    return answer


async def story(
    directory: Path, steps: Sequence[Step], *, ill_at: int | None, illness: str, seed: int
) -> dict[str, Taken]:
    """What the well ones took and when, with the ill one at a place among them (None: without it)."""
    host = Host(directory)
    took: dict[str, Taken] = {name: [] for name in WELL}
    names = list(WELL)
    if ill_at is not None:
        names.insert(ill_at, ILL)
    pumps: dict[str, Pump] = {}
    suffers = illnesses(host, Random(seed))
    bad = ScriptedExporter(ILL)
    bench = Workbench()
    for name in names:
        exporter = bad if name == ILL else ScriptedExporter(name)
        exporter.limits = Limits(max_raw_bytes=300, max_in_flight=2, max_batches=4)
        exporter.answer = suffers[illness] if name == ILL else takes(host, took[name], Random(seed + WELL.index(name)))
        pumps[name] = host.pump(exporter, random=Random(seed), batch_bytes=100, bench=bench)
    host.add(ValuedStream("a"))
    host.add(ForgetfulStream("b"))
    written = 0
    async with host.running(*pumps.values()):
        for what, size in steps:
            if what in STREAMS:
                lines = range(written, written + int(size))
                written += int(size)
                host.write(host.streams[what], b"".join(b"line %d\n" % line for line in lines))
            elif what == "wait":
                await host.clock.run(size)
            elif what == "ill turns":
                bad.answer = list(suffers.values())[int(size)]
            else:
                for pump in pumps.values():
                    pump.deadline = Deadline.after(host.clock, 60 if what == "drain" else 1e9)
                    pump.urgent(what == "drain")
                    pump.order_by_value(what == "drain")
        await host.clock.run(40)
        for name in WELL:
            assert pumps[name].backlog_bytes() == 0, f"{name} is held up"
    for name in WELL:
        counts = [host.ledger.ledger.cursor(name, stream).counts for stream in STREAMS]
        assert sum(one.acknowledged for one in counts) == written
        assert not any(one.dropped or one.quarantined or one.rejected for one in counts)
    host.close()
    return took


@settings(max_examples=20, deadline=None)
@given(
    steps=st.lists(STEP, min_size=2, max_size=20),
    ill_at=st.integers(0, 2),
    illness=st.sampled_from(sorted(illnesses(None, Random()))),  # type: ignore[arg-type]
    seed=st.integers(0, 2**32),
)
def test_nobody_waits_for_one_that_is_ill(steps: list[Step], ill_at: int, illness: str, seed: int) -> None:
    """Whatever it suffers from, in whatever place of the list: the others take the same, at the same moments."""
    with tempfile.TemporaryDirectory() as with_it, tempfile.TemporaryDirectory() as without:
        beside = asyncio.run(story(Path(with_it), steps, ill_at=ill_at, illness=illness, seed=seed))
        alone = asyncio.run(story(Path(without), steps, ill_at=None, illness=illness, seed=seed))
    assert beside == alone
