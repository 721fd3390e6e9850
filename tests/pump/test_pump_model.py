"""Random histories against a model: answers of all kinds, crashes at any moment, holes in files, lines that keep coming."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from shipper.errors import LedgerFull, Rejected, Retryable, TooLarge, Unusable
from shipper.pump import Pump
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, lines_of

LARGEST = 400  # bytes of a request that a destination takes
DESTINATIONS = ("one", "two")
STREAMS = ("a", "b", "c")

STEP = st.one_of(
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
        if mood < 0.1:
            raise Retryable("sink: HTTP 503")
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
    written: dict[bytes, tuple[str, int, int]] = field(default_factory=dict)  # line -> stream, start, end

    def begin_run(self) -> list[Pump]:
        """New pumps, with limits of their own, over the same ledger and streams."""
        self.host.new_run()
        pumps = []
        for name in DESTINATIONS:
            exporter = ScriptedExporter(name)
            exporter.limits = Limits(max_raw_bytes=700, max_in_flight=self.dice.choice([1, 4]), max_batches=5)
            exporter.answer = self.moody[name]
            pumps.append(self.host.pump(exporter, random=self.dice, batch_bytes=self.dice.choice([64, 300])))
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
                mine = [line for line, place in self.written.items() if place[0] == name]
                assert counts.read == len(mine)
                assert counts.filtered == sum(line.startswith(b"#") for line in mine)
                assert counts.quarantined == sum(line.startswith(b"poison") for line in mine)


async def history(directory: Path, steps: list[tuple[str, float, int]], seed: int) -> None:
    """Play ``steps``, then let everything calm down, then look."""
    host = Host(directory)
    world = World(host, Random(seed))
    world.moody = {name: Moody(host, world.dice) for name in DESTINATIONS}
    for name in STREAMS:
        host.add(MemoryStream(name))
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
                for pump in pumps:
                    assert await host.drained(pump, 1e6)
    for name in DESTINATIONS:
        world.check(name)
    host.close()


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=40), seed=st.integers(0, 2**32))
def test_everything_is_accounted_for_at_every_destination(steps: list[tuple[str, float, int]], seed: int) -> None:
    """Whatever is answered, destroyed, and whenever it dies: all arrives, by key once, or is counted and named."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(history(Path(directory), steps, seed))
