"""The forward exporter passes the suite that every exporter has to pass, plain and with all that secures it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper_exporters.forward import ForwardExporter, ForwardSettings
from tests.exporters.fluent_server import KEY, FluentServer
from tests.sources.certificates import Certificates, make

UNKNOWN_TO_THE_PROTOCOL = {Fault.BUSY, Fault.TOO_LARGE, Fault.REFUSING}


class FluentDestination(Destination):
    """A server that plays every fault the protocol can show."""

    def __init__(self, server: FluentServer, settings: ForwardSettings) -> None:
        self._server = server
        self._settings = settings

    def exporter(self, context: ExporterContext) -> Exporter:
        return ForwardExporter("fluentd", self._settings, context)

    async def healthy(self) -> None:
        await self._server.healthy()

    async def failing(self, fault: Fault) -> None:
        await self._server.failing(fault)

    async def stored(self) -> Sequence[Held]:
        return [Held(taken.chunk, taken.texts()) for taken in self._server.taken]


class TestForwardExporter(ExporterContract):
    """The suite, against a real socket."""

    faults = ExporterContract.faults - UNKNOWN_TO_THE_PROTOCOL

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with FluentServer() as server:
            yield FluentDestination(server, ForwardSettings(endpoint=server.endpoint))


class TestForwardExporterSecured(ExporterContract):
    """The suite over TLS with client certificates, a shared key and a user, uncompressed."""

    # A web server says nothing before it was asked, and we say nothing before we were greeted.
    faults = ExporterContract.faults - UNKNOWN_TO_THE_PROTOCOL - {Fault.STRANGER}
    certificates: ClassVar[Certificates]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _files(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.certificates = make(tmp_path_factory.mktemp("certificates"))
        Path(cls.certificates.ca.with_name("shared")).write_text(f"{KEY}\n")
        Path(cls.certificates.ca.with_name("password")).write_text("s3cret\n")

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        files = self.certificates
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.ca))
        tls.load_cert_chain(files.cert, files.key)
        tls.verify_mode = ssl.CERT_REQUIRED
        async with FluentServer(key=KEY, users={"shipper": "s3cret"}, tls=tls) as server:
            settings = ForwardSettings(
                endpoint=server.endpoint,
                compression="none",
                ca_file=str(files.ca),
                cert_file=str(files.client_cert),
                key_file=str(files.client_key),
                shared_key_file=str(files.ca.with_name("shared")),
                username="shipper",
                password_file=str(files.ca.with_name("password")),
            )
            yield FluentDestination(server, settings)
