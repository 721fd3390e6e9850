"""The receiver keeps the rules of OTLP/HTTP: paths, types, codings, statuses and bodies."""

import asyncio
import gzip
import json
from pathlib import Path

import cramjam
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shipper.contracts import Signal
from shipper.errors import ConfigError
from shipper.otlp.answer import parse_response, parse_status
from shipper.otlp.encode import export_logs, log_record, resource, scope
from shipper.sources.listen import ListenSettings
from shipper.sources.otlp import OtlpLimits
from shipper.testing.clock import FakeClock
from tests.sources.receiver_kit import JSON, PROTOBUF, gateway, listing, logs

GZIP = {**PROTOBUF, "Content-Encoding": "gzip"}
ZSTD = {**PROTOBUF, "Content-Encoding": "zstd"}
TEXT = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"from JSON"}}]}]}]}'


def zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data))


def test_each_signal_goes_to_a_stream_of_its_own(tmp_path: Path) -> None:
    """Logs, traces and metrics are answered with success and spooled as they came, each apart."""
    traces = ExportTraceServiceRequest()
    traces.resource_spans.add().scope_spans.add().spans.add(name="GET /", start_time_unix_nano=5)
    metrics = ExportMetricsServiceRequest()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    metric.sum.data_points.add(as_int=1)
    metric.sum.data_points.add(as_int=2)
    bodies = {
        Signal.LOGS: (logs("a", "b"), 2),
        Signal.TRACES: (traces.SerializeToString(), 1),
        Signal.METRICS: (metrics.SerializeToString(), 2),
    }

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            assert {stream.id for stream in gw.hub.added} == {"otlp-logs", "otlp-traces", "otlp-metrics"}
            for signal, (body, records) in bodies.items():
                answer = await gw.post(body, path=f"/v1/{signal}")
                assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-protobuf")
                assert parse_response(signal, answer.body, "application/x-protobuf") == (0, "")
                assert gw.hub.woken[-1].id == f"otlp-{signal}"
                batch = gw.batch(signal)
                assert (batch.payload, batch.cut.records, batch.life) == (body, records, "gateway-life")
                assert gw.report.metrics.received.labels("otlp", signal.value)._value.get() == records

    asyncio.run(main())


@pytest.mark.parametrize(
    "wire",
    [gzip.compress(logs("a", "b")), gzip.compress(logs("a")) + gzip.compress(logs("b")), gzip.compress(logs("a", "b")) + bytes(9)],
    ids=["one member", "two members", "padded"],
)  # fmt: skip
def test_gzip_is_taken(tmp_path: Path, wire: bytes) -> None:
    """A gzip body may have several members and zeros behind them."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            assert (await gw.post(wire, GZIP)).status == 200
            assert gw.lines() == ["a", "b"]

    asyncio.run(main())


@pytest.mark.parametrize("lines", [2, 20_000])
def test_zstd_is_taken(tmp_path: Path, lines: int) -> None:
    """A Collector may be told to send zstd; how much it becomes is found out as it is decompressed."""
    body = logs(*[f"line {n}" for n in range(lines)])

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            assert (await gw.post(zstd(body), ZSTD)).status == 200
            assert (await gw.post(zstd(body) + zstd(body), ZSTD)).status == 200
            assert len(gw.lines()) == 3 * lines

    asyncio.run(main())


def test_json_is_taken_and_answered_in_json(tmp_path: Path) -> None:
    """The answer has the type of the request, for success and for errors; parameters of the type do not matter."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            answer = await gw.post(TEXT, {"Content-Type": "Application/JSON; charset=utf-8"})
            assert (answer.status, answer.headers["Content-Type"], json.loads(answer.body)) == (
                200,
                "application/json",
                {},
            )
            assert gw.lines() == ["from JSON"]
            answer = await gw.post(b'{"resourceLogs": 1}', JSON)
            assert (answer.status, answer.headers["Content-Type"]) == (400, "application/json")
            assert "OTLP" in json.loads(answer.body)["message"]
            assert (await gw.post(b"{", JSON)).status == 400
            assert (await gw.post(b"", JSON)).status == 200

    asyncio.run(main())


