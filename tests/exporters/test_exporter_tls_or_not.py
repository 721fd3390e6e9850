"""Plain text sent to a port for TLS, and TLS to a plain one: what is known is said, and what is suspected is said as that."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from shipper.contracts import ExporterContext
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE
from shipper_exporters._otlp.settings import Protocol
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.exporters.grpc_sink import GrpcSink
from tests.exporters.tcp_kit import Serve, serving
from tests.exporters.test_exporter_tls import both, outcome


async def closes(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Ends the connection once it was spoken to, as servers in Go do with who speaks no TLS."""
    await reader.read(1)
    await asyncio.sleep(0)


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same without a goodbye."""
    await reader.read(1)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def alerts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says that it cannot decode what came, as servers with rustls do."""
    await reader.read(1)
    writer.write(b"\x15\x03\x03\x00\x02\x02\x32")
    await writer.drain()
    writer.write_eof()
    await reader.read()


def said(scheme: str, protocol: Protocol, serve: Serve) -> str:
    """What the first and the second attempt are told, which has to be the same."""

    async def run() -> str:
        clock = FakeClock()
        async with asyncio.timeout(60), serving(serve) as port:
            settings = OtlpSettings(endpoint=f"{scheme}://localhost:{port}", protocol=protocol)
            exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            try:
                first = await outcome(exporter, clock)
                assert await outcome(exporter, clock) == first
                return first
            finally:
                await exporter.aclose()

    return asyncio.run(run())


@both
@pytest.mark.parametrize("serve", [closes, resets])
def test_who_hangs_up_without_a_word_may_want_tls(protocol: Protocol, serve: Serve) -> None:
    """It may as well be restarted, so it is tried again."""
    words = said("http", protocol, serve)
    assert words.startswith("Retryable")
    assert words.endswith("(if it always does: does it want https://?)")


@both
@pytest.mark.parametrize("serve", [closes, resets])
def test_who_hangs_up_on_a_handshake_may_not_want_tls(protocol: Protocol, serve: Serve) -> None:
    """A plain server that does not understand a handshake ends the connection; so does one of TLS that goes down."""
    words = said("https", protocol, serve)
    assert words.startswith("Retryable")
    assert "closed the connection in the TLS handshake" in words
    assert words.endswith("(if it always does: does it want http://?)")


@both
def test_who_answers_in_tls_speaks_it(protocol: Protocol) -> None:
    """An alert of TLS is as good as a word: everything is held until somebody mends the URL."""
    words = said("http", protocol, alerts)
    assert words.startswith("Unusable")
    assert words.endswith("speaks TLS; with it the URL begins with https://")


def test_who_ever_spoke_without_tls_is_not_suspected() -> None:
    """A gRPC server that is restarted is known to want no TLS."""

    async def run() -> str:
        clock = FakeClock()
        async with asyncio.timeout(60):
            async with GrpcSink() as server:
                port = server.port
                settings = OtlpSettings(endpoint=f"http://localhost:{port}", protocol="grpc")
                exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test"))
                await exporter.start()
                assert await outcome(exporter, clock) == ""
            try:
                async with serving(closes, port=port):
                    return await outcome(exporter, clock)
            finally:
                await exporter.aclose()

    words = asyncio.run(run())
    assert words.startswith("Retryable")
    assert "https" not in words
