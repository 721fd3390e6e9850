"""Plain requests are read without a whole HTTP server, and nobody can tell from outside."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.contracts import Signal
from shipper.sources.http_head import LONGEST, Head, answer_head, read_head
from shipper.sources.listing import Origin
from shipper.sources.otlp import OtlpLimits
from shipper.sources.otlp_http import HttpDoor
from tests.sources.receiver_kit import Gateway, gateway, logs

PLAIN = b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 12\r\n"


@asynccontextmanager
async def connected(gw: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*gw.receiver.addresses[0])
    try:
        yield reader, writer
    finally:
        writer.close()


def post(body: bytes, more: str = "") -> bytes:
    """A plain request."""
    return (
        f"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def chunked(body: bytes) -> bytes:
    """The same request as only a whole server reads it."""
    return (
        b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n"
        + f"{len(body):x}\r\n".encode()
        + body
        + b"\r\n0\r\n\r\n"
    )


async def answered(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    return int(head[9:12]), await reader.readexactly(int(length.partition(b":")[2]))


def door(gw: Gateway) -> HttpDoor:
    found = gw.receiver._doors[0]
    assert isinstance(found, HttpDoor)
    return found


def served_by(gw: Gateway) -> tuple[int, int]:
    """How many connections are read here, and by aiohttp."""
    there = door(gw)._http
    assert there is not None
    return len(plain(gw).connections), len(there.connections)


def plain(gw: Gateway) -> Any:
    """What is known of the connections read here."""
    return door(gw)._plain


async def until(condition: Callable[[], bool]) -> None:
    """Let others work until something is so."""
    while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0)


def test_a_plain_head_is_read() -> None:
    """Names are in lower case, values without the space around them, and the length is a number."""
    head = (
        b"POST /v1/logs?a=1 HTTP/1.1\r\nHost:x\r\nX-Empty:\r\nCONTENT-LENGTH:\t0012 \r\nAuthorization: Bearer a:B \r\n"
    )
    wanted = {"host": "x", "x-empty": "", "content-length": "0012", "authorization": "Bearer a:B"}
    assert read_head(head) == Head("/v1/logs?a=1", 12, wanted)
    assert answer_head(503, {"Retry-After": "1"}, 7) == (
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 7\r\n\r\n"
    )


@pytest.mark.parametrize(
    "head",
    [
        PLAIN.replace(b"POST", b"GET"),
        PLAIN.replace(b"1.1", b"1.0"),
        PLAIN.replace(b"/v1/logs", b"http://x/v1/logs"),
        PLAIN.replace(b"/v1/logs", b"/v1/l\xc3\xb6gs"),
        PLAIN.replace(b"Host: x\r\n", b""),
        PLAIN.replace(b"Content-Length: 12\r\n", b""),
        PLAIN.replace(b" 12\r", b" +12\r"),
        PLAIN.replace(b" 12\r", b" 1_2\r"),
        PLAIN.replace(b" 12\r", b" 12,12\r"),
        PLAIN.replace(b" 12\r", b" 9999999999999999\r"),
        PLAIN.replace(b"Host: x", b"Host : x"),
        PLAIN.replace(b"Host: x", b"Host: x\r\n folded"),
        PLAIN.replace(b"Host: x", b"Host: x\0"),
        PLAIN.replace(b"Host: x", b"Host: \xe4"),
        PLAIN.replace(b"Host: x\r\n", b"Host: x\n"),
        PLAIN + b"content-length: 12\r\n",
        PLAIN + b"Transfer-Encoding: chunked\r\n",
        PLAIN + b"Expect: 100-continue\r\n",
        PLAIN + b"Upgrade: h2c\r\n",
        PLAIN + b"Connection: close\r\n",
        PLAIN + b"no colon\r\n",
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_others(head: bytes) -> None:
    """Whatever a whole server may see in another way, or has to do more for, is not read here."""
    assert read_head(PLAIN) is not None
    assert read_head(head) is None


LINES = [b"Host: x", b"Content-Length: 12", b"Content-Type: a/b", b"Connection: keep-alive", b"X:", b"A: b"]
HEADS = st.builds(
    lambda lines, left_out: b"\r\n".join([b"POST /v1/logs HTTP/1.1", *(lines[:-left_out] if left_out else lines), b""]),
    st.permutations(LINES),
    st.integers(0, 2),
)


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """A head of which some bytes are others, or gone, or new."""
    data = bytearray(draw(HEADS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from([b"", b" ", b"\t", b":", b"\r", b"\n", b"\0", b",", b"\x80", b"/", b"0", b"-", b"\r\n "])
        )
    return bytes(data)


@settings(max_examples=300, deadline=None)
@given(bent())
def test_what_is_read_is_what_a_whole_server_reads(data: bytes) -> None:
    """Where a head is plain, aiohttp finds the same path, headers and length in it."""
    head = read_head(data)
    if head is None:
        return

    async def main() -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        parser = HttpRequestParser(BaseProtocol(loop), loop, 1 << 16, max_field_size=1 << 16)
        messages, _, rest = parser.feed_data(data + b"\r\n" + bytes(head.length))
        assert not rest
        return messages[0]

    try:
        message, body = asyncio.run(main())
    except HttpProcessingError as error:
        raise AssertionError(f"aiohttp does not take {data!r}") from error
    assert (message.method, message.path, message.chunked) == ("POST", head.path, False)
    assert {name.lower(): value for name, value in message.headers.items()} == head.headers
    assert body.total_raw_bytes == head.length if head.length else body.is_eof()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 9)), min_size=1, max_size=6), st.lists(st.integers(1, 9999))
)
def test_it_does_not_matter_how_bytes_arrive(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int]], cuts: list[int]
) -> None:
    """Requests on one connection, sent ahead of their answers and cut anywhere, are stored once each and in order."""
    lines = [f"{n} {'x' * size}" for n, (size, _) in enumerate(sizes)]
    wire = b"".join(
        post(logs(line)) if how else chunked(logs(line)) for line, (_, how) in zip(lines, sizes, strict=True)
    )

    async def main() -> None:
        async with gateway(tmp_path_factory.mktemp("g")) as gw, connected(gw) as (reader, writer):
            at = 0
            for cut in [*cuts, len(wire)]:
                writer.write(wire[at : at + cut])
                await writer.drain()
                at += cut
            assert [await answered(reader) for _ in lines] == [(200, b"")] * len(lines)
            assert gw.lines() == lines

    asyncio.run(main())


def test_a_connection_is_read_here_until_something_else_comes(tmp_path: Path) -> None:
    """Other requests are answered as well, on the same connection, by aiohttp, which keeps it then."""

    async def main() -> None:
        async with gateway(tmp_path) as gw, connected(gw) as (reader, writer):
            for line in ("a", "b"):
                writer.write(post(logs(line)))
                assert await answered(reader) == (200, b"")
            assert served_by(gw) == (1, 0)
            writer.write(b"GET /shipper/v1/hello HTTP/1.1\r\nHost: x\r\n\r\n")
            status, body = await answered(reader)
            assert (status, b"gateway-life" in body) == (200, True)
            assert served_by(gw) == (0, 1)
            writer.write(post(logs("c")))
            assert await answered(reader) == (200, b"")
            assert gw.lines() == ["a", "b", "c"]

    asyncio.run(main())


def test_a_head_that_is_too_long_is_left_to_others(tmp_path: Path) -> None:
    """A head beyond what is read here is answered by aiohttp, which takes longer ones."""

    async def main() -> None:
        async with gateway(tmp_path) as gw, connected(gw) as (reader, writer):
            writer.write(post(logs("a"), f"X: {'y' * (2 * LONGEST)}\r\n"))
            assert (await answered(reader))[0] == 200
            assert served_by(gw) == (0, 1)
            assert gw.lines() == ["a"]

    asyncio.run(main())


def test_a_connection_outlives_a_body_that_was_not_wanted(tmp_path: Path) -> None:
    """A request that is put off before its body is whole is answered at once, and the next one is read behind its end."""

    async def main() -> None:
        async with gateway(tmp_path, limits=OtlpLimits(max_in_flight=1000)) as gw:
            async with connected(gw) as (_, holding), connected(gw) as (reader, writer):
                holding.write(post(bytes(999))[:-1])
                budget = gw.receiver._desk.budget
                await until(lambda: budget.used == 998)
                late = post(logs("late"))
                writer.write(late[:-3])
                assert (await answered(reader))[0] == 503
                writer.write(late[-3:])
                holding.close()
                await until(lambda: budget.used == 0)
                writer.write(post(logs("in time")))
                assert (await answered(reader))[0] == 200
                assert served_by(gw)[1] == 0
                assert gw.lines() == ["in time"]

    asyncio.run(main())


def test_who_does_not_read_answers_gets_no_more_of_them(tmp_path: Path) -> None:
    """Requests sent ahead wait while their answers do; nothing piles up, and all are answered in the end."""
    many = 3000

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, gw.receiver.addresses[0])
            reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
            writer.write(post(b""))
            assert await answered(reader) == (200, b"")
            (one,) = plain(gw).connections
            one._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            writer.write(post(b"") * many)
            await until(lambda: one._choked)
            for _ in range(many):
                assert await answered(reader) == (200, b"")
            writer.close()

    asyncio.run(main())


def test_an_idle_connection_is_closed_after_a_while(tmp_path: Path) -> None:
    """The time counts from the last answer."""

    async def main() -> None:
        async with gateway(tmp_path, limits=OtlpLimits(idle_seconds=0.05)) as gw, connected(gw) as (reader, writer):
            writer.write(post(logs("a")))
            assert await answered(reader) == (200, b"")
            assert await reader.read() == b""
            assert served_by(gw) == (0, 0)

    asyncio.run(main())


def test_a_request_under_way_is_answered_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits for what is being stored, then the connection ends; idle ones end at once."""

    async def main() -> None:
        async with gateway(tmp_path) as gw, connected(gw) as (reader, writer), connected(gw) as (idle, _):
            begun, go_on = asyncio.Event(), asyncio.Event()
            store = gw.receiver._desk.take

            async def slowly(signal: Signal, data: bytes, origin: Origin) -> int:
                begun.set()
                await go_on.wait()
                return await store(signal, data, origin)

            monkeypatch.setattr(gw.receiver._desk, "take", slowly)
            writer.write(post(logs("a")))
            await begun.wait()
            closing = asyncio.ensure_future(door(gw).aclose())
            assert await idle.read() == b""
            go_on.set()
            assert (await answered(reader))[0] == 200
            assert await reader.read() == b""
            await closing
            assert gw.lines() == ["a"]

    asyncio.run(main())


def test_a_bug_is_told_and_costs_only_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody thought of is logged with a traceback, the sender gets a 500, and the next request is served."""

    async def main() -> None:
        async with gateway(tmp_path) as gw, connected(gw) as (reader, writer):
            with monkeypatch.context() as patch:
                patch.setattr(gw.receiver._desk, "take", None)
                writer.write(post(logs("a")))
                assert (await answered(reader))[0] == 500
            writer.write(post(logs("b")))
            assert (await answered(reader))[0] == 200
            assert gw.lines() == ["b"]

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert [bool(record.exc_info) for record in caplog.records] == [True]