@pytest.mark.parametrize("body", [b"", logs()], ids=["no bytes", "no records"])
def test_an_empty_request_is_a_success_and_nothing_to_store(tmp_path: Path, body: bytes) -> None:
    """OTLP: an empty request is answered with success."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            assert (await gw.post(body)).status == 200
            assert gw.frames() == []

    asyncio.run(main())


REFUSED = [
    ("other path", "POST", "/v1/profiles", PROTOBUF, b"", 404, "path"),
    ("root", "GET", "/", {}, b"", 404, "path"),
    ("unknown question", "GET", "/shipper/v1/lives/../intervals", {}, b"", 404, "path"),
    ("get of a signal", "GET", "/v1/logs", {}, b"", 405, "method"),
    ("put", "PUT", "/v1/logs", PROTOBUF, b"", 405, "method"),
    ("post of a question", "POST", "/shipper/v1/hello", PROTOBUF, b"", 405, "method"),
    ("no type", "POST", "/v1/logs", {}, logs("a"), 415, "content_type"),
    ("text", "POST", "/v1/logs", {"Content-Type": "text/plain"}, logs("a"), 415, "content_type"),
    ("brotli", "POST", "/v1/logs", {**PROTOBUF, "Content-Encoding": "br"}, b"x", 415, "encoding"),
    ("not zstd", "POST", "/v1/logs", ZSTD, logs("a"), 400, "zstd"),
    ("zstd cut short", "POST", "/v1/logs", ZSTD, zstd(logs("a" * 99, "b" * 999))[:-4], 400, "zstd"),
    ("not gzip", "POST", "/v1/logs", GZIP, logs("a"), 400, "gzip"),
    ("gzip cut short", "POST", "/v1/logs", GZIP, gzip.compress(logs("a"))[:-4], 400, "gzip"),
    ("gzip damaged", "POST", "/v1/logs", GZIP, gzip.compress(bytes(range(99)))[:20] + b"\xff" * 60, 400, "gzip"),
    ("garbage behind gzip", "POST", "/v1/logs", GZIP, gzip.compress(logs("a")) + b"more", 400, "gzip"),
    ("not protobuf", "POST", "/v1/logs", PROTOBUF, b"<html>", 400, "malformed"),
    ("protobuf cut short", "POST", "/v1/logs", PROTOBUF, logs("a", "b")[:-3], 400, "malformed"),
    ("another message", "POST", "/v1/traces", PROTOBUF, b"\x0a\x02\xff\xff", 400, "malformed"),
    ("too large", "POST", "/v1/logs", PROTOBUF, bytes(3001), 413, "too_large"),
    ("bomb", "POST", "/v1/logs", GZIP, gzip.compress(bytes(1 << 20)), 413, "too_large"),
    ("bomb of zstd", "POST", "/v1/logs", ZSTD, zstd(bytes(1 << 20)), 413, "too_large"),
]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "cause"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)  # fmt: skip
def test_what_is_wrong_is_refused_with_a_reason(
    tmp_path: Path, method: str, path: str, headers: dict[str, str], body: bytes, status: int, cause: str
) -> None:
    """Each fault has its status, a google.rpc.Status that names it, a counter, and costs nothing that was stored."""

    async def main() -> None:
        async with gateway(tmp_path, limits=OtlpLimits(max_body=3000, max_decompressed=5000)) as gw:
            assert (await gw.post(logs("before"))).status == 200
            answer = await gw.post(body, headers, path, method)
            assert answer.status == status
            assert parse_status(answer.body, answer.headers["Content-Type"])
            assert answer.headers["Shipper-Gateway"] == "gateway-life"
            assert ("Allow" in answer.headers) == (status == 405)
            if headers.get("Content-Type") == "application/x-protobuf":
                assert answer.headers["Content-Type"] == "application/x-protobuf"
            assert (gw.refused(cause), gw.receiver.refused) == (1, 1)
            assert (await gw.post(logs("after"))).status == 200
            assert gw.lines() == ["before", "after"]

    asyncio.run(main())


def test_a_full_spool_asks_to_come_again(tmp_path: Path) -> None:
    """When nothing more fits, the sender keeps its records and is told when to try again."""

    async def main() -> None:
        async with gateway(tmp_path, max_bytes=1000) as gw:
            while (answer := await gw.post(logs("x" * 100))).status == 200:
                pass
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert gw.refused("full") == 1
            stored = len(gw.frames())
            gw.receiver.streams[Signal.LOGS].released(gw.frames()[-1].end)
            assert (await gw.post(logs("fits again"))).status == 200
            assert stored == 4

    asyncio.run(main())


def test_while_stopping_senders_are_sent_away(tmp_path: Path) -> None:
    """After reading has stopped nothing is taken any more; questions are still answered."""

    async def main() -> None:
        clock = FakeClock()
        async with gateway(tmp_path, clock=clock) as gw:
            assert (await gw.post(logs("a"))).status == 200
            assert not gw.receiver.silent(1.0)
            clock.advance(1.0)
            assert gw.receiver.silent(1.0)
            gw.receiver.stop_reading()
            answer = await gw.post(logs("b"))
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert (await gw.post(b"", {}, "/shipper/v1/hello", "GET")).status == 200
            assert gw.lines() == ["a"]

    asyncio.run(main())


def test_another_shipper_is_told_who_this_is(tmp_path: Path) -> None:
    """`hello` names the gateway's life; every answer carries it."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            answer = await gw.post(b"", {}, "/shipper/v1/hello", "GET")
            assert json.loads(answer.body).items() >= {"life": "gateway-life", "role": "gateway"}.items()
            assert (await gw.post(logs("a"))).headers["Shipper-Gateway"] == "gateway-life"

    asyncio.run(main())


