"""Hundreds of requests wait to be indexed at once: asked for together, told in any order, lost all at once, and none forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext, Request, Signal
from shipper.errors import Retryable
from shipper.otlp.decode import records
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.splunk import SplunkExporter, SplunkSettings
from tests.exporters.splunk_hec import TOKEN, HecServer, code

MANY = 200
ACTIONS = st.sampled_from(
    ["send", "send", "send", "index", "hold", "some", "some", "swallow", "restart", "crash", "kill", "busy", "wait"]
)


class Host:
    """Sends as a pump does: several at once, the next when one is taken, and what failed is prepared anew."""

    def __init__(self, server: HecServer, clock: FakeClock) -> None:
        self.server = server
        self.clock = clock
        self.runs = 0
        self.requests: list[Request] = []
        self.done: list[str] = []
        self.taken: set[str] = set()
        self.let_go = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """A new run, which sends all again that is not acknowledged."""
        self.runs += 1
        options = SplunkSettings(endpoint=self.server.url, ack_timeout=30.0)
        self.exporter = SplunkExporter("splunk", options, ExporterContext(self.clock, LIFE, self.runs, "test"))
        await self.exporter.start()
        for request in self.requests:
            self._set_out(request)

    async def kill(self) -> None:
        """End at once, whatever is under way."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        await self.exporter.aclose()

    def add(self, *lines: str) -> None:
        request = log_request(log_batch(lines, start=1000 * len(self.requests)))
        self.requests.append(request)
        self._set_out(request)

    @property
    def busy(self) -> bool:
        return len(self.done) < len(self.requests)

    async def pass_time(self, seconds: float) -> None:
        await self.clock.run(seconds)
        await asyncio.sleep(0.001)

    def check(self) -> None:
        """Each task that ended so far did so without a bug."""
        for task in self._tasks.values():
            if task.done():
                task.result()

    def _set_out(self, request: Request) -> None:
        if request.id not in self.done:
            self._tasks[request.id] = asyncio.create_task(self._deliver(request))

    async def _deliver(self, request: Request) -> None:
        while True:
            prepared = replace(self.exporter.prepare(request), taken=lambda: self.taken.add(request.id))
            try:
                assert await self.exporter.send(prepared, Deadline(self.clock)) == Accepted()
            except Retryable:
                await self.clock.sleep(1)
            else:
                self.let_go += not prepared.body.parts
                self.done.append(request.id)
                return


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_HEC_TOKEN", TOKEN)


def test_one_question_for_all() -> None:
    """Two hundred requests wait at once without their bytes, one question a second asks for all, and any order is right."""

    async def scenario() -> None:
        dice, clock = Random(1), FakeClock()
        async with asyncio.timeout(60), HecServer(use_ack=True) as server:
            host = Host(server, clock)
            await host.start()
            server.hold()
            for number in range(MANY):
                host.add(f"line {number}")
            while len(host.taken) < MANY:
                await host.pass_time(0.01)
            assert not host.done
            server.asked.clear()
            began = clock.monotonic()
            while host.busy:
                server.index_some(lambda: dice.random() < 0.3)
                await host.pass_time(0.5)
            await host.kill()
            channels = {channel for channel, _ in server.asked}
            assert len(channels) == 1
            assert len(server.asked[0][1]) == MANY
            assert len(server.asked) <= clock.monotonic() - began + 1
            assert host.let_go == MANY
            assert len(server.posts) == MANY
            assert host.done != [request.id for request in host.requests]

    asyncio.run(scenario())


def test_a_restart_that_forgets_everything() -> None:
    """When an indexer forgets all that waits, all is sent again once, on a word that ids began anew or after the wait."""

    async def scenario(*, more: bool) -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), HecServer(use_ack=True) as server:
            host = Host(server, clock)
            await host.start()
            server.hold()
            for number in range(50):
                host.add(f"line {number}")
            while len(host.taken) < 50:
                await host.pass_time(0.01)
            server.lose()
            server.forget()
            server.index()
            if more:
                host.add("one more")
            began = clock.monotonic()
            while host.busy:
                await host.pass_time(0.25)
            waited = clock.monotonic() - began
            assert waited < 10 if more else 25 < waited < 60
            await host.kill()
            assert len(server.posts) == 100 + more
            assert len(server.indexed) == 50 + more

    asyncio.run(scenario(more=True))
    asyncio.run(scenario(more=False))


def test_questions_keep_their_distance_whatever_happens() -> None:
    """Broken connections leave channels behind, each of which is asked for; two questions are never closer than the pace."""

    async def scenario() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), HecServer(use_ack=True) as server:
            host = Host(server, clock)
            await host.start()
            server.hold()
            host.add("first")
            while len(host.taken) < 1:
                await host.pass_time(0.05)
            for number in range(4):
                server.script(code(11))
                host.add(f"line {number}")
                while len(host.taken) < number + 2:
                    await host.pass_time(0.25)
            times: list[tuple[float, int]] = []
            for _ in range(240):
                times.append((clock.monotonic(), len(server.asked)))
                await host.pass_time(0.25)
            assert len({channel for channel, _ in server.asked if channel}) == 5
            for (begin, before), (end, after) in zip(times, times[8:], strict=False):
                assert after - before <= end - begin + 1
            server.index()
            while host.busy:
                await host.pass_time(0.25)
            await host.kill()

    asyncio.run(scenario())


async def act(host: Host, action: str, dice: Random) -> None:
    server = host.server
    if action == "send":
        host.add(*(f"line {len(host.requests)}-{number}" for number in range(dice.randint(1, 3))))
    elif action == "index":
        server.index()
    elif action == "hold":
        server.hold()
    elif action == "some":
        server.index_some(lambda: dice.random() < 0.5)
    elif action == "swallow":
        server.swallowed += 1
    elif action == "crash":
        await server.crash()
    elif action == "restart":  # of an indexer behind a balancer: connections stay
        server.lose()
        server.forget()
    elif action == "kill":
        await host.kill()
        await host.start()
    elif action == "busy":
        server.script(code(9))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=st.lists(ACTIONS, min_size=8, max_size=40), seed=st.integers(0, 1000))
def test_what_is_done_is_on_disk(actions: list[str], seed: int) -> None:
    """Told out of order, answers lost, ids forgotten, either side killed: what was acknowledged is on disk, and in the end all."""

    async def scenario() -> None:
        dice, clock = Random(seed), FakeClock()
        async with asyncio.timeout(60), HecServer(use_ack=True) as server:
            host = Host(server, clock)
            await host.start()
            for action in actions:
                await act(host, action, dice)
                for _ in range(3):
                    await host.pass_time(0.5)
                host.check()
                assert lines(host, host.done) <= {event["event"] for event in server.disk()}
            server.index()
            while host.busy:
                await host.pass_time(0.5)
                host.check()
            await host.kill()
            everything = lines(host, [request.id for request in host.requests])
            assert {event["event"] for event in server.disk()} == everything

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPLUNK_HEC_TOKEN", TOKEN)
        asyncio.run(scenario())


def lines(host: Host, ids: list[str]) -> set[str]:
    """What the requests of these ids hold."""
    held = set(ids)
    found = (batch.payload for request in host.requests if request.id in held for batch in request.batches)
    return {str(record.body) for payload in found for record in records(Signal.LOGS, payload)}
