"""In a sidecar: the host's identity on what services send, requests counted from their spans, traces left out, last words."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shipper.clock import SystemClock
from shipper.contracts import Signal, StreamKind
from shipper.events import Reporter
from shipper.otlp.decode import records
from shipper.otlp.encode import LineEncoder, resource, scope
from shipper.otlp.wire import field
from shipper.sources import otlp_traces
from shipper.sources.otlp_labels import Labels
from shipper.sources.otlp_traces import TracesStream
from shipper.sources.refusal import Refusal
from shipper.sources.services.sampling import Sampling
from shipper.spool import FrameHeader, Fsync, Spool
from tests.sources.receiver_kit import gateway, logs

HOST = {"service.name": "checkout", "service.version": "1.2.3", "shipper.life.id": "L1", "host.name": "h"}


def stated(attributes: dict[str, Any]) -> bytes:
    return LineEncoder(resource(attributes), scope("test")).encode([b"x"], 1)


def labelled(data: bytes, host: dict[str, Any] = HOST) -> dict[str, Any]:
    (record,) = records(Signal.LOGS, Labels(host).put_on(data, 1 << 20))
    return dict(record.resource)


def test_what_a_service_states_of_itself_stays() -> None:
    """The host adds what is missing; only the life it speaks for is never a service's to say."""
    found = labelled(stated({"service.name": "shop", "shipper.life.id": "forged", "process.owner": "root", "n": 7}))
    assert found == {**HOST, "service.name": "shop", "process.owner": "root", "n": 7}


@pytest.mark.parametrize("name", ["unknown_service", "unknown_service:node"])
def test_a_name_that_an_sdk_made_up_yields(name: str) -> None:
    """Where nobody named the service the SDK says unknown_service; the host knows better, if it knows at all."""
    assert labelled(stated({"service.name": name}))["service.name"] == "checkout"
    assert labelled(stated({"service.name": name}), {"host.name": "h"}) == {"host.name": "h"}


def test_a_resource_that_is_missing_or_in_parts_is_labelled_once() -> None:
    """Protobuf merges the parts of a message; a service without a resource is the host's."""
    record = field(2, field(2, b"\x2a\x03\x0a\x01x"))
    assert labelled(field(1, record)) == HOST
    parts = field(1, resource({"a": 1})) + record + field(1, resource({"b": 2}))
    assert labelled(field(1, parts)) == {**HOST, "a": 1, "b": 2}


def test_labels_do_not_make_a_request_grow_without_bound() -> None:
    """Ten thousand resources of a few bytes each would become megabytes; the sender is told that it is too large."""
    with pytest.raises(Refusal) as refusal:
        Labels(HOST).put_on(field(1, field(2, field(2, b""))) * 10_000, 1 << 20)
    assert refusal.value.status == 413
    with pytest.raises(Refusal):
        Labels(HOST).put_on(stated({"a": "x" * 300_000}), 1 << 20)


def test_a_sidecar_labels_and_knows_no_batches(tmp_path: Path) -> None:
    """To a sidecar a Shipper is a sender like any other: it is told nothing, and its listing is not looked at."""

    async def main() -> None:
        async with gateway(tmp_path, role="sidecar", labels=Labels(HOST)) as gw:
            answer = await gw.post(logs("a"), {"Content-Type": "application/x-protobuf", "Shipper-Batches": "nonsense"})
            assert answer.status == 200
            assert "Shipper-Gateway" not in answer.headers
            assert (await gw.post(b"", {}, "/shipper/v1/hello", "GET")).status == 404
            (record,) = records(Signal.LOGS, gw.batch().payload)
            assert record.resource == {**HOST, "service.name": "shop"}

    asyncio.run(main())


@pytest.mark.parametrize(("role", "expected"), [("sidecar", True), ("gateway", None)])
def test_a_service_that_holds_a_connection_lives(tmp_path: Path, role: Any, expected: bool | None) -> None:
    """It will have last words; without a connection nothing is known, and a gateway's senders end with other hosts."""

    async def main() -> None:
        async with gateway(tmp_path, role=role) as gw:
            assert gw.receiver.writers() is None
            assert (await gw.post(logs("a"))).status == 200
            assert gw.receiver.writers() is expected
            await gw.session.close()
            while gw.receiver.writers():  # noqa: ASYNC110 - the end of a connection is told to nobody
                await asyncio.sleep(0)

    asyncio.run(main())


