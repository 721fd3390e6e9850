"""By which proxy a destination is reached, and what becomes of a request when that is at fault."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext
from shipper.errors import ConfigError, DeliveryError, Retryable, Unusable
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Sink
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters._otlp.settings import Protocol
from shipper_exporters._way.proxy import Proxies
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.exporters.grpc_sink import GrpcSink
from tests.exporters.tls_kit import Authority


class Proxy:
    """A real proxy on loopback: CONNECT, and absolute URLs; every name leads to loopback. ``password``: what it wants."""

    def __init__(self, password: str = "", status: int = 200, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.asked: list[str] = []
        self.url = ""
        self._wanted = f"Basic {base64.b64encode(password.encode()).decode()}" if password else ""
        self._status = status
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = writer
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.close()
        del self._serving[task]

    async def stop(self) -> None:
        """Close what is still open."""
        for writer in self._serving.values():
            writer.transport.abort()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields if f)}
        method, target, _ = line.split()
        self.asked.append(f"{method} {target}")
        status = 407 if self._wanted and headers.get("proxy-authorization") != self._wanted else self._status
        if status != 200:
            writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        elif method == "CONNECT":
            await self._tunnel(reader, writer, int(target.rpartition(":")[2]), b"")
        else:
            url = URL(target)
            rest = [f for f in fields if f and not f.lower().startswith("proxy-")]
            begin = "\r\n".join([f"{method} {url.path} HTTP/1.1", *rest, "Connection: close", "", ""]).encode()
            await self._tunnel(reader, writer, url.port or 80, begin)

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, begin: bytes
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        if begin:
            far_writer.write(begin)
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\nX-Proxy: test\r\n\r\n")

        async def copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                while data := await source.read(1 << 16):
                    to.write(data)
                    await to.drain()
            to.close()

        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))


@asynccontextmanager
async def running(proxy: Proxy) -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=proxy.tls)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield proxy
        await proxy.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


async def send(settings: OtlpSettings, clock: FakeClock) -> OtlpExporter:
    """Send once; the exporter, closed."""
    exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test"))
    await exporter.start()
    try:
        assert await exporter.send(exporter.prepare(log_request(log_batch(["x"]))), Deadline(clock)) == Accepted()
    finally:
        await exporter.aclose()
    return exporter


def story(by: Proxy, protocol: Protocol, *, tls: Authority | None = None, **options: Any) -> OtlpExporter:
    """Send through a proxy to a host that only it can find; options: its URL is ``{0}``, host and port ``{1}``, port ``{2}``."""

    async def run() -> OtlpExporter:
        clock = FakeClock()
        context = tls.server(tls.issue("far", "DNS:far.example")) if tls else None
        server = GrpcSink(tls=context) if protocol == "grpc" else Sink(tls=context, clock=clock)
        async with asyncio.timeout(60), server as sink, running(by):
            given = {
                name: str(value).format(by.url, URL(by.url).authority, URL(by.url).port)
                for name, value in options.items()
            }
            if tls is not None:
                given["ca_file"] = str(tls.ca)
            url = f"{'https' if tls else 'http'}://far.example:{sink.port}"
            exporter = await send(OtlpSettings(**{"endpoint": url, "protocol": protocol, **given}), clock)
            assert len(sink.received) == 1
            how = "CONNECT far.example:" if tls or protocol == "grpc" else "POST http://far.example:"
            assert any(asked.startswith(how) for asked in by.asked)
            return exporter

    return asyncio.run(run())


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("secure", [True, False])
def test_a_proxy_is_gone_through(authority: Authority, protocol: Protocol, secure: bool) -> None:
    """HTTP goes by a proxy as it is, TLS and gRPC by CONNECT; the far name is never resolved here, and is trusted."""
    exporter = story(Proxy(), protocol, tls=authority if secure else None, proxy="{0}")
    assert exporter.trusted()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("secure", [True, False])
def test_a_password_is_shown_to_the_proxy(
    authority: Authority, protocol: Protocol, secure: bool, tmp_path: Path
) -> None:
    """Name and password go to the proxy, from a file."""
    secret = tmp_path / "password"
    secret.write_text("pa ss\n")
    tls = authority if secure else None
    story(Proxy(password="joe:pa ss"), protocol, tls=tls, proxy="http://joe@{1}", proxy_password_file=secret)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize(
    ("proxy", "error", "words"),
    [
        (Proxy(password="joe:x"), Unusable, "it wants another user name or password"),
        (Proxy(status=403), Unusable, "403"),
        (Proxy(status=502), Retryable, "502"),
    ],
)
def test_what_a_proxy_refuses(
    authority: Authority, protocol: Protocol, secure: bool, proxy: Proxy, error: type[DeliveryError], words: str
) -> None:
    """A proxy that lets nobody through is for a person to mend; one that cannot reach the far end is asked again."""
    with pytest.raises(error, match=words):
        story(proxy, protocol, tls=authority if secure else None, proxy="{0}")


@pytest.mark.parametrize("secure", [True, False])
def test_a_proxy_may_be_spoken_to_with_tls(authority: Authority, secure: bool) -> None:
    """HTTP goes by such a proxy, with TLS within TLS where need be; gRPC does not, and says so."""
    tls = authority if secure else None
    context = authority.server(authority.issue("proxy"))
    context.set_alpn_protocols(["http/1.1"])
    given = {"proxy": "https://localhost:{2}", "ca_file": str(authority.ca)}
    assert story(Proxy(tls=context), "http/protobuf", tls=tls, **given).trusted()
    with pytest.raises(Unusable, match="without TLS"):
        story(Proxy(tls=context), "grpc", tls=tls, **given)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_proxy_that_is_down_is_named(protocol: Protocol) -> None:
    """When the proxy cannot be connected to it is the proxy that is named."""
    clock = FakeClock()
    settings = OtlpSettings(endpoint="http://far.example:1", protocol=protocol, proxy="http://127.0.0.1:1")
    with pytest.raises(Retryable, match=r"proxy http://127.0.0.1:1|by http://127.0.0.1:1"):
        asyncio.run(send(settings, clock))


def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an option the usual variables count, with a password in them, and `proxy: none` turns them off."""

    async def run() -> None:
        clock = FakeClock()
        proxy = Proxy(password="joe:p@ss")
        async with asyncio.timeout(60), Sink(clock=clock) as sink, running(proxy):
            monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("http://", "http://joe:p%40ss@"))
            for name in ("http_proxy", "no_proxy", "NO_PROXY"):
                monkeypatch.delenv(name, raising=False)
            far = f"http://far.example:{sink.port}"
            await send(OtlpSettings(endpoint=far), clock)
            asked = len(proxy.asked)
            assert asked
            await send(OtlpSettings(endpoint=sink.url), clock)  # this host itself
            with pytest.raises(Retryable, match="cannot be resolved"):
                await send(OtlpSettings(endpoint=far.replace("example", "invalid"), proxy="none"), clock)
            assert len(proxy.asked) == asked

    asyncio.run(run())


