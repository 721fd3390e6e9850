"""Random histories against a model: answers of all kinds, crashes at any moment, holes in files, lines that keep coming."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from shipper.errors import LedgerFull, Rejected, Retryable, TooLarge, Unusable
from shipper.pump import Pump, value
from shipper.pump.share import Share
from tests.pump.pumpkit import ForgetfulStream, Host, ScriptedExporter, ValuedStream, lines_of

LARGEST = 400  # bytes of a request that a destination takes
DESTINATIONS = ("one", "two")
STREAMS = ("a", "b", "c")

RESCUE = "rescue"

STEP = st.one_of(
    st.tuples(st.just("by value"), st.integers(0, 1), st.integers(0, 1)),
    st.tuples(st.just("fallback"), st.integers(0, 1), st.just(0)),
    st.tuples(st.sampled_from(["line", "line", "poison", "#"]), st.integers(0, 2), st.integers(1, 60)),
    st.tuples(st.just("destroy"), st.integers(0, 2), st.integers(0, 100)),
    st.tuples(st.just("wait"), st.floats(0.001, 20), st.just(0)),
    st.tuples(st.just("crash"), st.just(0), st.just(0)),
    st.tuples(st.just("disk full"), st.integers(1, 4), st.just(0)),
)


class Moody:
    """A destination that takes what it takes, but fails, throttles, is slow, and fails after taking, as its dice say."""

    def __init__(self, host: Host, dice: Random) -> None:
        self.host = host
        self.dice = dice
        self.calm = False
        self.has: dict[str, bytes] = {}  # what really is there by key, also where we answered that it failed

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        mood = 0.9 if self.calm else self.dice.random()
        await self.host.clock.sleep(self.dice.choice([0, 0, 0.01, 0.5]))
        if mood < 0.05:
            raise Retryable("sink: HTTP 503")
        if mood < 0.1:
            raise Retryable("sink: cannot connect", unsent=True)
        if mood < 0.15:
            raise Retryable("sink: HTTP 429", self.dice.uniform(0.1, 40))
        if mood < 0.2:
            raise Unusable("HTTP 401")
        if mood < 0.25:
            raise RuntimeError("a bug")
        lines = lines_of(prepared)
        if sum(map(len, lines)) > LARGEST and len(lines) > 1:
            raise TooLarge("HTTP 413")
        if any(line.startswith(b"poison") for line in lines):
            raise Rejected("HTTP 400")
        for got in prepared.body:
            assert self.has.setdefault(got.key, got.payload) == got.payload, "the same key always has the same bytes"
        if mood < 0.35:
            raise Retryable("sink: closed the connection in the middle of its answer")
        return Accepted()


@dataclass
class World:
    """One host, its two destinations, and everything that was ever written."""

    host: Host
    dice: Random
    moody: dict[str, Moody] = field(default_factory=dict)
    pumps: list[Pump] = field(default_factory=list)
    rescue: Pump | None = None
    written: dict[bytes, tuple[str, int, int]] = field(default_factory=dict)  # line -> stream, start, end

    def begin_run(self) -> list[Pump]:
        """New pumps, with limits of their own, over the same ledger and streams."""
        self.host.new_run()
        pumps = []
        for name in (*DESTINATIONS, RESCUE):
            exporter = ScriptedExporter(name)
            exporter.limits = Limits(max_raw_bytes=700, max_in_flight=self.dice.choice([1, 4]), max_batches=5)
            exporter.answer = self.moody[name]
            batch_bytes = self.dice.choice([64, 300])
            pumps.append(self.host.pump(exporter, random=self.dice, batch_bytes=batch_bytes, standby=name == RESCUE))
        *self.pumps, self.rescue = pumps
        for pump in self.pumps:
            pump.order_by_value(self.dice.random() < 0.5)
        for stream in self.host.streams.values():
            self.host.hub.add(stream)
        return pumps

    def write(self, name: str, word: str, count: int) -> None:
        """Append numbered lines; no two lines of a history are the same."""
        stream = self.host.streams[name]
        data = bytearray()
        for _ in range(min(count, 3) if word == "poison" else count):
            line = f"{word} {len(self.written)}".encode()
            start = stream.frontier() + len(data)
            self.written[line] = (name, start, start + len(line) + 1)
            data += line + b"\n"
        self.host.write(stream, bytes(data))

    def destroy(self, name: str, percent: int) -> None:
        """Make some whole lines that are still needed unreadable."""
        stream = self.host.streams[name]
        lines = [place[1:] for place in self.written.values() if place[0] == name and place[1] >= stream.released_to]
        if lines:
            first = percent * (len(lines) - 1) // 100
            stream.destroyed.add(lines[first][0], lines[min(len(lines) - 1, first + 3)][1])

    async def act(self, step: tuple[str, float, int]) -> None:
        what, one, two = step
        if what == "wait":
            await self.host.clock.run(one)
        elif what == "by value":
            self.pumps[int(one)].order_by_value(bool(two))
        elif what == "fallback" and self.rescue is not None:
            self.rescue.stand_by()
            if one:
                self.rescue.activate(Share(self.pumps))
        elif what == "disk full":
            self.host.ledger.fails = [LedgerFull("disk full") for _ in range(int(one))]
        elif what == "destroy":
            self.destroy(STREAMS[int(one)], two)
        else:
            self.write(STREAMS[int(one)], what, two)
        await asyncio.sleep(0)

    def check(self, destination: str) -> None:
        """Everything that was written is accounted for at a destination, and nothing twice."""
        ledger = self.host.ledger.ledger
        assert ledger.open_requests(destination) == []
        cursors = {name: ledger.cursor(destination, name) for name in STREAMS}
        arrived = [line for payload in self.moody[destination].has.values() for line in payload.splitlines()]
        aside = {
            line
            for batch, to, *_ in self.host.quarantine.kept
            if to == destination
            for line in batch.payload.splitlines()
        }
        assert len(arrived) == len(set(arrived)), "by key exactly once"
        for line, (name, start, end) in self.written.items():
            cursor = cursors[name]
            if line in aside:
                assert line.startswith(b"poison")
                assert cursor.quarantined.covers(start, end)
            elif not line.startswith(b"#") and line not in arrived:
                assert cursor.lost.covers(start, end), f"{line!r} is neither there nor counted as lost"
        for name, stream in self.host.streams.items():
            cursor, counts = cursors[name], cursors[name].counts
            assert cursor.pending == 0
            assert cursor.done.covers(0, stream.frontier())
            assert stream.released_to == stream.frontier()
            settled = counts.acknowledged + counts.filtered + counts.dropped + counts.quarantined
            assert counts.read == settled
            if not stream.destroyed:
                assert not cursor.lost
                mine = [line for line, place in self.written.items() if place[0] == name]
                assert counts.read == len(mine)
                assert counts.filtered == sum(line.startswith(b"#") for line in mine)
                assert counts.quarantined == sum(line.startswith(b"poison") for line in mine)

    def check_rescue(self) -> None:
        """The fallback got nothing twice, and knows what it got."""
        ledger = self.host.ledger.ledger
        arrived = [line for payload in self.moody[RESCUE].has.values() for line in payload.splitlines()]
        assert len(arrived) == len(set(arrived))
        for line, (name, start, end) in self.written.items():
            cursor = ledger.cursor(RESCUE, name)
            if cursor.acknowledged.covers(start, end) and not line.startswith(b"#"):
                assert line in arrived


async def history(directory: Path, steps: list[tuple[str, float, int]], seed: int, backlog: int = 0) -> None:
    """Play ``steps``, then let everything calm down, then look."""
    host = Host(directory)
    world = World(host, Random(seed))
    world.moody = {name: Moody(host, world.dice) for name in (*DESTINATIONS, RESCUE)}
    for name in STREAMS:
        host.add(ValuedStream(name) if name != "c" else ForgetfulStream(name))
    if backlog:
        for name in STREAMS:
            for word in ("line", "poison", "line", "#", "bad", "line"):
                world.write(name, word, backlog)
    runs: list[list[tuple[str, float, int]]] = [[]]
    for step in steps:
        if step[0] == "crash":
            runs.append([])
        else:
            runs[-1].append(step)
    for number, run in enumerate(runs):
        pumps = world.begin_run()
        async with host.running(*pumps):
            for step in run:
                await world.act(step)
            if number == len(runs) - 1:
                for pump in pumps:
                    world.moody[pump.name].calm = True
                if world.rescue is not None:
                    world.rescue.stand_by()
                for pump in world.pumps:
                    assert await host.drained(pump, 1e6)
    world.check_rescue()
    for name in DESTINATIONS:
        world.check(name)
    host.close()


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, min_size=5, max_size=30), seed=st.integers(0, 2**32), backlog=st.integers(1, 40))
def test_a_backlog_cut_out_of_order_is_accounted_for(
    steps: list[tuple[str, float, int]], seed: int, backlog: int
) -> None:
    """The same for drains of a backlog: whatever goes first, whoever takes over, and whenever it dies."""
    with (
        tempfile.TemporaryDirectory() as directory,
        patch.object(value, "BLOCK", 64),
        patch.object(value, "SLICE", 256),
    ):
        asyncio.run(history(Path(directory), steps, seed, backlog))


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=40), seed=st.integers(0, 2**32))
def test_everything_is_accounted_for_at_every_destination(steps: list[tuple[str, float, int]], seed: int) -> None:
    """Whatever is answered, destroyed, and whenever it dies: all arrives, by key once, or is counted and named."""
    with (
        tempfile.TemporaryDirectory() as directory,
        patch.object(value, "BLOCK", 64),
        patch.object(value, "SLICE", 256),
    ):
        asyncio.run(history(Path(directory), steps, seed))
