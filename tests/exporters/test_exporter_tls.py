"""TLS as every exporter over HTTP or gRPC has it: who is trusted, what is shown, and how a fault is said."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext
from shipper.errors import DeliveryError, Retryable, Unusable
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Sink
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters._otlp.settings import Protocol
from shipper_exporters._way.failures import tls_failure
from shipper_exporters._way.files import TlsFiles
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.exporters.grpc_sink import GrpcSink
from tests.exporters.tcp_kit import serving
from tests.exporters.tls_kit import Authority
from tests.exporters.tls_refusal import refusing

both = pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def sink(protocol: Protocol, tls: ssl.SSLContext, clock: FakeClock) -> AsyncIterator[Sink | GrpcSink]:
    server = GrpcSink(tls=tls) if protocol == "grpc" else Sink(tls=tls, clock=clock)
    async with server as running:
        yield running


def sent(
    protocol: Protocol, tls: ssl.SSLContext, then: Callable[..., Awaitable[None]] | None = None, **options: Any
) -> str:
    """What became of a request: nothing, or the type and the words of what was raised. ``then`` goes on after it."""

    async def run() -> str:
        clock = FakeClock()
        async with asyncio.timeout(60), sink(protocol, tls, clock) as server:
            endpoint = options.pop("endpoint", "https://localhost:{}").format(server.port)
            settings = OtlpSettings(endpoint=endpoint, protocol=protocol, **options)
            exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            try:
                said = await outcome(exporter, clock)
                if then is not None:
                    await then(exporter, clock)
                return said
            finally:
                await exporter.aclose()

    return asyncio.run(run())


async def outcome(exporter: OtlpExporter, clock: FakeClock) -> str:
    try:
        assert await exporter.send(exporter.prepare(log_request(log_batch(["x"]))), Deadline(clock)) == Accepted()
    except DeliveryError as error:
        return f"{type(error).__name__}: {error}"
    return ""


@both
def test_a_known_authority_is_trusted(authority: Authority, protocol: Protocol) -> None:
    """With its authority named, a server is trusted by its name, and by its address."""
    tls = authority.server(authority.issue("good"))
    assert sent(protocol, tls, ca_file=str(authority.ca)) == ""
    assert sent(protocol, tls, ca_file=str(authority.ca), endpoint="https://127.0.0.1:{}") == ""


@both
@pytest.mark.parametrize(
    ("names", "days", "words"),
    [
        (
            "DNS:other.example",
            2,
            "Hostname mismatch, certificate is not valid for 'localhost'; if this is the right server",
        ),
        ("DNS:localhost", -1, "certificate has expired; it has to be renewed, or the clock of this host is wrong"),
    ],
)
def test_a_wrong_certificate_is_said(
    authority: Authority, protocol: Protocol, names: str, days: int, words: str
) -> None:
    """A certificate of another name or of another time is for a person to mend, and said in words that help."""
    said = sent(protocol, authority.server(authority.issue("wrong", names, days)), ca_file=str(authority.ca))
    assert said.startswith("Unusable: https://localhost")
    assert words in said


@both
def test_an_unknown_authority_is_said(authority: Authority, protocol: Protocol) -> None:
    """A server whose authority is not among the system's is not sent to; how to name it is said."""
    said = sent(protocol, authority.server(authority.issue("good")))
    assert "unable to get local issuer certificate; if it is the right one, name its authority as ca_file" in said
    assert said.startswith("Unusable")


@both
def test_another_name_can_be_expected(authority: Authority, protocol: Protocol) -> None:
    """`server_name` is what is asked for (SNI) and what the certificate must be for."""
    asked: list[str | None] = []
    tls = authority.server(authority.issue("inner", "DNS:inner.example"))
    tls.sni_callback = lambda _connection, name, _context: asked.append(name)
    assert sent(protocol, tls, ca_file=str(authority.ca), server_name="inner.example") == ""
    assert set(asked) == {"inner.example"}


