"""What only another Shipper says and asks by gRPC, and that a gateway believes nothing of it unchecked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from shipper.sources.listen import ListenSettings
from shipper.sources.otlp_grpc import HELLO, KNOWN
from tests.sources.receiver_kit import Gateway, gateway, logs

LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
Code = grpc.StatusCode


@asynccontextmanager
async def opened(directory: Path, **settings: Any) -> AsyncIterator[tuple[Gateway, Any]]:
    """A receiver with both doors, and a channel to the second."""
    settings = {"grpc": ListenSettings(port=0), **settings}
    async with gateway(directory, **settings) as gw:
        host, port = gw.receiver.addresses[-1]
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            yield gw, channel


async def code(channel: Any, method: str, message: bytes, metadata: Any = ()) -> Any:
    """How a call ended."""
    try:
        await channel.unary_unary(method)(message, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return Code.OK


def named(life: str, batches: str) -> list[tuple[str, str]]:
    return [("shipper-life", life), ("shipper-batches", batches)]


def test_a_range_is_stored_once_whatever_door_it_comes_by(tmp_path: Path) -> None:
    """What came by HTTP is recognised by gRPC, and the other way round."""
    body = logs("a", "b")

    async def main() -> None:
        async with opened(tmp_path) as (gw, channel):
            metadata = named("life-1", f"file-1:0-4:{len(body)}:2")
            headers = {"Content-Type": "application/x-protobuf", **{key.title(): text for key, text in metadata}}
            assert (await gw.post(body, headers)).status == 200
            assert await code(channel, LOGS, body, metadata) is Code.OK
            assert gw.lines() == ["a", "b"]
            assert gw.duplicates() > 0
            known = json.loads(await channel.unary_unary(KNOWN)(b"life-1"))
            assert known == {"streams": {"file-1": [[0, 4]]}}
            hello = json.loads(await channel.unary_unary(HELLO)(b""))
            assert (hello["life"], hello["role"]) == ("gateway-life", "gateway")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("life", "batches"),
    [
        ("life-1", "file-1:0-4:1:2"),  # not the bytes there are
        ("life-1", "file-1:4-4:{}:2"),
        ("life-1", "nonsense"),
        ("no life!", "file-1:0-4:{}:2"),
        ("life-1", "file-1:0-4:{}:3"),  # not the records there are
    ],
)
def test_a_wrong_list_is_refused_by_grpc(tmp_path: Path, life: str, batches: str) -> None:
    """What does not fit the message is refused for good, and nothing of it stored."""
    body = logs("a", "b")

    async def main() -> None:
        async with opened(tmp_path) as (gw, channel):
            metadata = named(life, batches.format(len(body)))
            assert await code(channel, LOGS, body, metadata) is Code.INVALID_ARGUMENT
            assert gw.lines() == []
            assert gw.refused("headers") == 1

    asyncio.run(main())


def test_a_receiver_that_is_no_gateway_knows_nothing_of_it(tmp_path: Path) -> None:
    """Beside a service everybody is a stranger: lists are ignored, questions are not known."""
    body = logs("a")

    async def main() -> None:
        async with opened(tmp_path, role="sidecar") as (gw, channel):
            assert await code(channel, LOGS, body, named("x", "nonsense")) is Code.OK
            for method in (HELLO, KNOWN):
                assert await code(channel, method, b"life-1") is Code.UNIMPLEMENTED
            assert gw.lines() == ["a"]

    asyncio.run(main())


def test_questions_that_make_no_sense(tmp_path: Path) -> None:
    """What is no life's id is said to be none; one that nobody heard of has nothing."""

    async def main() -> None:
        async with opened(tmp_path) as (_, channel):
            for life in (b"", b"no life!", b"\xff\xff", b"x" * 100):
                assert await code(channel, KNOWN, life) is Code.INVALID_ARGUMENT
            assert json.loads(await channel.unary_unary(KNOWN)(b"never-heard-of")) == {"streams": {}}

    asyncio.run(main())


def test_a_token_is_wanted_for_questions_too(tmp_path: Path) -> None:
    """Who may not send may not ask what there is."""

    async def main() -> None:
        async with opened(tmp_path, listen=ListenSettings(port=0, token="hush")) as (_, channel):
            for method in (HELLO, KNOWN):
                assert await code(channel, method, b"life-1") is Code.UNAUTHENTICATED
                assert await code(channel, method, b"life-1", [("authorization", "Bearer hush")]) is Code.OK

    asyncio.run(main())


def test_many_batches_fit_the_metadata(tmp_path: Path) -> None:
    """A request of as many small streams as a Shipper sends at once is taken."""
    bodies = [logs(f"line {n}") for n in range(64)]
    stream = "file-{:02}-0123456789abcdef-0123456789abcdef"
    listed = ",".join(f"{stream.format(n)}:123456789012-123456789019:{len(body)}:1" for n, body in enumerate(bodies))

    async def main() -> None:
        async with opened(tmp_path) as (gw, channel):
            assert await code(channel, LOGS, b"".join(bodies), named("life-1", listed)) is Code.OK
            assert len(gw.lines()) == 64

    asyncio.run(main())
