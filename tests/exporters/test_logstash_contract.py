"""The Logstash exporter passes the suite that every exporter has to pass, plain and over TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar

import pytest

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper_exporters.logstash import LogstashExporter, LogstashSettings
from tests.exporters.beats_server import BeatsServer
from tests.exporters.tcp_kit import serving
from tests.exporters.tls_refusal import refusing
from tests.sources.certificates import Certificates, make

UNKNOWN_TO_THE_PROTOCOL = {Fault.BUSY, Fault.TOO_LARGE, Fault.REFUSING}


class BeatsDestination(Destination):
    """A server that plays every fault the protocol can show."""

    def __init__(self, server: BeatsServer, settings: LogstashSettings, wrong: ssl.SSLContext) -> None:
        self._server = server
        self._settings = settings
        self._wrong = wrong
        self._instead = AsyncExitStack()

    def exporter(self, context: ExporterContext) -> Exporter:
        return LogstashExporter("logstash", self._settings, context)

    async def healthy(self) -> None:
        await self._instead.aclose()
        await self._server.healthy()

    async def failing(self, fault: Fault) -> None:
        await self._server.failing(fault)
        if fault is Fault.MISCONFIGURED:
            await self._server.go_down()
            await self._instead.enter_async_context(serving(refusing(self._wrong), port=self._server.port))

    async def stored(self) -> Sequence[Held]:
        return [
            Held(documents[0]["@metadata"]["_id"], tuple(document["message"] for document in documents))
            for documents in self._server.taken
        ]


class _Suite(ExporterContract):
    faults = ExporterContract.faults - UNKNOWN_TO_THE_PROTOCOL
    certificates: ClassVar[Certificates]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _files(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.certificates = make(tmp_path_factory.mktemp("certificates"))

    def _tls(self) -> ssl.SSLContext:
        files = self.certificates
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.ca))
        tls.load_cert_chain(files.cert, files.key)
        return tls


class TestLogstashExporter(_Suite):
    """The suite, against a real socket. Without TLS there are no credentials that could be wrong."""

    faults = _Suite.faults - {Fault.MISCONFIGURED}

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with BeatsServer() as server:
            yield BeatsDestination(server, LogstashSettings(endpoint=server.endpoint), self._tls())


class TestLogstashExporterSecured(_Suite):
    """The suite over TLS, uncompressed; set up wrongly means that the server wants a client certificate."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        wrong = self._tls()
        wrong.verify_mode = ssl.CERT_REQUIRED
        async with BeatsServer(tls=self._tls()) as server:
            settings = LogstashSettings(endpoint=server.endpoint, compression="none", ca_file=str(self.certificates.ca))
            yield BeatsDestination(server, settings, wrong)


del _Suite