@both
def test_old_versions_are_not_spoken(authority: Authority, protocol: Protocol) -> None:
    """TLS 1.2 is the least, whatever the system's configuration would let through; 1.2 itself is fine."""
    pem = authority.issue("good")
    assert sent(protocol, authority.server(pem, versions=("TLSv1_2", "TLSv1_2")), ca_file=str(authority.ca)) == ""
    for files in (("", ""), (str(authority.ca), "")):
        context = TlsFiles(*files, "").context()
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@both
def test_a_server_of_old_versions_is_said(authority: Authority, protocol: Protocol) -> None:
    """A server that knows only TLS 1.1 is for a person to mend."""
    old = authority.server(authority.issue("good"), versions=("TLSv1", "TLSv1_1"))
    said = refused(protocol, old, ca_file=str(authority.ca))
    assert said.startswith("Unusable")
    assert "no version of TLS or protocol in common, TLS 1.2 is the least" in said


def refused(protocol: Protocol, tls: ssl.SSLContext, **options: Any) -> str:
    """As `sent`, with a server that says why it ends a handshake."""

    async def run() -> str:
        clock = FakeClock()
        async with asyncio.timeout(60), serving(refusing(tls)) as port:
            settings = OtlpSettings(endpoint=f"https://localhost:{port}", protocol=protocol, **options)
            exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            try:
                return await outcome(exporter, clock)
            finally:
                await exporter.aclose()

    return asyncio.run(run())


@both
@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("TLSv1_2", "it ends the handshake: it wants a client certificate, or there is no cipher in common"),
        ("TLSv1_3", "it does not accept our client certificate, or wants one"),
    ],
)
def test_a_client_certificate_that_is_missing_is_said(
    authority: Authority, protocol: Protocol, version: str, words: str
) -> None:
    """A server that wants a certificate and gets none is set up for somebody else: a person has to mend it."""
    tls = authority.server(authority.issue("good"), client=True, versions=(version, version))
    said = refused(protocol, tls, ca_file=str(authority.ca))
    assert said.startswith("Unusable")
    assert words in said


@both
def test_a_client_certificate_is_read_again_when_it_is_renewed(
    authority: Authority, protocol: Protocol, tmp_path: Path
) -> None:
    """mTLS with a certificate of another authority fails; once its file holds the right one the same exporter is let in."""
    mine = tmp_path / "client.pem"
    shutil.copy(Authority(tmp_path / "other").issue("client"), mine)
    tls = authority.server(authority.issue("good"), client=True)

    async def renewed(exporter: OtlpExporter, clock: FakeClock) -> None:
        shutil.copy(authority.issue("client"), mine)
        assert await outcome(exporter, clock) == ""

    said = sent(protocol, tls, renewed, ca_file=str(authority.ca), cert_file=str(mine))
    assert said


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", Unusable),
        ("SSLV3_ALERT_BAD_CERTIFICATE", Unusable),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", Unusable),
        ("TLSV1_ALERT_UNKNOWN_CA", Unusable),
        ("TLSV1_ALERT_PROTOCOL_VERSION", Unusable),
        ("TLSV1_ALERT_NO_APPLICATION_PROTOCOL", Unusable),
        ("UNSUPPORTED_PROTOCOL", Unusable),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", Unusable),
        ("TLSV1_ALERT_INTERNAL_ERROR", Retryable),
        ("WRONG_VERSION_NUMBER", Unusable),
        ("UNEXPECTED_EOF_WHILE_READING", Retryable),
    ],
)
def test_what_ends_a_handshake(reason: str, error: type[DeliveryError]) -> None:
    """Reasons that no later attempt changes are for a person, others may pass."""
    raised = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1006)")
    raised.reason = reason
    assert isinstance(tls_failure(raised, "https://gw"), error)


@both
def test_an_encrypted_key_is_said(authority: Authority, protocol: Protocol, tmp_path: Path) -> None:
    """A key that wants a passphrase is refused and never asked for on a terminal."""
    key = tmp_path / "key.pem"
    text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGHME4=\n-----END ENCRYPTED PRIVATE KEY-----\n"
    key.write_text(text)
    pem = authority.issue("good")
    said = sent(protocol, authority.server(pem), ca_file=str(authority.ca), cert_file=str(pem), key_file=str(key))
    assert said.startswith("Unusable: cannot use the TLS files")
