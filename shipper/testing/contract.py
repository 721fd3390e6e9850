"""What every exporter must do, as a suite that its author can run.

Derive two classes: a `Destination`, which knows how to make the exporter and how to make what it sends to misbehave, and a
test class from `ExporterContract`; pytest collects the tests it inherits::

    class Depot(Destination):
        def exporter(self, context): return DepotExporter("depot", DepotExporter.Settings(url=...), context)
        async def healthy(self): ...
        async def failing(self, fault): ...
        async def stored(self): return [Held(identity, lines), ...]

    class TestDepot(ExporterContract):
        faults = ExporterContract.faults - {Fault.BUSY}      # what this destination cannot do

        signal = Signal.METRICS                              # where it takes no logs

        @asynccontextmanager
        async def destination(self, clock):
            yield Depot()

Time is a `FakeClock`: an exporter takes it from its context, waits by ``clock.sleep`` only, and so is tested on its
time-outs without waiting for them. That an exporter cannot notice a destination which lies, saying "stored" and storing
nothing, is part of the contract too: it returns `Accepted`, and the audit is what finds it.
"""

from __future__ import annotations

import asyncio
import threading
import unittest
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from shipper.clock import Clock, Deadline
from shipper.contracts import Accepted, Batch, Cut, Exporter, ExporterContext, Prepared, Request, Signal
from shipper.errors import DeliveryError, MalformedOtlp, Rejected, Retryable, TooLarge, Unusable
from shipper.intervals import IntervalSet
from shipper.otlp.scan import scan
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.testing.odd import malformed, odd_payloads
from shipper.testing.streams import LIFE, log_batch, log_request

PATIENCE = 30.0  # real seconds after which a send that hangs has failed; no test that passes waits for them
LONGEST = 120.0  # the same for a whole test


class Fault(Enum):
    """How a destination can misbehave, and what the exporter must then do: raise that error, or return."""

    DOWN = "nothing answers where it should be", Retryable
    BUSY = "it says to come back in seven seconds", Retryable
    BROKEN = "it breaks off in the middle of its answer", Retryable
    STUCK = "it takes the request and never answers", Retryable
    SLOW = "it takes the request and answers only once healthy() is called", None
    MISCONFIGURED = "it does not know us: wrong credentials, wrong place", Unusable
    STRANGER = "something else answers there, and kindly", Unusable
    TOO_LARGE = "the request is larger than it takes", TooLarge
    REFUSING = "it refuses the content for good", Rejected
    LYING = "it says that it has the request, and has nothing", None

    def __init__(self, meaning: str, error: type[DeliveryError] | None) -> None:
        self.meaning = meaning
        self.error = error


@dataclass(frozen=True)
class Held:
    """One request as the destination holds it. The same request sent again has the same ``identity``, another has not."""

    identity: str
    lines: tuple[str, ...]


class Destination(ABC):
    """A destination under the test's control. It is healthy to begin with."""

    @abstractmethod
    def exporter(self, context: ExporterContext) -> Exporter:
        """A new exporter that sends here; not started."""

    @abstractmethod
    async def healthy(self) -> None:
        """Take everything from now on, and answer what was held back."""

    @abstractmethod
    async def failing(self, fault: Fault) -> None:
        """Misbehave in this way from now on, until `healthy` is called."""

    @abstractmethod
    async def stored(self) -> Sequence[Held]:
        """What it holds, in the order it came; lines in the order they have in each request."""


Scenario = Callable[[Destination, Exporter, FakeClock], Awaitable[None]]


