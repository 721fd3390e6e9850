"""The Splunk exporter passes the suite that every exporter has to pass, with indexer acknowledgement and without."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.testing.clock import FakeClock
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper_exporters.splunk import SplunkExporter, SplunkSettings
from tests.exporters.splunk_hec import TOKEN, HecServer, Say, code, time_passes

PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
ANSWERS: dict[Fault, Say] = {
    Fault.BUSY: code(9, headers={"Retry-After": "7"}),
    Fault.BROKEN: Say(fault="cut off"),
    Fault.STUCK: Say(fault="never"),
    Fault.SLOW: Say(fault="held"),
    Fault.MISCONFIGURED: code(4),
    Fault.STRANGER: Say(200, PAGE, "text/html"),
    Fault.TOO_LARGE: Say(413, b"Content-Length of 2000000 too large (maximum is 1000000)", "text/plain"),
    Fault.REFUSING: code(6, invalid=0),
    Fault.LYING: Say(fault="lie"),
}


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_HEC_TOKEN", TOKEN)


class HecDestination(Destination):
    """The collector under the test's control."""

    def __init__(self, server: HecServer, *, acknowledgement: bool, metrics_index: str = "") -> None:
        self._server = server
        self._options: dict[str, Any] = {"acknowledgement": acknowledgement, "metrics_index": metrics_index}

    def exporter(self, context: ExporterContext) -> Exporter:
        return SplunkExporter("splunk", SplunkSettings(endpoint=self._server.url, **self._options), context)

    async def healthy(self) -> None:
        await self._server.come_up()
        self._server.answer = None
        self._server.release()

    async def failing(self, fault: Fault) -> None:
        if fault is Fault.DOWN:
            await self._server.go_down()
        else:
            self._server.answer = ANSWERS[fault]

    async def stored(self) -> Sequence[Held]:
        return [
            Held(hashlib.sha256(post.wire).hexdigest(), tuple(map(_line, events))) for post, events in self._server.kept
        ]


def _line(event: dict[str, Any]) -> str:
    if event["event"] == "metric":
        return str(event["fields"]["line"])
    text = event["event"]
    return str(text["body"] if isinstance(text, dict) else text)


@asynccontextmanager
async def acknowledging(clock: Clock) -> AsyncIterator[HecServer]:
    assert isinstance(clock, FakeClock)
    async with HecServer(use_ack=True) as server:
        passing = asyncio.create_task(time_passes(clock, server))
        try:
            yield server
        finally:
            passing.cancel()


class TestWithAcknowledgement(ExporterContract):
    """An acknowledgement means indexed."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with acknowledging(clock) as server:
            yield HecDestination(server, acknowledgement=True)


class TestWithoutAcknowledgement(ExporterContract):
    """A 200 means accepted."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with HecServer() as server:
            yield HecDestination(server, acknowledgement=False)


class TestMetrics(ExporterContract):
    """Data points as metric events."""

    signal = Signal.METRICS

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with acknowledging(clock) as server:
            yield HecDestination(server, acknowledgement=True, metrics_index="metrics")
