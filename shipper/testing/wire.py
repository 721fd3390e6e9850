"""What every exporter that speaks TCP must do whatever a network or a broken server does, byte by byte.

A relay stands in front of the server: it passes on what is sent, and spoils what comes back. Whatever that is, a send ends,
and with nothing but a `DeliveryError` or an acknowledgement that was given. Beside the suite of `shipper.testing.contract`
derive two more classes::

    class DepotOnTheWire(WireDestination):
        port = 7000                                                   # where on 127.0.0.1 the server listens
        def exporter_at(self, context, port): return DepotExporter(...)  # one that sends to this port of 127.0.0.1

    class TestDepotOnTheWire(WireContract):
        @asynccontextmanager
        async def destination(self, clock):
            yield DepotOnTheWire()
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import ClassVar

from shipper.clock import Clock, Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Signal
from shipper.errors import DeliveryError
from shipper.testing.clock import FakeClock
from shipper.testing.contract import LONGEST, PATIENCE
from shipper.testing.streams import LIFE, log_batch, log_request

_FIRST, _OTHERS, _LAST = 12, 8, 4
"""Places of an answer at which it is spoiled: the first bytes, some in between, the last."""
_NOISE = 48  # bytes
_STEPS = 60  # seconds of the clock that an exporter has
_PAUSE = 0.25  # real seconds between two of them, for what is on its way


class WireDestination(ABC):
    """A server that takes everything, and how to send to it."""

    port: int
    """Where it listens, on 127.0.0.1."""

    @abstractmethod
    def exporter_at(self, context: ExporterContext, port: int) -> Exporter:
        """A new exporter that sends to this port of 127.0.0.1; not started."""


class Relay:
    """Stands in front of a server. ``left``: bytes that it may say on a connection until that is closed; None: all of them.

    ``instead``: what is said before it is closed. ``deaf``: nothing is passed on to the server any more. ``bytewise``: what
    the server says comes a byte at a time.
    """

    def __init__(self, upstream: int) -> None:
        self.port = 0
        self.answers: list[bytearray] = []  # of each connection the latest: what was said since something was last sent
        self.left: int | None = None
        self.instead = b""
        self.deaf = False
        self.bytewise = False
        self._upstream = upstream
        self._open: list[tuple[asyncio.StreamWriter, bytearray]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[Relay]:
        """Listen meanwhile."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def repeat(self) -> None:
        """Give the latest answer of each connection that is open once more."""
        for writer, answer in self._open:
            writer.write(bytes(answer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        answer = bytearray()
        ends = [writer]
        with suppress(OSError, asyncio.CancelledError):
            from_server, up = await asyncio.open_connection("127.0.0.1", self._upstream)
            ends.append(up)
            self.answers.append(answer)
            self._open.append((writer, answer))
            both = [
                asyncio.create_task(self._up(reader, up, writer, answer)),
                asyncio.create_task(self._down(from_server, writer, answer)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._open.remove((writer, answer))
                for one in both:
                    one.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        for end in ends:
            end.close()

    async def _up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter, answer: bytearray
    ) -> None:
        while data := await reader.read(1 << 16):
            answer.clear()
            if not self.deaf:
                writer.write(data)
                await writer.drain()
            elif self.instead:
                back.write(self.instead)
                await back.drain()
                return

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytearray) -> None:
        said = 0
        while data := await reader.read(1 << 16):
            if self.left is not None and said + len(data) >= self.left:
                writer.write(data[: self.left - said] + self.instead)
                await writer.drain()
                return
            said += len(data)
            answer += data
            for at in range(0, len(data), step := 1 if self.bytewise else len(data)):
                writer.write(data[at : at + step])
                await writer.drain()
                await asyncio.sleep(0)


class WireContract(ABC):
    """The suite."""

    signal: ClassVar[Signal] = Signal.LOGS
    """What the test requests are made of."""

    @abstractmethod
    def destination(self, clock: Clock) -> AbstractAsyncContextManager[WireDestination]:
        """A server for one test; what it waits for, it waits for by ``clock``."""

    def test_an_answer_in_single_bytes(self) -> None:
        """However the network cuts it, an answer is what it is."""

        async def scenario(destination: WireDestination, relay: Relay, clock: FakeClock) -> None:
            relay.bytewise = True
            assert isinstance(await self._sent(destination, relay, clock, "line"), Accepted)

        self._run_behind(scenario)

    def test_an_answer_that_breaks_off(self) -> None:
        """Cut off at any byte, or going on as noise there, an answer ends the attempt; later ones pass."""

        async def scenario(destination: WireDestination, relay: Relay, clock: FakeClock) -> None:
            assert isinstance(await self._sent(destination, relay, clock, "whole"), Accepted)
            size = max(map(len, relay.answers))
            noise = random.Random(size).randbytes(_NOISE)
            for place in _places(size):
                for relay.instead in (b"", noise):
                    relay.left = place
                    await self._sent(destination, relay, clock, f"at {place}")
            relay.left, relay.instead = None, b""
            assert isinstance(await self._sent(destination, relay, clock, "at last"), Accepted)

        self._run_behind(scenario)

    def test_noise_is_no_acknowledgement(self) -> None:
        """Random bytes, and those behind the beginning of an answer, acknowledge nothing."""

        async def scenario(destination: WireDestination, relay: Relay, clock: FakeClock) -> None:
            assert isinstance(await self._sent(destination, relay, clock, "whole"), Accepted)
            answer = bytes(max(relay.answers, key=len))
            relay.deaf = True
            for place in _places(len(answer) // 2):
                relay.instead = answer[:place] + random.Random(place).randbytes(_NOISE)
                found = await self._sent(destination, relay, clock, f"at {place}")
                assert not isinstance(found, Accepted), f"{relay.instead!r} was an acknowledgement"

        self._run_behind(scenario)

    def test_what_is_said_twice_is_no_answer_to_the_next(self) -> None:
        """An answer that comes once more, late, acknowledges nothing that is sent after it."""

        async def scenario(destination: WireDestination, relay: Relay, clock: FakeClock) -> None:
            exporter = destination.exporter_at(ExporterContext(clock, LIFE, 1, "Shipper/contract"), relay.port)
            await exporter.start()
            try:
                assert isinstance(await self._tried(exporter, clock, "first"), Accepted)
                relay.deaf = True
                relay.repeat()
                await asyncio.sleep(_PAUSE)
                found = await self._tried(exporter, clock, "second", pause=0)
                assert not isinstance(found, Accepted), "the answer to another request was an acknowledgement"
            finally:
                await exporter.aclose()

        self._run_behind(scenario)

    async def _sent(
        self, destination: WireDestination, relay: Relay, clock: FakeClock, line: str
    ) -> Accepted | DeliveryError:
        """What a send by an exporter of its own ends with."""
        exporter = destination.exporter_at(ExporterContext(clock, LIFE, 1, "Shipper/contract"), relay.port)
        await exporter.start()
        try:
            return await self._tried(exporter, clock, line)
        finally:
            await exporter.aclose()

    async def _tried(
        self, exporter: Exporter, clock: FakeClock, line: str, pause: float = _PAUSE
    ) -> Accepted | DeliveryError:
        """What a send ends with, which has a minute of the clock for it."""
        prepared, deadline = (
            exporter.prepare(log_request(log_batch([line], signal=self.signal))),
            Deadline.after(clock, _STEPS),
        )
        send = asyncio.create_task(exporter.send(prepared, deadline))
        while not deadline.expired():
            await asyncio.wait([send], timeout=pause)
            if send.done():
                break
            await clock.settle()
            await clock.run(1)
        await asyncio.wait([send], timeout=PATIENCE)
        assert send.done(), "send does not end although its deadline has passed"
        error = send.exception()
        if error is None:
            return send.result()
        if not isinstance(error, DeliveryError):
            raise error
        assert str(error), "an error says what happened"
        return error

    def _run_behind(self, scenario: Callable[[WireDestination, Relay, FakeClock], Awaitable[None]]) -> None:
        """With a relay in front of the destination."""

        async def run() -> None:
            clock = FakeClock()
            async with asyncio.timeout(LONGEST), self.destination(clock) as destination:
                async with Relay(destination.port).standing() as relay:
                    await scenario(destination, relay, clock)

        asyncio.run(run())


def _places(size: int) -> Iterator[int]:
    """Some numbers of bytes less than ``size``."""
    step = max(1, size // _OTHERS)
    yield from sorted({*range(min(_FIRST, size)), *range(0, size, step), *range(max(0, size - _LAST), size)})
