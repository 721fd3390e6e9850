"""Sending an archive on to a destination that takes requests and acknowledges them later."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, Limits, Prepared, Request
from shipper.errors import Retryable
from shipper.fleet.archive import Archive
from shipper.fleet.records import Selection
from shipper.fleet.replay import Replayed, replay
from shipper.testing.clock import FakeClock
from tests.fleet.archives import Writer, batch

LIMITS = Limits(max_in_flight=2, max_batches=1, max_unacknowledged=5)


class Indexer(Exporter):
    """Takes a request after a tenth of a second, lets its bytes go, and acknowledges it after six; the first time it forgets."""

    def __init__(self, clock: FakeClock) -> None:
        self.name = "indexer"
        self.limits = LIMITS
        self._clock = clock
        self._sending = self._waiting = 0
        self.most_sending = self.most_waiting = 0
        self.tries: Counter[str] = Counter()
        self.stored: list[str] = []

    def prepare(self, request: Request) -> Prepared:
        return Prepared(request.id, request.signal, [one.key for one in request.batches], request.raw_bytes)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        assert prepared.taken is not None
        self._sending += 1
        self.most_sending = max(self.most_sending, self._sending)
        await self._clock.sleep(0.1)
        self._sending -= 1
        held = list(prepared.body)
        assert held, "what was let go has to be prepared anew"
        prepared.body.clear()
        prepared.taken()
        self._waiting += 1
        self.most_waiting = max(self.most_waiting, self._waiting)
        await self._clock.sleep(6)
        self._waiting -= 1
        self.tries[prepared.request_id] += 1
        if len(self.tries) == 1 and self.tries[prepared.request_id] == 1:
            raise Retryable("its acknowledgement did not come")
        self.stored += held
        return Accepted()


def test_a_replay_does_not_wait_for_each_acknowledgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken holds nobody back; what was lost then is sent again; never more is under way than may be."""

    async def at_once(call: Callable[..., Any], *arguments: Any) -> Any:
        return call(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", at_once)  # this clock does not wait for threads
    writer = Writer(tmp_path)
    writer.put(*(batch("a", 4 * at, 4 * at + 4) for at in range(20)))

    async def scenario() -> tuple[Replayed, Indexer, float]:
        clock = FakeClock()
        indexer = Indexer(clock)
        async with clock.autojump():
            began = clock.monotonic()
            done = await replay(Archive.open(str(writer.root)), indexer, Selection(), clock)
            return done, indexer, clock.monotonic() - began

    done, indexer, took = asyncio.run(scenario())
    assert done.ok
    assert done.requests == 20
    assert len(indexer.stored) == len(set(indexer.stored)) == 20
    assert indexer.most_sending <= LIMITS.max_in_flight + 1  # and the one that was lost
    assert indexer.most_waiting == LIMITS.max_in_flight + LIMITS.max_unacknowledged
    assert took < 6 * 5
