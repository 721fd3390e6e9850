"""Random histories against a model: answers of all kinds, crashes at any moment, lines that keep coming."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from shipper.errors import LedgerFull, Rejected, Retryable, TooLarge, Unusable
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, lines_of

LARGEST = 400  # bytes of a request that the destination takes

STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 2), st.integers(1, 60)),
    st.tuples(st.just("poison"), st.integers(0, 2), st.integers(1, 2)),
    st.tuples(st.just("noise"), st.integers(0, 2), st.integers(1, 5)),
    st.tuples(st.just("wait"), st.floats(0.001, 20), st.just(0)),
    st.tuples(st.just("crash"), st.just(0), st.just(0)),
    st.tuples(st.just("disk full"), st.integers(1, 4), st.just(0)),
)


class Moody:
    """A destination that takes what it takes, but fails, lies about failing, throttles and is slow as its dice say."""

    def __init__(self, host: Host, dice: Random) -> None:
        self.host = host
        self.dice = dice
        self.calm = False
        self.kept: list[tuple[str, bytes]] = []  # what really is there: every batch, also when we said it failed

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
        self.kept.extend((got.key, got.payload) for got in prepared.body)
        if mood < 0.35:
            raise Retryable("sink: closed the connection in the middle of its answer")
        return Accepted()


async def history(directory: Path, steps: list[tuple[str, float, int]], seed: int) -> None:
    dice = Random(seed)
    host = Host(directory)
    moody = Moody(host, dice)
    streams = [host.add(MemoryStream(name)) for name in "abc"]
    wanted: dict[bytes, str] = {}
    poison: set[bytes] = set()
    noise = 0
    number = 0

    def write(stream: MemoryStream, word: bytes, count: int) -> list[bytes]:
        nonlocal number
        lines = [b"%s %d" % (word, number + n) for n in range(count)]
        number += count
        host.write(stream, b"".join(line + b"\n" for line in lines))
        return lines

    pending = list(steps)
    while True:
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_raw_bytes=700, max_in_flight=dice.choice([1, 4]), max_batches=5)
        exporter.answer = moody
        pump = host.pump(exporter, random=dice, batch_bytes=dice.choice([64, 300]))
        for stream in streams:
            host.hub.add(stream)
        async with host.running(pump):
            while pending:
                what, one, two = pending.pop(0)
                if what == "wait":
                    await host.clock.run(one)
                elif what == "crash":
                    break
                elif what == "disk full":
                    host.ledger.fails = [LedgerFull("disk full") for _ in range(int(one))]
                else:
                    stream = streams[int(one)]
                    word = {"write": b"line", "poison": b"poison", "noise": b"#"}[what]
                    lines = write(stream, word, two)
                    wanted.update((line, stream.id) for line in lines if what == "write")
                    poison.update(lines if what == "poison" else ())
                    noise += two if what == "noise" else 0
                await asyncio.sleep(0)
            else:
                moody.calm = True
                assert await host.drained(pump, 1e6)
                check(host, moody, wanted, poison, noise)
                host.close()
                return
        host.new_run()


def check(host: Host, moody: Moody, wanted: dict[bytes, str], poison: set[bytes], noise: int) -> None:
    by_key: dict[str, bytes] = {}
    for key, payload in moody.kept:
        assert by_key.setdefault(key, payload) == payload, "the same key always has the same bytes"
    once = [line for payload in by_key.values() for line in payload.splitlines()]
    assert sorted(once) == sorted(wanted), "everything arrives, and by key exactly once"
    assert set(host.quarantine.lines()) == poison
    ledger = host.ledger.ledger
    assert ledger.open_requests("dest") == []
    totals = [ledger.cursor("dest", name).counts for name in "abc"]
    assert sum(c.read for c in totals) == len(wanted) + len(poison) + noise
    assert sum(c.acknowledged for c in totals) == len(wanted)
    assert sum(c.quarantined for c in totals) == len(poison)
    assert sum(c.filtered for c in totals) == noise
    for stream in host.streams.values():
        assert stream.released_to == stream.frontier() or not stream.data
        assert ledger.low(stream.id, ["dest"]) == stream.frontier()


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=40), seed=st.integers(0, 2**32))
def test_everything_arrives_exactly_once_by_key(steps: list[tuple[str, float, int]], seed: int) -> None:
    """Whatever the destination answers and whenever the pump dies: all arrives, by key once, and the account adds up."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(history(Path(directory), steps, seed))