P = "http://p.example:3128"
BOTH = {"HTTP_PROXY": P, "HTTPS_PROXY": "http://s.example:8080"}


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({}, "http://a.example", ""),
        (BOTH, "http://a.example", P),
        (BOTH, "https://a.example", "http://s.example:8080"),
        ({"HTTP_PROXY": P}, "https://a.example", ""),
        ({"HTTP_PROXY": P, "http_proxy": "http://lower.example:1"}, "http://a.example", "http://lower.example:1"),
        ({"HTTP_PROXY": "p.example:3128"}, "http://a.example", P),
        ({"HTTP_PROXY": " "}, "http://a.example", ""),
        (BOTH, "http://localhost:4318", ""),
        (BOTH, "http://127.0.0.5", ""),
        (BOTH, "http://[::1]:4318", ""),
    ],
)
def test_which_variable_counts(environment: Mapping[str, str], url: str, expected: str) -> None:
    """The variable of the URL's scheme; lower case wins; this host is reached directly."""
    found = Proxies("", "", "", environment).of(URL(url))
    assert (str(found.url) if found else "") == expected


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [
        ("*", "http://a.example", True),
        ("a.example", "http://a.example", True),
        ("a.example", "http://b.a.example", True),
        ("a.example", "http://ba.example", False),
        (".a.example", "http://a.example", True),
        (".a.example", "http://b.a.example", True),
        ("*.a.example", "http://b.a.example", True),
        ("A.Example.", "http://a.example.", True),
        ("a.example:4318", "http://a.example:4318", True),
        ("a.example:4318", "http://a.example:4319", False),
        ("x, 10.0.0.0/8", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.1.2.3", "http://10.1.2.3", True),
        ("10.1.2.3:80", "http://10.1.2.3:81", False),
        ("fd00::/8", "http://[fd00::7]:4318", True),
        ("[fd00::7]:4318", "http://[fd00::7]:4318", True),
        ("[fd00::7]:4318", "http://[fd00::7]:1", False),
        ("fd00::7", "http://[fd00::7]:1", True),
        ("x y\ta.example", "http://a.example", True),
        (",,", "http://a.example", False),
        (".", "http://a.example", False),
    ],
)
def test_no_proxy(entry: str, url: str, direct: bool) -> None:
    """Names and all below them, addresses, networks, each with a port if one is given."""
    for name in ("NO_PROXY", "no_proxy"):
        assert (Proxies("", "", "", {**BOTH, name: entry}).of(URL(url)) is None) is direct


@pytest.mark.parametrize(
    ("option", "password_file", "path", "words"),
    [
        ("socks5://p", "", "d.proxy", "is no URL of an HTTP proxy"),
        ("http://", "", "d.proxy", "is no URL"),
        ("http://joe:hush@p", "", "d.proxy", "use proxy_password_file"),
        ("http://p", "/f", "d.proxy", "no user name in it"),
        ("", "/f", "d.proxy_password_file", "without proxy"),
    ],
)
def test_mistakes_about_proxies(option: str, password_file: str, path: str, words: str) -> None:
    """What is no proxy is refused, without repeating what may be a password."""
    with pytest.raises(ConfigError, match=words) as caught:
        Proxies("d", option, password_file, {})
    assert caught.value.path == path
    assert "hush" not in str(caught.value)


def test_a_variable_that_is_no_proxy_matters_only_where_it_counts() -> None:
    """What others put into the environment keeps nobody from starting; who needs it is told, without the password."""
    proxies = Proxies("", "", "", {"HTTPS_PROXY": "socks5://joe:hush@p", "NO_PROXY": "b.example"})
    assert proxies.of(URL("http://a.example")) is None
    assert proxies.of(URL("https://b.example")) is None
    with pytest.raises(Unusable, match="HTTPS_PROXY: is no URL of an HTTP proxy") as caught:
        proxies.of(URL("https://a.example"))
    assert "hush" not in str(caught.value)
    assert "hush" not in repr(Proxies("", "", "", {"HTTP_PROXY": "http://joe:hush@p"}).of(URL("http://a.example")))


def test_an_option_is_for_everything() -> None:
    """A proxy that the settings name is used for every host, whatever the environment excepts."""
    proxies = Proxies("", "http://p.example:1", "", {"NO_PROXY": "*"})
    found = proxies.of(URL("https://a.example"))
    assert found is not None
    assert str(found.url) == "http://p.example:1"
    assert Proxies("", "none", "", BOTH).of(URL("http://a.example")) is None
