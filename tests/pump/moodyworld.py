"""The world of the pumps' models: a host, moody destinations, everything that was ever written, and what must be true of it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Self
from unittest.mock import patch

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
Step = tuple[str, float, int]


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

    @classmethod
    def over(cls, host: Host, seed: int, mood: type[Moody] = Moody) -> Self:
        """A world on that host: its streams, and destinations of that kind."""
        world = cls(host, Random(seed))
        world.moody = {name: mood(host, world.dice) for name in (*DESTINATIONS, RESCUE)}
        for name in STREAMS:
            host.add(ValuedStream(name) if name != "c" else ForgetfulStream(name))
        return world

    async def live(self, steps: list[Step], calm_down: Callable[[], Awaitable[None]]) -> None:
        """Play the steps, with a new run after each crash; in the last one everything calms down."""
        runs: list[list[Step]] = [[]]
        for step in steps:
            if step[0] == "crash":
                runs.append([])
            else:
                runs[-1].append(step)
        for number, run in enumerate(runs):
            async with self.host.running(*self.begin_run()):
                for step in run:
                    await self.act(step)
                if number == len(runs) - 1:
                    await calm_down()

    def check_all(self) -> None:
        """Everything that must be true in the end."""
        self.check_rescue()
        for name in DESTINATIONS:
            self.check(name)

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

    async def act(self, step: Step) -> None:
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


@contextmanager
def a_host() -> Iterator[Host]:
    """One whose streams are worth looking at in small ranges."""
    with (
        tempfile.TemporaryDirectory() as directory,
        patch.object(value, "BLOCK", 64),
        patch.object(value, "SLICE", 256),
    ):
        host = Host(Path(directory))
        yield host
        host.close()
