"""Whatever happens to an indexer meanwhile: what was acknowledged is on its disk."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext, Prepared
from shipper.errors import Retryable
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.splunk import SplunkExporter, SplunkSettings
from tests.exporters.splunk_hec import TOKEN, HecServer, Say, code

ACTIONS = st.sampled_from(["send", "send", "index", "hold", "crash", "restart", "hang up", "busy", "cut off", "wait"])


async def persist(exporter: SplunkExporter, clock: FakeClock, prepared: Prepared, done: list[str], line: str) -> None:
    """Send until it is acknowledged, as a pump does."""
    while True:
        try:
            assert await exporter.send(prepared, Deadline.after(clock, 20)) == Accepted()
        except Retryable:
            await clock.sleep(1)
        else:
            done.append(line)
            return


async def act(server: HecServer, action: str) -> None:
    if action == "index":
        server.index()
    elif action == "hold":
        server.hold()
    elif action == "crash":
        await server.crash()
    elif action == "restart":  # of an indexer behind a balancer: connections stay
        if not server.indexing:
            del server.indexed[server.durable :]
        server.forget()
    elif action == "busy":
        server.script(code(9))
    elif action in ("hang up", "cut off"):
        server.script(Say(fault=action))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, min_size=3, max_size=25))
def test_acknowledged_is_on_disk(actions: list[str]) -> None:
    """At each moment all that was acknowledged is on disk, and in the end all there is."""

    async def scenario() -> None:
        clock, done, sends = FakeClock(), list[str](), list[asyncio.Task[None]]()
        async with asyncio.timeout(60), HecServer(use_ack=True) as server:
            options = SplunkSettings(endpoint=server.url, ack_timeout=30.0)
            exporter = SplunkExporter("splunk", options, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            for number, action in enumerate(actions):
                if action == "send":
                    line = f"line {number}"
                    prepared = exporter.prepare(log_request(log_batch([line], start=100 * number)))
                    sends.append(asyncio.create_task(persist(exporter, clock, prepared, done, line)))
                await act(server, action)
                for _ in range(4):
                    await clock.run(0.5)
                    await asyncio.sleep(0.001)
                disk = server.indexed if server.indexing else server.indexed[: server.durable]
                assert set(done) <= {event["event"] for event in disk}
            server.index()
            while not all(send.done() for send in sends):
                await clock.run(0.5)
                await asyncio.sleep(0.001)
            await asyncio.gather(*sends)
            assert {event["event"] for event in server.indexed} == set(done)
            assert len(done) == len(sends)
            await exporter.aclose()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPLUNK_HEC_TOKEN", TOKEN)
        asyncio.run(scenario())
