"""Routes under random answers, kills and changes: each destination ends up with just its records, and the books say so."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from random import Random
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, Batch, Limits, Prepared, Signal
from shipper.errors import Rejected, Retryable, TooLarge
from shipper.otlp.decode import records
from shipper.pump import Pump, value
from shipper.pump.route import Route
from shipper.pump.route_rules import Condition, Pattern, Rule
from tests.pump.pumpkit import Host, ScriptedExporter, ValuedStream
from tests.pump.test_pump_routes import OtlpStream

ROUTES = {
    "every": None,
    "errors": Condition(severity=(17, 24)),
    "of-n1": Condition(attributes=(("who", Pattern(["n1"])),), never=(Condition(severity=(9, 12)),)),
    "nothing": Condition(event_name=Pattern(["order.*"])),
}
STREAMS = ("a", "b")

STEP = st.one_of(
    st.tuples(st.sampled_from(["error", "warn", "info", "info"]), st.integers(0, 1), st.integers(1, 12)),
    st.tuples(st.just("wait"), st.floats(0.001, 20), st.just(0)),
    st.tuples(st.just("by value"), st.integers(0, 3), st.integers(0, 1)),
    st.tuples(st.just("crash"), st.just(0), st.just(0)),
)


class Valued(OtlpStream, ValuedStream):
    """One that can be cut out of order, with the records of the other."""

    def _batch(self, start: int, end: int, observed_ns: int) -> Batch:
        return super()._batch(start, end, observed_ns)


def wanted(name: str, line: str) -> bool:
    """The plain meaning of the routes above."""
    severity, who, _ = line.split()
    if name == "errors":
        return severity == "error"
    if name == "of-n1":
        return who == "n1" and severity != "info"
    return name == "every"


class Dicey:
    """A destination that fails, fails after taking, wants small requests, and refuses one line for good."""

    def __init__(self, host: Host, dice: Random) -> None:
        self.host = host
        self.dice = dice
        self.calm = False
        self.has: dict[str, bytes] = {}

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        mood = 0.9 if self.calm else self.dice.random()
        await self.host.clock.sleep(self.dice.choice([0, 0, 0.01, 0.5]))
        if mood < 0.15:
            raise Retryable("HTTP 503")
        found = [str(record.body) for got in prepared.body for record in records(Signal.LOGS, got.payload)]
        assert found, "a request without records is not sent"
        if len(found) > 4:
            raise TooLarge("HTTP 413")
        if any(line.endswith("7") for line in found):
            raise Rejected("HTTP 400")
        for got in prepared.body:
            assert self.has.setdefault(got.key, got.payload) == got.payload, "the same key always has the same bytes"
        if mood < 0.3:
            raise Retryable("closed in the middle of an answer")
        return Accepted()

    def lines(self) -> list[str]:
        return [str(record.body) for payload in self.has.values() for record in records(Signal.LOGS, payload)]


def begin(host: Host, dice: Random, dicey: dict[str, Dicey]) -> list[Pump]:
    """New pumps over the same ledger and streams."""
    host.new_run()
    pumps = []
    for name, condition in ROUTES.items():
        exporter = ScriptedExporter(name)
        exporter.limits = Limits(max_raw_bytes=3000, max_in_flight=dice.choice([1, 4]), max_batches=5)
        exporter.answer = dicey[name]
        route = None if condition is None else Route([Rule(frozenset({Signal.LOGS}), (condition,))])
        pumps.append(host.pump(exporter, random=dice, batch_bytes=dice.choice([64, 300]), route=route))
    for stream in host.streams.values():
        host.hub.add(stream)
    return pumps


def check(host: Host, name: str, written: dict[str, list[str]], dicey: Dicey) -> None:
    """What is there, and what the books say, of one destination."""
    arrived = dicey.lines()
    assert len(arrived) == len(set(arrived)), "by key exactly once"
    for stream, lines in written.items():
        mine = [line for line in lines if wanted(name, line)]
        refused = [line for line in mine if line.endswith("7")]
        assert sorted(line for line in arrived if f" {stream}" in line) == sorted(set(mine) - set(refused))
        counts = host.ledger.ledger.cursor(name, stream).counts
        assert (counts.read, counts.filtered) == (len(lines), len(lines) - len(mine))
        assert (counts.acknowledged, counts.quarantined) == (len(mine) - len(refused), len(refused))


async def history(directory: Path, steps: list[tuple[str, float, int]], seed: int) -> None:
    """Play ``steps``, then let everything calm down, then look."""
    host, dice = Host(directory), Random(seed)
    dicey = {name: Dicey(host, dice) for name in ROUTES}
    written: dict[str, list[str]] = {name: [] for name in STREAMS}
    for name in STREAMS:
        host.add(Valued(name) if name == "a" else OtlpStream(name))
    runs: list[list[tuple[str, float, int]]] = [[]]
    for step in steps:
        if step[0] == "crash":
            runs.append([])
        else:
            runs[-1].append(step)
    for number, run in enumerate(runs):
        pumps = begin(host, dice, dicey)
        async with host.running(*pumps):
            for what, one, two in run:
                if what == "wait":
                    await host.clock.run(one)
                elif what == "by value":
                    pumps[int(one)].order_by_value(bool(two))
                else:
                    name = STREAMS[int(one)]
                    new = [f"{what} n{at % 3} {name}{len(written[name]) + at}" for at in range(two)]
                    written[name] += new
                    host.write(host.streams[name], "".join(f"{line}\n" for line in new).encode())
                await asyncio.sleep(0)
            if number == len(runs) - 1:
                for pump in pumps:
                    dicey[pump.name].calm = True
                    assert await host.drained(pump, 1e6)
    for name in ROUTES:
        check(host, name, written, dicey[name])
    for stream in host.streams.values():
        assert stream.released_to == stream.frontier()
    host.close()


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=25), seed=st.integers(0, 2**32))
def test_each_ends_up_with_just_its_records(steps: list[tuple[str, float, int]], seed: int) -> None:
    """Whatever is answered, and whenever it dies."""
    with (
        tempfile.TemporaryDirectory() as directory,
        patch.object(value, "BLOCK", 64),
        patch.object(value, "SLICE", 256),
    ):
        asyncio.run(history(Path(directory), steps, seed))
