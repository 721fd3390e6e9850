"""The Pushgateway exporter passes the suite that every exporter has to pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from prometheus_client.parser import text_string_to_metric_families

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Prepared, Request, Signal
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper_exporters.pushgateway import PushgatewayExporter, PushgatewaySettings
from tests.exporters.fake_pushgateway import FakePushgateway
from tests.exporters.shown_lines import Requests, lines_of


class Noting(PushgatewayExporter):
    """Notes what requests there are."""

    def __init__(self, url: str, context: ExporterContext, requests: Requests) -> None:
        super().__init__("push", PushgatewaySettings(endpoint=url), context)
        self._requests = requests

    def prepare(self, request: Request) -> Prepared:
        self._requests.note(request)
        return super().prepare(request)


class PushgatewayDestination(Destination):
    """The fake; each push carries all that there is."""

    def __init__(self, server: FakePushgateway) -> None:
        self._server = server
        self._url = server.url
        self._requests = Requests()

    def exporter(self, context: ExporterContext) -> Exporter:
        return Noting(self._url, context, self._requests)

    async def healthy(self) -> None:
        await self._server.come_up()
        self._server.fault = None
        self._server.release()

    async def failing(self, fault: Fault) -> None:
        if fault is Fault.DOWN:
            await self._server.go_down()
        else:
            self._server.fault = fault

    async def stored(self) -> Sequence[Held]:
        shown = {line for body in self._server.stored for line in lines_of(list(text_string_to_metric_families(body)))}
        return self._requests.held(shown)


class TestPushgatewayExporter(ExporterContract):
    """The suite, against a real socket."""

    signal = Signal.METRICS

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with FakePushgateway() as server:
            yield PushgatewayDestination(server)