def test_a_token_is_asked_of_everyone(tmp_path: Path) -> None:
    """Without the right bearer token nothing is taken and nothing told."""

    async def main() -> None:
        async with gateway(tmp_path, listen=ListenSettings(port=0, token="s3cret")) as gw:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
                answer = await gw.post(logs("a"), {**PROTOBUF, **headers})
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
                assert (await gw.post(b"", headers, "/shipper/v1/hello", "GET")).status == 401
            good = {**PROTOBUF, "Authorization": "Bearer s3cret"}
            assert (await gw.post(logs("a"), good)).status == 200
            assert gw.lines() == ["a"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (ListenSettings(host="0.0.0.0"), "TLS"),
        (ListenSettings(host=""), "every address"),
        (ListenSettings(host="::", token="t"), "TLS"),
        (ListenSettings(host="10.0.0.1", cert="c", key="k"), "token"),
        (ListenSettings(host="gateway.internal"), "TLS"),
        (ListenSettings(cert="c"), "key"),
        (ListenSettings(port=70000), "port"),
    ],
)
def test_listening_to_others_needs_tls_and_a_token(settings: ListenSettings, problem: str) -> None:
    """An address that other machines reach is refused without both, unless that was asked for."""
    with pytest.raises(ConfigError, match=problem) as error:
        settings.check("receivers.otlp")
    assert error.value.path == "receivers.otlp"


@pytest.mark.parametrize(
    "settings",
    [
        ListenSettings(host="127.0.0.2"),
        ListenSettings(host="localhost"),
        ListenSettings(host="[::1]"),
        ListenSettings(host="0.0.0.0", insecure=True),
        ListenSettings(host="0.0.0.0", cert="c", key="k", token="t"),
    ],
)
def test_loopback_needs_neither(settings: ListenSettings) -> None:
    """Only this machine can reach it, or somebody said that it is well."""
    settings.check("receivers.otlp")


def test_an_address_in_use_or_a_missing_certificate_is_a_clear_error(tmp_path: Path) -> None:
    """What cannot be listened on is told as a setting that is wrong."""

    async def main() -> None:
        async with gateway(tmp_path / "a") as gw:
            port = gw.receiver.addresses[0][1]
            with pytest.raises(ConfigError, match=f"127.0.0.1:{port}"):
                async with gateway(tmp_path / "b", listen=ListenSettings(port=port)):
                    pass
        with pytest.raises(ConfigError, match="certificate"):
            async with gateway(tmp_path / "c", listen=ListenSettings(port=0, cert="/none.pem", key="/none.pem")):
                pass

    asyncio.run(main())


def test_the_observed_time_is_kept_but_never_in_the_future(tmp_path: Path) -> None:
    """A sender says when it first saw its oldest record; a clock that is ahead does not make it the future."""
    clock = FakeClock()
    now = clock.wall_ns()
    body = export_logs(resource({}), scope("s"), [log_record(time_ns=1, observed_ns=1, body="x")])

    async def main() -> None:
        async with gateway(tmp_path, clock=clock) as gw:
            for told in (str(now - 5), str(now + 10**12), ""):
                headers = {**PROTOBUF, "Shipper-Observed": told} if told else PROTOBUF
                assert (await gw.post(body, headers)).status == 200
            assert [header.observed_ns for header in gw.headers()] == [now - 5, now, now]
            assert (await gw.post(body, {**PROTOBUF, "Shipper-Observed": "soon"})).status == 400
            assert (await gw.post(body, {**listing("h", ""), "Shipper-Observed": "1"})).status == 400

    asyncio.run(main())
