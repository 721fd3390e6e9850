"""Each request is counted exactly once, whatever is killed when: random histories against a plain count."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shipper.errors import LedgerFull
from shipper.measure.requests import RequestCounter
from shipper.testing.clock import FakeClock
from tests.measure.measurekit import SpanFile, counter_on, ledger_at

SERVICES = ("a", "b")


class Killed(BaseException):
    """The process is gone."""


class MortalLedger:
    """The real ledger, in front of which, or behind whose COMMIT, the process can be killed."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self.fate = ""

    async def call(self, fn: Any, *args: Any) -> Any:
        fate, self.fate = (self.fate, "") if fn.__name__ == "_store" else ("", self.fate)
        if fate == "full":
            raise LedgerFull("no room")
        if fate == "before":
            raise Killed
        result = await self._ledger.call(fn, *args)
        if fate == "after":
            raise Killed
        return result


class Counting(RuleBasedStateMachine):
    """Processes write, the counter turns, dies and comes back; the ledger is the only thing that stays."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.real = ledger_at(Path(self.directory.name) / "ledger.db")
        self.ledger = MortalLedger(self.real)
        self.streams: list[SpanFile] = []
        self.truth: dict[str, list[int]] = {}
        self.shown: dict[str, tuple[int, int, int]] = {}
        self.torn: dict[str, bytes] = {}
        self.counter: RequestCounter
        self.born()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def born(self) -> None:
        self.counter = counter_on(self.ledger, self.clock)
        self.run(self.counter.open())
        for stream in self.streams:
            self.counter.add(stream)

    @rule(service=st.sampled_from(SERVICES))
    def process_starts(self, service: str) -> None:
        stream = SpanFile(f"{service}{len(self.streams)}")
        stream.declare(1, service=service)
        self.streams.append(stream)
        self.truth.setdefault(service, [0, 0])
        self.counter.add(stream)

    @rule(data=st.data(), errors=st.lists(st.booleans(), min_size=1, max_size=5), torn=st.booleans())
    def process_writes(self, data: st.DataObject, errors: list[bool], torn: bool) -> None:
        if not self.streams:
            return
        stream = data.draw(st.sampled_from(self.streams))
        stream.data += self.torn.pop(stream.id, b"")
        for error in errors:
            before = len(stream.data)
            stream.span(error=error)
            numbers = self.truth[stream.id[0]]
            numbers[0] += 1
            numbers[1] += error
        if torn:  # the sidecar looks in the middle of the last write
            at = data.draw(st.integers(before, len(stream.data) - 1))
            self.torn[stream.id] = bytes(stream.data[at:])
            del stream.data[at:]
        self.counter.ready(stream)

    @rule(fate=st.sampled_from(["", "", "full", "before", "after"]))
    def turn(self, fate: str) -> None:
        self.clock.advance(1)
        self.ledger.fate = fate
        try:
            self.run(self.counter.turn())
        except LedgerFull:
            pass
        except Killed:
            self.born()
        self.ledger.fate = ""

    @rule()
    def killed(self) -> None:
        self.born()

    @rule(data=st.data())
    def stream_is_announced_again(self, data: st.DataObject) -> None:
        if self.streams:
            self.counter.add(data.draw(st.sampled_from(self.streams)))

    @rule(data=st.data())
    def process_ends(self, data: st.DataObject) -> None:
        if self.streams:
            stream = data.draw(st.sampled_from(self.streams))
            if stream.id not in self.torn:
                self.counter.finished(stream)

    @invariant()
    def what_is_shown_never_falls_and_is_never_too_much(self) -> None:
        for key, line in self.counter.book.lines.items():
            service = key.who.service
            now = (line.requests, line.errors, line.start_ns)
            before = self.shown.get(service, (0, 0, line.start_ns))
            assert now[0] >= before[0]
            assert now[1] >= before[1]
            assert now[2] == before[2]
            assert now[0] <= self.truth[service][0]
            self.shown[service] = now

    @invariant()
    def what_may_be_deleted_is_counted(self) -> None:
        measured = sum(self.spans_below(stream) for stream in self.streams)
        assert measured <= sum(line.requests for line in self.counter.book.lines.values())

    def spans_below(self, stream: SpanFile) -> int:
        at, spans = 0, 0
        frames, _ = stream.frames(at, 1 << 30)
        for frame in frames:
            spans += frame.end <= stream.measured_to and frame.kind == 5
        return spans

    def teardown(self) -> None:
        for stream in self.streams:
            stream.data += self.torn.pop(stream.id, b"")
            self.counter.add(stream)
        while self.run(self.counter.turn()):
            pass
        found = {key.who.service: [line.requests, line.errors] for key, line in self.counter.book.lines.items()}
        assert found == self.truth
        self.run(self.real.aclose())
        self.loop.close()
        self.directory.cleanup()


Counting.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


class TestCounting(Counting.TestCase):  # type: ignore[misc,name-defined]
    """Each request is counted exactly once."""