def spans(*kinds: tuple[int, int, int, dict[str, Any]], service: str = "shop") -> bytes:
    """A request: (trace id, kind, status, attributes) of each span, which takes 5 ms."""
    request = ExportTraceServiceRequest()
    envelope = request.resource_spans.add()
    envelope.resource.attributes.add(key="service.name").value.string_value = service
    scope_envelope = envelope.scope_spans.add()
    for trace, kind, status, attributes in kinds:
        span = scope_envelope.spans.add(
            trace_id=trace.to_bytes(16, "big"), kind=kind, start_time_unix_nano=10, end_time_unix_nano=5_000_010
        )
        span.status.code = status
        for key, value in attributes.items():
            target = span.attributes.add(key=key).value
            if isinstance(value, int):
                target.int_value = value
            else:
                target.string_value = value
    return request.SerializeToString()


def stream_of(
    directory: Path, *bodies: bytes, keep: float = 1.0, slow_ns: int = 0, counted: bool = True
) -> TracesStream:
    spool = Spool.open(directory, name="t", fsync=Fsync.NEVER, segment_bytes=4096, report=Reporter(SystemClock()))
    for body in bodies:
        count = len(list(records(Signal.TRACES, body)))
        spool.append(FrameHeader(count, count, 1).encode(), body)
    sampling = Sampling(keep, slow_ns)
    return TracesStream(spool, id="t", kind=StreamKind.DATA, life="L", name="t", sampling=sampling, counted=counted)


@pytest.mark.parametrize("piece", [1 << 20, 100])
def test_server_spans_are_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    """As spans that are handed over: errors by status or 5xx, routes, no websockets; in large bodies span by span."""
    monkeypatch.setattr(otlp_traces, "PIECE", piece)
    server = [
        (1, 2, 0, {"http.route": "/a", "http.response.status_code": 200}),
        (2, 2, 2, {"http.route": "/a"}),
        (3, 2, 0, {"http.route": "/b", "http.status_code": 503}),
        (4, 2, 0, {"url.scheme": "wss"}),
        (5, 3, 2, {"http.route": "/client"}),
        (6, 2, 0, {}),
    ]
    stream = stream_of(tmp_path, spans(*server), spans((7, 1, 0, {}), service="worker"))
    found, after = stream.served(0, 1 << 20)
    assert [(who["service.name"], list(requests)) for who, requests in found] == [
        ("shop", [("/a", False, 5_000_000), ("/a", True, 5_000_000), ("/b", True, 5_000_000), ("", False, 5_000_000)]),
        ("worker", []),
    ]
    assert after == stream.frontier()
    assert stream.served(after, 1 << 20) == ([], after)


@pytest.mark.parametrize("piece", [1 << 20, 100])
def test_traces_are_left_out_by_the_same_rules_however_often_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """A share of traces by their ids, whole; errors and slow ones stay; what was left out is counted, and a resend is the same."""
    monkeypatch.setattr(otlp_traces, "PIECE", piece)
    rng = random.Random(7)
    traces = [rng.getrandbits(128) for _ in range(200)]
    body = spans(*((trace, kind, 0, {}) for trace in traces for kind in (2, 3)))
    stream = stream_of(tmp_path / "a", body, keep=0.25)
    batch = stream.cut(0, 0, 1 << 20, 0)
    assert batch is not None
    kept = [record.trace_id for record in records(Signal.TRACES, batch.payload)]
    lucky = [f"{trace:032x}" for trace in traces if Sampling(0.25).lucky(trace & (1 << 64) - 1)]
    assert kept == [each for each in lucky for _ in range(2)]
    assert 20 < len(lucky) < 80
    assert (batch.cut.records, batch.cut.sampled, batch.cut.consumed) == (len(kept), 400 - len(kept), 400)
    assert stream.reread(batch.cut) == batch
    failing = spans((1, 3, 0, {}), (1, 2, 0, {"http.status_code": 500}), (2, 2, 0, {}))
    (whole,) = [stream_of(tmp_path / "b", failing, keep=0.0).cut(0, 0, 1 << 20, 0)]
    assert whole is not None
    assert [record.trace_id[-1] for record in records(Signal.TRACES, whole.payload)] == ["1", "1"]
    slow = stream_of(tmp_path / "c", failing, keep=0.0, slow_ns=5_000_000).cut(0, 0, 1 << 20, 0)
    assert slow is not None
    assert (slow.cut.records, slow.payload) == (3, failing)
    nothing = stream_of(tmp_path / "d", spans((2, 2, 0, {})), keep=0.0).cut(0, 0, 1 << 20, 0)
    assert nothing is not None
    assert (nothing.cut.records, nothing.cut.sampled, nothing.payload != b"") == (0, 1, True)


def test_frames_wait_until_they_are_counted(tmp_path: Path) -> None:
    """What every destination has is deleted only when its requests are counted, too."""
    bodies = [spans(*((n, 2, 0, {"http.route": "/" + "x" * 900}) for n in range(4))) for _ in range(6)]
    stream = stream_of(tmp_path, *bodies)
    stream.released(stream.frontier())
    assert stream.spool.first() == 0
    stream.measured(stream.frontier())
    assert stream.spool.first() > 0
