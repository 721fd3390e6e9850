"""Whatever bytes come, by either door: an answer, no exception, bounded memory, and the next request is served."""

from __future__ import annotations

import asyncio
import json
import logging
import resource as limits
from collections.abc import Iterator
from contextlib import nullcontext

import grpc
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp import messages
from shipper.otlp.decode import to_json
from shipper.otlp.wire import field
from shipper.sources import otlp_check
from shipper.sources.listen import ListenSettings
from shipper.sources.otlp_check import MOST_ENVELOPES, Held, PieceByPiece, check
from shipper.sources.otlp_labels import Labels
from shipper.sources.otlp_salvage import salvage
from tests.sources.receiver_kit import JSON, PROTOBUF, gateway, logs
from tests.sources.test_otlp_receiver_host import HOST, spans

MB = 1 << 20
SIGNALS = st.sampled_from(list(Signal))
VALID = [logs("a", "b" * 300), spans((1, 2, 0, {"http.route": "/a"}), (2, 3, 2, {})), logs(), b""]
SERVICES = {
    Signal.LOGS: "logs.v1.LogsService",
    Signal.TRACES: "trace.v1.TraceService",
    Signal.METRICS: "metrics.v1.MetricsService",
}


@st.composite
def mutated(draw: st.DrawFn, corpus: list[bytes]) -> bytes:
    """A valid request with some bytes changed, cut out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(corpus)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                del data[at : at + draw(st.integers(1, 30))]
            case 2:
                data[at:at] = draw(st.binary(max_size=12))
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 60))]
    return bytes(data)


BODIES = st.one_of(st.binary(max_size=300), mutated(VALID))


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a stranger sends is taken for a bug."""
    yield
    assert not [record for record in caplog.get_records("call") if record.exc_info or record.levelno >= logging.ERROR]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(SIGNALS, BODIES), min_size=1, max_size=8))
def test_protobuf_by_both_doors(tmp_path_factory: pytest.TempPathFactory, bodies: list[tuple[Signal, bytes]]) -> None:
    """200 or 400, OK or INVALID_ARGUMENT, the same by both; what was stored can be read."""

    async def main() -> None:
        async with gateway(
            tmp_path_factory.mktemp("g"), grpc=ListenSettings(port=0), role="sidecar", labels=Labels(HOST)
        ) as gw:
            host, port = gw.receiver.addresses[-1]
            async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
                for signal, body in bodies:
                    status = (await gw.post(body, path=f"/v1/{signal}")).status
                    method = f"/opentelemetry.proto.collector.{SERVICES[signal]}/Export"
                    try:
                        await channel.unary_unary(method)(body)
                        code = grpc.StatusCode.OK
                    except grpc.aio.AioRpcError as error:
                        code = error.code()
                    assert (status, code) in ((200, grpc.StatusCode.OK), (400, grpc.StatusCode.INVALID_ARGUMENT))
            for signal in Signal:
                for frame in gw.frames(signal):
                    messages.parse(signal, frame.payload)
            assert (await gw.post(logs("after"))).status == 200

    asyncio.run(main())


TEXTS = [to_json(Signal.LOGS, VALID[0]), to_json(Signal.TRACES, VALID[1])]
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["resourceLogs", "scopeLogs", "logRecords", "body", "stringValue", "attributes"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(st.binary(max_size=100), mutated(TEXTS), TREES.map(lambda tree: json.dumps(tree).encode())),
        min_size=1,
        max_size=8,
    )
)
def test_json(tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]) -> None:
    """200 or 400, with an answer in JSON."""

    async def main() -> None:
        async with gateway(tmp_path_factory.mktemp("g"), role="sidecar", labels=Labels(HOST)) as gw:
            for body in bodies:
                answer = await gw.post(body, JSON)
                assert answer.status in (200, 400)
                json.loads(answer.body)
            assert (await gw.post(logs("after"), PROTOBUF)).status == 200

    asyncio.run(main())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIGNALS, BODIES, st.integers(1, 200))
@example(Signal.LOGS, logs("a" * 50, "b" * 50), 60)
def test_in_pieces_it_is_the_same(monkeypatch: pytest.MonkeyPatch, signal: Signal, body: bytes, piece: int) -> None:
    """A large request is checked in pieces: sound and counted alike, or refused alike."""
    whole: Held | None
    try:
        whole = check(signal, body)
    except MalformedOtlp:
        whole = None
    monkeypatch.setattr(otlp_check, "PIECE", piece)
    pieces = PieceByPiece(signal, body)
    try:
        for _ in pieces:
            pass
    except MalformedOtlp:
        assert whole is None
    else:
        assert whole == pieces.held


@settings(max_examples=100, deadline=None)
@given(SIGNALS, mutated(VALID))
def test_what_is_saved_is_sound(signal: Signal, body: bytes) -> None:
    """What is left of a broken request can be read by anybody, and holds what it is said to hold."""
    saved = salvage(signal, body)
    if saved is not None:
        rest, held, broken = saved
        assert check(signal, rest) == held
        assert broken


BOMBS = {
    "empty resources": (Signal.LOGS, b"\x0a\x00" * (2 * MB)),
    "empty records": (Signal.LOGS, field(1, field(2, b"\x12\x00" * (2 * MB)))),
    "empty attributes": (Signal.LOGS, field(1, field(2, field(2, b"\x32\x00" * (2 * MB))))),
    "empty points": (Signal.METRICS, field(1, field(2, field(2, field(10, b"\x0a\x00" * (2 * MB)))))),
    "one long text": (Signal.LOGS, field(1, field(2, field(2, field(5, field(1, b"x" * (4 * MB))))))),
    "unknown fields": (Signal.TRACES, field(1, field(2, b"\xa0\x01\x01" * MB))),
}


@pytest.mark.parametrize("name", BOMBS)
def test_two_bytes_that_become_a_hundred_do_not_fill_memory(name: str) -> None:
    """Four megabytes that the protobuf library would make hundreds of are checked within some tens."""
    signal, body = BOMBS[name]
    before = limits.getrusage(limits.RUSAGE_SELF).ru_maxrss
    refused = pytest.raises(MalformedOtlp, match=f"more than {MOST_ENVELOPES:,}")
    with refused if name in ("empty resources", "unknown fields") else nullcontext():
        list(PieceByPiece(signal, body))
    assert (limits.getrusage(limits.RUSAGE_SELF).ru_maxrss - before) / 1024 < 100


def test_nesting_beyond_reason_is_refused_in_pieces_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each level larger than a piece: the walk down ends where the library would end."""
    monkeypatch.setattr(otlp_check, "PIECE", 100)
    value = field(1, b"x" * 200)
    for _ in range(60):
        value = field(5, field(1, value))
    body = field(1, field(2, field(2, field(5, value))))
    with pytest.raises(MalformedOtlp, match="nested"):
        list(PieceByPiece(Signal.LOGS, body))
