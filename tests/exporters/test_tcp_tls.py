"""TLS to servers that speak no HTTP: whom we trust, who trusts us, and what is said where that fails."""

from __future__ import annotations

import asyncio

import pytest

from shipper.clock import Deadline
from shipper.contracts import ExporterContext
from shipper.errors import ConfigError, Retryable, Unusable
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE
from shipper_exporters._tcp.link import Link
from shipper_exporters._tcp.session import Tcp
from shipper_exporters._tcp.settings import Server, TcpSettings
from tests.exporters.tcp_kit import serving
from tests.exporters.tls_kit import Authority
from tests.exporters.tls_refusal import refusing


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)


async def exchange(link: Link, _server: Server) -> None:
    await link.send(b"hello")
    assert await link.read() == b"hello"


async def ask(endpoint: str, **options: str) -> None:
    """Exchange something."""
    clock = FakeClock()
    tcp = Tcp("t", TcpSettings(endpoint=endpoint, **options), ExporterContext(clock, LIFE, 1, "test"), port=1)  # type: ignore[arg-type]
    tcp.open()
    try:
        await tcp.run(exchange, Deadline(clock))
    finally:
        await tcp.aclose()


def test_an_authority_of_its_own_and_a_client_certificate(authority: Authority) -> None:
    """The server's certificate is checked against the file, and ours is shown where the server wants one."""
    ours = str(authority.issue("client"))

    async def run() -> None:
        tls = authority.server(authority.issue("server"), client=True)
        async with asyncio.timeout(60), serving(echo, tls=tls) as port:
            await ask(f"tls://127.0.0.1:{port}", ca_file=str(authority.ca), cert_file=ours)
            await ask(f"tls://localhost:{port}", ca_file=str(authority.ca), cert_file=ours, key_file=ours)

    asyncio.run(run())


def test_no_protocol_within_tls_is_asked_for(authority: Authority) -> None:
    """ALPN is for HTTP: a server that knows other names only would refuse the connection."""
    chosen: list[object] = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await echo(reader, writer)

    async def run() -> None:
        tls = authority.server(authority.issue("server"))
        async with asyncio.timeout(60), serving(look, tls=tls) as port:
            await ask(f"tls://127.0.0.1:{port}", ca_file=str(authority.ca))

    asyncio.run(run())
    assert chosen == [None]


@pytest.mark.parametrize(
    ("names", "days", "ours", "words"),
    [
        ("IP:127.0.0.1", 2, "", "its TLS certificate is not accepted: .* name its authority as ca_file"),
        ("DNS:logs.example", 2, "ca", "its TLS certificate is not accepted: .* name what its certificate is for"),
        ("IP:127.0.0.1", -1, "ca", "its TLS certificate is not accepted: certificate has expired"),
    ],
    ids=["unknown authority", "another name", "expired"],
)
def test_a_stranger_s_certificate_is_for_a_person_to_mend(
    authority: Authority, names: str, days: int, ours: str, words: str
) -> None:
    """It is refused with the reason, and nothing is sent."""

    async def run() -> None:
        tls = authority.server(authority.issue("other", names, days))
        options = {"ca_file": str(authority.ca)} if ours else {}
        async with asyncio.timeout(60), serving(echo, tls=tls) as port:
            with pytest.raises(Unusable, match=words):
                await ask(f"tls://127.0.0.1:{port}", **options)
            if names.startswith("DNS:"):
                await ask(f"tls://127.0.0.1:{port}", server_name="logs.example", **options)

    asyncio.run(run())


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_server_that_refuses_us_is_for_a_person_to_mend(authority: Authority, version: str) -> None:
    """A server that wants a client certificate says so by an alert: in TLS 1.3 only after all was sent."""

    async def run() -> None:
        tls = authority.server(authority.issue("server"), client=True, versions=(version, version))
        async with asyncio.timeout(60), serving(refusing(tls)) as port:
            with pytest.raises(Unusable, match=r"wants (one|a client certificate)"):
                await ask(f"tls://127.0.0.1:{port}", ca_file=str(authority.ca))

    asyncio.run(run())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_not_spoken(authority: Authority) -> None:
    """A server that knows nothing newer than TLS 1.1 is refused, whatever the system allows."""

    async def run() -> None:
        tls = authority.server(authority.issue("server"), versions=("TLSv1", "TLSv1_1"))
        async with asyncio.timeout(60), serving(refusing(tls)) as port:
            with pytest.raises(Unusable, match="no version of TLS or protocol in common"):
                await ask(f"tls://127.0.0.1:{port}", ca_file=str(authority.ca))

    asyncio.run(run())


def test_tls_to_a_server_without_it_is_for_a_person_to_mend() -> None:
    """A server that answers a handshake in plain text is told from one that breaks off."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()

    async def close(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async def run() -> None:
        async with asyncio.timeout(60), serving(talk) as talking, serving(close) as closing:
            with pytest.raises(Unusable, match="does not speak TLS; without it the endpoint begins with tcp://"):
                await ask(f"tls://127.0.0.1:{talking}")
            with pytest.raises(Retryable):
                await ask(f"tls://127.0.0.1:{closing}")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"endpoint: is missing, for example logs.example:5044 or tls://logs.example:5044"),
        ({"endpoint": "a:1", "endpoints": ["b:1"]}, r"endpoints: and endpoint exclude each other"),
        ({"endpoint": "http://a:1"}, r"endpoint: is not a server such as"),
        ({"endpoint": "a:1/path"}, r"endpoint: is not a server such as"),
        ({"endpoint": "user:secret@a:1"}, r"endpoint: is not a server such as"),
        ({"endpoint": "a:99999"}, r"endpoint: is not a server such as"),
        ({"endpoint": "a:0"}, r"endpoint: is not a server such as"),
        ({"endpoint": ":5044"}, r"endpoint: is not a server such as"),
        ({"endpoints": ["a", "tls://"]}, r"endpoints\[1\]: is not a server such as"),
        ({"endpoint": "a", "ca_file": "/ca.pem"}, r"ca_file: is for TLS, but no endpoint begins with tls://"),
        ({"endpoint": "a", "server_name": "b"}, r"server_name: is for TLS"),
        ({"endpoint": "tls://a", "key_file": "/k"}, r"key_file: is given without cert_file"),
        ({"endpoint": "a", "timeout": 0.0}, r"timeout: must be more than 0"),
    ],
)
def test_settings_that_cannot_work(options: dict[str, object], words: str) -> None:
    """Each is refused before anything is sent, with the option and a sentence; a password in it is not repeated."""
    with pytest.raises(ConfigError, match=rf"destinations\.t\.{words}") as caught:
        Tcp("t", TcpSettings(**options), ExporterContext(FakeClock(), LIFE, 1, "test"), port=5044)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [("a", "a:5044"), ("tcp://a:1", "a:1"), ("tls://A.Example", "tls://a.example:5044"), ("[::1]", "[::1]:5044")],
)
def test_endpoints_as_people_write_them(endpoint: str, shown: str) -> None:
    """Without a scheme it is plain TCP, without a port the protocol's own."""
    tcp = Tcp("t", TcpSettings(endpoint=endpoint), ExporterContext(FakeClock(), LIFE, 1, "test"), port=5044)
    assert tcp.describe() == shown
