"""Senders that break off, dawdle, crowd or lie cost themselves, not others."""

import asyncio
import contextlib
import gzip
import io
import logging
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from shipper.contracts import Signal
from shipper.sources.listen import ListenSettings
from shipper.sources.otlp import OtlpLimits
from tests.sources.receiver_kit import PROTOBUF, Gateway, gateway, listing, logs

CERTIFICATE = str(Path(__file__).parent.parent / "exporters" / "self_signed.pem")


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a stranger sends, nothing of it is taken for a bug."""
    yield
    assert not [record for record in caplog.get_records("call") if record.exc_info or record.levelno >= logging.ERROR]


@asynccontextmanager
async def raw(gw: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*gw.receiver.addresses[0])
    try:
        yield reader, writer
    finally:
        writer.close()


def head(length: int | None, more: str = "") -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n{framing}\r\n{more}\r\n".encode()
    )


async def works(gw: Gateway) -> None:
    assert (await gw.post(logs("after"))).status == 200
    assert gw.lines()[-1] == "after"


async def until(condition: Callable[[], bool]) -> None:
    """Let others work until something is so."""
    while not condition():  # noqa: ASYNC110 - what is waited for belongs to aiohttp, which tells nobody
        await asyncio.sleep(0)


async def settled(gw: Gateway) -> None:
    """Wait until no request is under way and nothing is held."""
    await until(lambda: gw.receiver.silent(0.0))
    assert gw.receiver._desk.budget.used == 0


@pytest.mark.parametrize("length", [None, 5000])
@pytest.mark.parametrize("half_close", [True, False])
def test_a_body_that_breaks_off_is_not_stored(tmp_path: Path, length: int | None, half_close: bool) -> None:
    """A sender that dies in the middle of its body leaves nothing behind, whatever the half looks like."""
    body = logs("complete in itself")
    wire = body if length else f"{len(body):x}\r\n".encode() + body + b"\r\n"

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            async with raw(gw) as (reader, writer):
                writer.write(head(length) + wire)
                await writer.drain()
                await until(lambda: not gw.receiver.silent(0.0))
                if half_close:
                    writer.write_eof()
                    assert b" 200 " not in await reader.read(100)
            await settled(gw)
            assert gw.frames() == []
            await works(gw)

    asyncio.run(main())


@pytest.mark.parametrize("length", [None, 5000])
def test_an_oversize_body_is_refused_before_it_was_read(tmp_path: Path, length: int | None) -> None:
    """A body over the limit is answered with 413 as soon as that is known, stated or not."""

    async def main() -> None:
        async with gateway(tmp_path, limits=OtlpLimits(max_body=1000)) as gw:
            async with raw(gw) as (reader, writer):
                writer.write(head(length) + (b"" if length else b"1000\r\n" + bytes(4096)))
                assert b" 413 " in await reader.readline()
            await settled(gw)
            await works(gw)

    asyncio.run(main())


def test_a_gzip_bomb_is_stopped_at_the_limit(tmp_path: Path) -> None:
    """A small body that would become gigabytes is decompressed up to the limit and no further."""
    member = gzip.compress(bytes(64 << 20))
    bomb = member * 40

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            answer = await gw.post(io.BytesIO(bomb), {**PROTOBUF, "Content-Encoding": "gzip"})
            assert answer.status == 413
            empty = gzip.compress(b"") * 50_000
            assert (await gw.post(empty, {**PROTOBUF, "Content-Encoding": "gzip"})).status == 200
            await works(gw)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "status"),
    [(zlib.compress(bytes(128 << 20)), 413), (zlib.compress(logs("a"))[:-3], 400), (b"not deflate", 400)],
    ids=["bomb", "cut short", "garbage"],
)
def test_a_deflate_body_that_is_hostile_or_broken_is_refused(tmp_path: Path, body: bytes, status: int) -> None:
    """A deflate bomb stops at the limit; one that is cut short or no deflate at all gets a 400."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            answer = await gw.post(io.BytesIO(body), {**PROTOBUF, "Content-Encoding": "deflate"})
            assert answer.status == status
            await works(gw)

    asyncio.run(main())


def test_too_much_at_once_is_put_off(tmp_path: Path) -> None:
    """When the requests under way fill the memory set aside for them, further ones are asked to come again."""

    async def main() -> None:
        async with gateway(tmp_path, limits=OtlpLimits(max_in_flight=10_000)) as gw:
            async with raw(gw) as (_, writer):
                writer.write(head(9_500) + bytes(9_000))
                await writer.drain()
                await until(lambda: gw.receiver._desk.budget.used == 9_000)
                answer = await gw.post(logs("x" * 2000))
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                assert gw.refused("busy") == 1
                await works(gw)
            await settled(gw)
            assert (await gw.post(logs("x" * 50_000))).status == 200  # alone, any size may come

    asyncio.run(main())


def test_a_sender_that_dawdles_over_its_body_is_sent_away(tmp_path: Path) -> None:
    """A body has to arrive in time; the sender is told to try again, as OTLP senders do on 503 only."""

    async def main() -> None:
        async with gateway(tmp_path, limits=OtlpLimits(body_seconds=0.01)) as gw:
            async with raw(gw) as (reader, writer):
                writer.write(head(100) + b"some")
                assert b" 503 " in await reader.readline()
            assert gw.refused("slow") == 1
            await works(gw)

    asyncio.run(main())