class ExporterContract(ABC):
    """The suite. A test whose fault is not in ``faults`` is skipped."""

    faults: ClassVar[frozenset[Fault]] = frozenset(Fault)
    signal: ClassVar[Signal] = Signal.LOGS
    """What the test requests are made of; with metrics each line is a data point of the gauge ``line``, and its attribute."""

    @abstractmethod
    def destination(self, clock: Clock) -> AbstractAsyncContextManager[Destination]:
        """A fresh destination for one test; what it waits for, it waits for by ``clock``."""

    def test_what_is_accepted_is_held_once(self) -> None:
        """Every record of an accepted request is held exactly once, in the order of the request's batches."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            request = log_request(
                self._batch(["a1", "a2"], stream="a"),
                self._batch(["b1"], stream="b"),
                self._batch(["a3"], stream="a", start=6),
            )
            accepted = await exporter.send(exporter.prepare(request), Deadline(clock))
            assert isinstance(accepted, Accepted)
            assert accepted.rejected == 0
            assert [held.lines for held in await destination.stored()] == [("a1", "a2", "b1", "a3")]

        self._run(scenario)

    def test_text_arrives_as_it_was(self) -> None:
        """Lines of any length and script are held unchanged."""
        lines = ["", "é漢字🚀", "tab\tand \x01 control", "x" * 200_000]

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            await exporter.send(exporter.prepare(log_request(self._batch(lines))), Deadline(clock))
            assert [held.lines for held in await destination.stored()] == [tuple(lines)]

        self._run(scenario)

    def test_several_in_flight(self) -> None:
        """As many requests as the limits allow go at the same time, and each is held once."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            requests = self._requests(exporter.limits.max_in_flight)
            sends = (exporter.send(exporter.prepare(request), Deadline(clock)) for request in requests)
            assert all(isinstance(accepted, Accepted) for accepted in await asyncio.gather(*sends))
            held = await destination.stored()
            assert sorted(held.lines for held in held) == [(f"line {n}",) for n in range(len(requests))]
            assert len({held.identity for held in held}) == len(requests)

        self._run(scenario)

    def test_slow(self) -> None:
        """An answer that is late but within the deadline is waited for, also when several are."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            await destination.failing(Fault.SLOW)
            requests = self._requests(exporter.limits.max_in_flight)
            sends = [asyncio.create_task(_send(exporter, request, clock, 60)) for request in requests]
            await _settle(clock)
            assert not any(send.done() for send in sends)
            await destination.healthy()
            await asyncio.gather(*sends)
            assert len(await destination.stored()) == len(requests)

        self._run(scenario, Fault.SLOW)

    def test_deadline_is_kept(self) -> None:
        """With a destination that never answers, send raises `Retryable` no later than its deadline."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            await destination.failing(Fault.STUCK)
            for seconds in (0.0, 0.5, 5.0):
                deadline = Deadline.after(clock, seconds)
                send = asyncio.create_task(exporter.send(exporter.prepare(self._request()), deadline))
                await _settle(clock)
                await clock.run(seconds)
                await self._ends_with(Retryable, send, f"a deadline of {seconds} s has passed")

        self._run(scenario, Fault.STUCK)

    def test_stuck_without_a_deadline(self) -> None:
        """A destination that never answers is given up on in the end even when no deadline was given."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            await destination.failing(Fault.STUCK)
            send = asyncio.create_task(exporter.send(exporter.prepare(self._request()), Deadline(clock)))
            for _ in range(60):
                await _settle(clock)
                await clock.run(60)
                if send.done():
                    break
            await self._ends_with(Retryable, send, "an hour has passed")

        self._run(scenario, Fault.STUCK)

    def test_down(self) -> None:
        """A destination that is not there is `Retryable`; once it is there, the same request passes."""
        self._fails_then_passes(Fault.DOWN)

    def test_busy(self) -> None:
        """A destination that says when to come back is `Retryable`, with that wait."""
        error = self._fails_then_passes(Fault.BUSY)
        assert isinstance(error, Retryable)
        assert error.wait == 7

    def test_broken(self) -> None:
        """An answer that breaks off proves nothing: `Retryable`."""
        self._fails_then_passes(Fault.BROKEN)

    def test_misconfigured(self) -> None:
        """Wrong credentials or a wrong place are for a person to mend: `Unusable`, and nothing is given up."""
        self._fails_then_passes(Fault.MISCONFIGURED)

    def test_stranger(self) -> None:
        """A kind answer from something that is not the destination is no acknowledgement: `Unusable`."""
        self._fails_then_passes(Fault.STRANGER)

    def test_too_large(self) -> None:
        """A request that is larger than the destination takes is `TooLarge`."""
        self._fails_then_passes(Fault.TOO_LARGE)

    def test_refusing(self) -> None:
        """Content that is refused for good is `Rejected`."""
        self._fails_then_passes(Fault.REFUSING)

    def test_lying(self) -> None:
        """A destination that lies cannot be told from an honest one: `Accepted`."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            await destination.failing(Fault.LYING)
            assert isinstance(await _send(exporter, self._request(), clock, 60), Accepted)
            assert not await destination.stored()

        self._run(scenario, Fault.LYING)

    def test_repeat_is_recognisable(self) -> None:
        """What is sent twice, prepared anew or not, can be told to be the same by the destination; others differ."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            first, second = self._requests(2)
            prepared = exporter.prepare(first)
            await exporter.send(prepared, Deadline(clock))
            await exporter.send(prepared, Deadline(clock))
            await exporter.send(exporter.prepare(first), Deadline(clock))
            held = await destination.stored()
            assert held
            assert len({(held.identity, held.lines) for held in held}) == 1
            await exporter.send(exporter.prepare(second), Deadline(clock))
            assert len({held.identity for held in await destination.stored()}) == 2

        self._run(scenario)

    def test_prepare_is_pure(self) -> None:
        """`prepare` makes equal results of equal requests, in several threads at once, before start and whatever the time."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            requests = self._requests(4)
            unstarted = destination.exporter(_context(clock))
            expected = [unstarted.prepare(request) for request in requests]
            clock.advance(3600)
            results: list[list[Prepared]] = []
            threads = [
                threading.Thread(target=lambda: results.append([exporter.prepare(request) for request in requests]))
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                await asyncio.to_thread(thread.join)
            assert results == [expected] * 4
            for prepared, request in zip(expected, requests, strict=True):
                assert (prepared.request_id, prepared.signal) == (request.id, request.signal)
                assert prepared.wire_bytes > 0

        self._run(scenario)

    def test_packed_or_prepared_it_is_the_same(self) -> None:
        """What is prepared bit by bit, where the exporter does that, is what `prepare` makes of all of it."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            batches = [self._batch([f"line {n}", "x" * 70_000], stream=f"s{n}") for n in range(4)]
            requests = [*self._requests(3), log_request(*batches)]
            packings = [exporter.packing(request.signal) for request in requests]
            for packing, request in zip(packings, requests, strict=True):
                if packing is not None:
                    for batch in request.batches:
                        await asyncio.to_thread(packing.add, batch)
            for packing, request in zip(packings, requests, strict=True):
                assert packing is None or packing.prepared(request.id) == exporter.prepare(request)

        self._run(scenario)

    def test_odd_records_end_somewhere(self) -> None:
        """Whatever a record may hold, it is taken, refused, or left out and counted; the same each time it is prepared."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            for signal in sorted(exporter.signals):
                for payload in odd_payloads(signal):
                    request = log_request(_of_payload(signal, payload))
                    prepared, again = (_prepared(exporter, request) for _ in range(2))
                    assert prepared == again, f"{signal}: prepared anew it is something else"
                    if prepared is None or (signal is not self.signal):
                        continue
                    (found,) = await asyncio.gather(
                        exporter.send(prepared, Deadline.after(clock, 60)), return_exceptions=True
                    )
                    if isinstance(found, Accepted):
                        assert 0 <= found.rejected <= request.batches[0].cut.records, found
                    elif not isinstance(found, DeliveryError):
                        raise found

        self._run(scenario)

    def test_what_is_no_otlp_is_refused(self) -> None:
        """A payload that is damaged is refused by `prepare`, or taken as it is; nothing else comes of it."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            for signal in sorted(exporter.signals):
                for payload in malformed(signal):
                    _prepared(exporter, log_request(_of_payload(signal, payload)))

        self._run(scenario)

    def test_cancelled_send_leaves_it_usable(self) -> None:
        """A send that is cancelled on the way ends as cancelled, and later ones work."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            await destination.failing(Fault.STUCK)
            sends = [asyncio.create_task(_send(exporter, request, clock, 60)) for request in self._requests(3)]
            await _settle(clock)
            for send in sends:
                send.cancel()
            results = await asyncio.gather(*sends, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results)
            await destination.healthy()
            assert isinstance(await _send(exporter, self._request("after"), clock, 60), Accepted)
            assert ("after",) in [held.lines for held in await destination.stored()]

        self._run(scenario, Fault.STUCK)

    def test_cancelled_at_any_moment_nothing_is_lost(self) -> None:
        """A send that is cancelled after any number of turns of the event loop can be repeated, and then all of it is held."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            for turns in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
                lines = [f"{turns}, {n}" for n in range(3)]
                prepared = exporter.prepare(
                    log_request(*(self._batch([line], stream=f"{n}") for n, line in enumerate(lines)))
                )
                send = asyncio.create_task(exporter.send(prepared, Deadline.after(clock, 60)))
                for _ in range(turns):
                    await asyncio.sleep(0)
                send.cancel()
                await asyncio.gather(send, return_exceptions=True)
                assert isinstance(await exporter.send(prepared, Deadline.after(clock, 60)), Accepted)
                held = {line for one in await destination.stored() for line in one.lines}
                assert held.issuperset(lines)

        self._run(scenario)

    def test_starts_and_ends_while_down(self) -> None:
        """Start and aclose need no destination; once it is there, an exporter that started without it works."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            await destination.failing(Fault.DOWN)
            other = destination.exporter(_context(clock))
            await other.start()
            await other.aclose()
            late = destination.exporter(_context(clock))
            await late.start()
            try:
                await destination.healthy()
                assert isinstance(await _send(late, self._request(), clock, 60), Accepted)
            finally:
                await late.aclose()

        self._run(scenario, Fault.DOWN)

    def test_closes_without_having_started_and_twice(self) -> None:
        """`aclose` may be called at any time, and again."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            await destination.exporter(_context(clock)).aclose()
            await exporter.aclose()

        self._run(scenario)

    def test_says_what_it_is(self) -> None:
        """It has a name, sane limits, signals, words for people, an opinion on trust, and tells what is known of a life if it can."""

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            assert exporter.name
            assert exporter.describe()
            assert isinstance(exporter.trusted(), bool)
            assert self.signal in exporter.signals
            limits = exporter.limits
            assert limits.max_in_flight >= 1
            assert limits.max_batches >= 1
            assert limits.max_wire_bytes > 0
            assert limits.requests_per_second > 0
            known = await exporter.known(LIFE)
            assert known is None or all(isinstance(done, IntervalSet) for done in known.values())

        self._run(scenario)

    def _batch(self, lines: Sequence[str], *, stream: str = "file-1", start: int = 0) -> Batch:
        return log_batch(lines, stream=stream, start=start, signal=self.signal)

    def _request(self, line: str = "line") -> Request:
        return log_request(self._batch([line]))

    def _requests(self, count: int) -> list[Request]:
        return [log_request(self._batch([f"line {n}"], start=100 * n)) for n in range(count)]

    def _fails_then_passes(self, fault: Fault) -> DeliveryError:
        """Send into the fault, then, with the very same `Prepared`, after it was mended; returns what was raised."""
        raised: list[DeliveryError] = []

        async def scenario(destination: Destination, exporter: Exporter, clock: FakeClock) -> None:
            assert fault.error is not None
            await destination.failing(fault)
            request = self._request("again")
            prepared = exporter.prepare(request)
            send = asyncio.create_task(exporter.send(prepared, Deadline.after(clock, 60)))
            raised.append(await self._ends_with(fault.error, send, fault.meaning))
            await destination.healthy()
            assert isinstance(await exporter.send(prepared, Deadline.after(clock, 60)), Accepted)
            assert {held.lines for held in await destination.stored()} == {("again",)}

        self._run(scenario, fault)
        return raised[0]

    async def _ends_with(self, error: type[DeliveryError], send: asyncio.Task[Accepted], why: str) -> DeliveryError:
        await asyncio.wait([send], timeout=PATIENCE)
        assert send.done(), f"send does not end although {why}; does it wait by anything but the clock of its context?"
        raised = send.exception()
        assert isinstance(raised, error), f"{why}: {error.__name__} is due, not {raised!r}"
        assert str(raised), "an error says what happened"
        return raised

    def _run(self, scenario: Scenario, *needed: Fault) -> None:
        for fault in needed:
            if fault not in self.faults:
                raise unittest.SkipTest(f"this destination cannot be so: {fault.meaning}")

        async def run() -> None:
            clock = FakeClock()
            async with asyncio.timeout(LONGEST), self.destination(clock) as destination:
                exporter = destination.exporter(_context(clock))
                await exporter.start()
                try:
                    await scenario(destination, exporter, clock)
                finally:
                    await exporter.aclose()

        asyncio.run(run())


def _of_payload(signal: Signal, payload: bytes) -> Batch:
    try:
        records = scan(signal, payload).records
    except MalformedOtlp:
        records = 1
    return Batch(LIFE, "odd", signal, Cut(0, 1 << 30, 0, 1 << 30, records, START_WALL_NS), payload)


def _prepared(exporter: Exporter, request: Request) -> Prepared | None:
    """None when it is refused."""
    try:
        return exporter.prepare(request)
    except DeliveryError:
        return None


def _context(clock: FakeClock) -> ExporterContext:
    return ExporterContext(clock, LIFE, 1, "Shipper/contract")


async def _send(exporter: Exporter, request: Request, clock: FakeClock, seconds: float) -> Accepted:
    return await exporter.send(exporter.prepare(request), Deadline.after(clock, seconds))


async def _settle(clock: FakeClock) -> None:
    """Let requests get on their way; right whatever has happened when it ends, only more telling the further they are."""
    for _ in range(20):
        await clock.settle()
        await asyncio.to_thread(lambda: None)
