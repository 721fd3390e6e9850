"""The gRPC door keeps the rules of OTLP/gRPC: methods, codes, when to come again, limits, TLS, tokens."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shipper.contracts import Signal
from shipper.errors import ConfigError
from shipper.otlp.answer import parse_response
from shipper.sources.listen import ListenSettings
from shipper.sources.otlp import OtlpLimits
from tests.sources.receiver_kit import Gateway, gateway, logs

CERTIFICATE = Path(__file__).parent.parent / "exporters" / "self_signed.pem"
METHOD = "/opentelemetry.proto.collector.{}.v1.{}Service/Export"
LOGS, TRACES, METRICS = (
    METHOD.format("logs", "Logs"),
    METHOD.format("trace", "Trace"),
    METHOD.format("metrics", "Metrics"),
)
Code = grpc.StatusCode


def where(gw: Gateway) -> str:
    host, port = gw.receiver.addresses[-1]
    return f"{host}:{port}"


@asynccontextmanager
async def opened(directory: Path, **settings: Any) -> AsyncIterator[tuple[Gateway, Any]]:
    """A receiver with both doors, and a channel to the second."""
    settings = {"grpc": ListenSettings(port=0), **settings}
    async with gateway(directory, **settings) as gw:
        async with grpc.aio.insecure_channel(where(gw)) as channel:
            yield gw, channel


async def call(channel: Any, body: bytes, method: str = LOGS, **more: Any) -> bytes:
    answer: bytes = await channel.unary_unary(method)(body, **more)
    return answer


async def refused(channel: Any, body: bytes, method: str = LOGS, **more: Any) -> Any:
    """The error of a call that must not succeed."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call(channel, body, method, **more)
    return error.value


def test_each_signal_has_its_service(tmp_path: Path) -> None:
    """What comes by gRPC goes to the same streams as what comes by HTTP; the answer is full success."""
    traces = ExportTraceServiceRequest()
    traces.resource_spans.add().scope_spans.add().spans.add(name="GET /", start_time_unix_nano=5)
    metrics = ExportMetricsServiceRequest()
    metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="m").sum.data_points.add(as_int=1)
    bodies = {LOGS: logs("a"), TRACES: traces.SerializeToString(), METRICS: metrics.SerializeToString()}

    async def main() -> None:
        async with opened(tmp_path) as (gw, channel):
            for method, body in bodies.items():
                assert await call(channel, body, method) == b""
            assert (await gw.post(logs("b"))).status == 200
            assert gw.lines() == ["a", "b"]
            for signal, method in ((Signal.TRACES, TRACES), (Signal.METRICS, METRICS)):
                assert gw.batch(signal).payload == bodies[method]
            assert await call(channel, b"") == b""
            assert (
                await refused(channel, b"", "/opentelemetry.proto.collector.logs.v1.LogsService/Import")
            ).code() is Code.UNIMPLEMENTED

    asyncio.run(main())


@pytest.mark.parametrize("how", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_are_taken(tmp_path: Path, how: Any) -> None:
    """Small and large ones, as gRPC itself compresses them."""
    large = logs(*(f"line {n}" for n in range(20_000)))

    async def main() -> None:
        async with opened(tmp_path) as (gw, channel):
            assert await call(channel, logs("a", "b"), compression=how) == b""
            assert await call(channel, large, compression=how) == b""
            assert gw.lines() == ["a", "b", *(f"line {n}" for n in range(20_000))]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "code", "cause"),
    [
        (b"<html>", Code.INVALID_ARGUMENT, "malformed"),
        (logs("a", "b")[:-3], Code.INVALID_ARGUMENT, "malformed"),
        (gzip.compress(logs("a"))[:-4], Code.INVALID_ARGUMENT, "gzip"),
        (zlib.compress(logs("a"))[:-3], Code.INVALID_ARGUMENT, "deflate"),
        (bytes(3001), Code.RESOURCE_EXHAUSTED, "too_large"),
        (gzip.compress(bytes(1 << 20)), Code.RESOURCE_EXHAUSTED, "too_large"),
        (zlib.compress(bytes(1 << 20)), Code.RESOURCE_EXHAUSTED, "too_large"),
    ],
    ids=["not protobuf", "cut short", "gzip cut short", "deflate cut short", "too large", "bomb", "bomb of deflate"],
)
def test_what_is_wrong_is_refused_for_good(tmp_path: Path, body: bytes, code: Any, cause: str) -> None:
    """Each fault has its code, without word of coming again, is counted, and costs nothing that was stored."""

    async def main() -> None:
        async with opened(tmp_path, limits=OtlpLimits(max_body=3000, max_decompressed=5000)) as (gw, channel):
            assert await call(channel, logs("before")) == b""
            error = await refused(channel, body)
            assert error.code() is code
            assert error.details()
            assert "google.rpc.retryinfo-bin" not in dict(error.trailing_metadata())
            assert (gw.refused(cause), gw.receiver.refused) == (1, 1)
            assert await call(channel, logs("after")) == b""
            assert gw.lines() == ["before", "after"]

    asyncio.run(main())