def test_a_sender_that_asks_first_is_answered_first(tmp_path: Path) -> None:
    """With ``Expect: 100-continue`` the body is asked for, or refused without having been sent."""
    body = logs("a")
    asking = "Expect: 100-continue\r\n"

    async def main() -> None:
        async with gateway(tmp_path, limits=OtlpLimits(max_body=1000)) as gw:
            async with raw(gw) as (reader, writer):
                writer.write(head(len(body), asking))
                assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                writer.write(body)
                assert b" 200 " in await reader.readline()
            async with raw(gw) as (reader, writer):
                writer.write(head(1001, asking))
                assert b" 413 " in await reader.readline()
            assert gw.lines() == ["a"]

    asyncio.run(main())


@pytest.mark.parametrize("sent", [b"", b"POST /v1/logs HTTP/1.1\r\nHost: ", head(1)[:-2]])
def test_a_sender_that_dawdles_over_its_headers_is_hung_up_on(tmp_path: Path, sent: bytes) -> None:
    """A connection without a complete request is closed after a while."""

    async def main() -> None:
        async with gateway(tmp_path, limits=OtlpLimits(idle_seconds=0.05)) as gw:
            async with raw(gw) as (reader, writer):
                writer.write(sent)
                assert await reader.read() == b""
            await works(gw)

    asyncio.run(main())


def test_connections_beyond_the_limit_are_closed(tmp_path: Path) -> None:
    """One too many is closed at once; when another goes, there is room again."""

    async def main() -> None:
        async with gateway(tmp_path, limits=OtlpLimits(max_connections=2)) as gw:
            async with raw(gw) as one, raw(gw) as two:
                for _, writer in (one, two):
                    writer.write(b"GET /shipper/v1/hello HTTP/1.1\r\nHost: x\r\n\r\n")
                    await writer.drain()
                assert b" 200 " in await one[0].readline()
                assert b" 200 " in await two[0].readline()
                async with raw(gw) as (reader, _):
                    with contextlib.suppress(ConnectionResetError):
                        assert await reader.read() == b""
            await until(lambda: not gw.receiver._doors[0].connected())
            await works(gw)

    asyncio.run(main())


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / SPDY\r\n\r\n",
        b"POST /v1/logs HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nX: " + b"y" * (300 << 10) + b"\r\n\r\n",
        b"POST /v1/logs HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(2000)) + b"\r\n",
        head(None) + b"zz\r\n",
    ],
    ids=["TLS", "no HTTP", "negative length", "huge header", "many headers", "bad chunk"],
)
def test_what_is_no_http_is_refused(tmp_path: Path, request_bytes: bytes) -> None:
    """Bytes that are not a well-formed request end their own connection, with 400 where HTTP allows one."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            async with raw(gw) as (reader, writer):
                writer.write(request_bytes)
                assert (await reader.read(12)) in (b"HTTP/1.1 400", b"HTTP/1.0 400", b"")
            await settled(gw)
            assert gw.frames() == []
            if request_bytes.startswith(b"POST"):
                assert gw.refused("http") + gw.refused("broken_off") == 1
            await works(gw)

    asyncio.run(main())


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    """A value nested thousands of levels deep is malformed, in protobuf and in JSON."""
    value = b""
    for _ in range(3000):
        value = _field(5, _field(1, value))
    deep = _field(1, _field(2, _field(2, _field(5, value))))
    text = b'{"resourceLogs":' + b"[" * 50_000 + b"]" * 50_000 + b"}"

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            assert (await gw.post(deep)).status == 400
            assert (await gw.post(text, {"Content-Type": "application/json"})).status == 400
            await works(gw)

    asyncio.run(main())


def _field(number: int, payload: bytes) -> bytes:
    length = len(payload)
    size = b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + payload


def test_a_long_list_of_batches_fits_in_the_header(tmp_path: Path) -> None:
    """A request of a thousand small streams lists them all; everything still is checked."""
    one = logs("x")
    items = [f"file-{n:04d}:0-2:{len(one)}:1" for n in range(1000)]

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            assert (await gw.post(one * 1000, listing("h", *items))).status == 200
            assert len(gw.batch().members) == 1000

    asyncio.run(main())


def test_tls_and_token_protect_a_listener(tmp_path: Path) -> None:
    """With a certificate the receiver speaks TLS only."""
    context = ssl.create_default_context(cafile=CERTIFICATE)
    context.check_hostname = False
    settings = ListenSettings(host="0.0.0.0", port=0, cert=CERTIFICATE, key=CERTIFICATE, token="t")

    async def main() -> None:
        async with gateway(tmp_path, listen=settings) as gw:
            headers = {**PROTOBUF, "Authorization": "Bearer t"}
            async with gw.session.post(f"{gw.url}/v1/logs", data=logs("a"), headers=headers, ssl=context) as response:
                assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await gw.session.post(gw.url.replace("https", "http") + "/v1/logs", data=logs("b"), headers=headers)
            assert [frame.payload for frame in gw.frames(Signal.LOGS)] == [logs("a")]

    asyncio.run(main())