def test_back_pressure_says_when_to_come_again(tmp_path: Path) -> None:
    """A full spool, and the end of reading, are UNAVAILABLE with a RetryInfo of a second."""

    async def main() -> None:
        async with opened(tmp_path, max_bytes=1000) as (gw, channel):
            for _ in range(4):
                await call(channel, logs("x" * 100))
            error = await refused(channel, logs("x" * 100))
            assert error.code() is Code.UNAVAILABLE
            trailing = dict(error.trailing_metadata())
            assert RetryInfo.FromString(trailing["google.rpc.retryinfo-bin"]).retry_delay.seconds == 1
            status = Status.FromString(trailing["grpc-status-details-bin"])
            assert (status.code, status.message) == (14, error.details())
            info = RetryInfo()
            assert status.details[0].Unpack(info)
            assert info.retry_delay.seconds == 1
            gw.receiver.stop_reading()
            assert (await refused(channel, logs("late"))).code() is Code.UNAVAILABLE
            assert (gw.refused("full"), gw.refused("stopping")) == (1, 1)
            assert len(gw.frames()) == 4

    asyncio.run(main())


def test_a_broken_record_costs_only_itself(tmp_path: Path) -> None:
    """Text that is no UTF-8 leaves out its record; the sender is told how many in a partial success, by HTTP too."""
    broken = logs("good", "bad!", "fine").replace(b"bad!", b"b\xff\xfe!")

    async def main() -> None:
        async with opened(tmp_path) as (gw, channel):
            answers = [await call(channel, broken), (await gw.post(broken)).body]
            for answer in answers:
                rejected, said = parse_response(Signal.LOGS, answer, "application/x-protobuf")
                assert (rejected, said) == (1, "1 records are not valid OTLP and were left out")
            assert gw.lines() == ["good", "fine"] * 2
            assert gw.refused("malformed") == 2
            assert (await refused(channel, logs("b\0d").replace(b"\0", b"\xff"))).code() is Code.INVALID_ARGUMENT

    asyncio.run(main())


def test_a_token_is_asked_before_anything_is_read(tmp_path: Path) -> None:
    """Without the right bearer token in the metadata nothing is taken."""
    settings = ListenSettings(port=0, token="s3cret")

    async def main() -> None:
        async with opened(tmp_path, grpc=settings) as (gw, channel):
            for given in ((), (("authorization", "Bearer wrong"),)):
                assert (await refused(channel, logs("a"), metadata=given)).code() is Code.UNAUTHENTICATED
            assert await call(channel, logs("b"), metadata=(("authorization", "Bearer s3cret"),)) == b""
            assert gw.lines() == ["b"]

    asyncio.run(main())


def test_tls(tmp_path: Path) -> None:
    """With a certificate the door speaks TLS and nothing else."""
    settings = ListenSettings(port=0, cert=str(CERTIFICATE), key=str(CERTIFICATE))

    async def main() -> None:
        async with gateway(tmp_path, grpc=settings) as gw:
            credentials = grpc.ssl_channel_credentials(CERTIFICATE.read_bytes())
            names = [("grpc.ssl_target_name_override", "localhost")]
            async with grpc.aio.secure_channel(where(gw), credentials, options=names) as channel:
                assert await call(channel, logs("a")) == b""
            async with grpc.aio.insecure_channel(where(gw)) as channel:
                assert (await refused(channel, logs("b"))).code() is Code.UNAVAILABLE
            assert gw.lines() == ["a"]

    asyncio.run(main())


def test_an_address_in_use_or_a_missing_certificate_is_a_clear_error_of_grpc(tmp_path: Path) -> None:
    """As for the other door; two servers never share a port unnoticed."""

    async def main() -> None:
        async with opened(tmp_path / "a") as (gw, _):
            taken = ListenSettings(port=gw.receiver.addresses[-1][1])
            with pytest.raises(ConfigError, match=str(taken.port)):
                async with gateway(tmp_path / "b", grpc=taken):
                    pass
        with pytest.raises(ConfigError, match="certificate"):
            async with gateway(tmp_path / "c", grpc=ListenSettings(port=0, cert="/none.pem", key="/none.pem")):
                pass

    asyncio.run(main())


def test_a_socket_of_a_path_is_for_everybody_who_reaches_it(tmp_path: Path) -> None:
    """What lies in its place is not overwritten unless it is a socket that nobody listens on."""
    path = tmp_path / "run" / "otlp.sock"

    async def main() -> None:
        settings = ListenSettings(path=str(path))
        async with gateway(tmp_path / "a", grpc=settings):
            async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
                assert await call(channel, logs("a")) == b""
            assert path.stat().st_mode & 0o777 == 0o666
            with pytest.raises(ConfigError, match="another process listens"):
                async with gateway(tmp_path / "b", listen=settings):
                    pass
        path.unlink(missing_ok=True)
        path.write_text("precious")
        with pytest.raises(ConfigError, match="is no socket"):
            async with gateway(tmp_path / "c", listen=settings):
                pass
        assert path.read_text() == "precious"

    asyncio.run(main())
