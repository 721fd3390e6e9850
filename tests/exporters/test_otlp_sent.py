"""What the OTLP exporter sends, where to, and to whom only."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from shipper.contracts import Accepted, Batch, Cut, ExporterContext, Request, Signal, StreamKind
from shipper.errors import Unusable
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Sink
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.exporters.otlp_kit import SELF_SIGNED, failure, send, with_sink


def test_what_is_sent() -> None:
    """A request carries its batches joined in order, and the headers by which a gateway tells what it is."""
    first = log_batch(["a", "b"], stream="file-1", start=10, observed_ns=2000)
    second = log_batch(["birth"], stream="life", kind=StreamKind.LIFE, observed_ns=1000)

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        await send(exporter, clock, log_request(first, second))
        (received,) = sink.received
        assert received.body == first.payload + second.payload
        assert gzip.decompress(received.wire) == received.body
        assert received.lines() == ["a", "b", "birth"]
        assert received.batches == [first.key, second.key]
        expected = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
            "User-Agent": "Shipper/9 test",
            "Shipper-Life": LIFE,
            "Shipper-Batches": f"file-1:10-14:{len(first.payload)}:2,life:0-6:{len(second.payload)}:1:life",
            "Shipper-Observed": "1000",
            "X-Tenant": "blue",
        }
        assert {name: received.headers[name] for name in expected} == expected
        assert len(received.key) == 32

    with_sink(scenario, headers={"X-Tenant": "blue"})


def test_key_depends_on_what_is_sent_only() -> None:
    """The Idempotency-Key is the same for the same ranges of the same life, and another for any other."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        for batch in (
            log_batch(["a"]),
            log_batch(["a"]),
            log_batch(["a"], start=1),
            log_batch(["a"], stream="file-2"),
            log_batch(["a"], life="other"),
        ):
            await send(exporter, clock, log_request(batch))
        keys = [received.key for received in sink.received]
        assert keys[0] == keys[1]
        assert len(set(keys)) == 4

    with_sink(scenario)


def test_uncompressed() -> None:
    """With compression off the body goes as it is, large ones too."""
    lines = ["y" * 3_000_000, "z"]

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        await send(exporter, clock, log_request(log_batch(lines)))
        assert "Content-Encoding" not in sink.received[0].headers
        assert sink.lines() == lines

    with_sink(scenario, compression="none")


def test_names_of_a_full_request_fit_a_header() -> None:
    """As many batches as the limits allow, with long names, are named in less than 6 KiB."""
    exporter = OtlpExporter(
        "primary", OtlpSettings(endpoint="http://gw.example"), ExporterContext(FakeClock(), LIFE, 1, "test")
    )
    cut = Cut(123_456_789_012, 123_460_983_316, 0, 0, 20_000, 1)
    batches = [
        Batch(LIFE, f"file-{n:02}-0123456789abcdef-0123456789abcdef", Signal.LOGS, cut, b"x" * 100_000)
        for n in range(exporter.limits.max_batches)
    ]
    prepared = exporter.prepare(log_request(*batches))
    assert len(prepared.body.headers["Shipper-Batches"]) < 6 << 10


def test_a_request_is_of_one_life() -> None:
    """Batches of two lives, or none, are a mistake of the caller and said to be one."""
    exporter = OtlpExporter(
        "primary", OtlpSettings(endpoint="http://gw.example"), ExporterContext(FakeClock(), LIFE, 1, "test")
    )
    with pytest.raises(ValueError, match="one life, not 2"):
        exporter.prepare(log_request(log_batch(["a"], life="one"), log_batch(["b"], life="two")))
    with pytest.raises(ValueError, match="at least one batch"):
        exporter.prepare(log_request())


def test_each_signal_has_its_path() -> None:
    """The base URL gets /v1/<signal> appended; a per-signal URL is used as it is."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        for signal in Signal:
            batch = Batch(LIFE, "s", signal, Cut(0, 1, 0, 1, 1, 1), b"")
            await send(exporter, clock, Request("r", signal, (batch,)))
        assert [received.signal for received in sink.received] == list(Signal)

    with_sink(scenario)


def test_token_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """The bearer token is the first line of its file as it is now; without one nothing is sent."""
    token = tmp_path / "token"

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        assert "cannot read the token" in str(await failure(exporter, clock))
        token.write_text("first\n")
        await send(exporter, clock)
        (tmp_path / "new").write_text("second-token\nrest")
        (tmp_path / "new").rename(token)
        await send(exporter, clock)
        assert [r.headers["Authorization"] for r in sink.received] == ["Bearer first", "Bearer second-token"]
        token.write_bytes(b"\n")
        assert "is no token" in str(await failure(exporter, clock))
        token.write_bytes(b"\xff\xfe")
        assert isinstance(await failure(exporter, clock), Unusable)

    with_sink(scenario, token_file=str(token))


def test_secrets_in_a_query_are_not_said() -> None:
    """The query of an endpoint, where some vendors want a key, is in no message."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        raised = await failure(exporter, clock)
        assert "hush" not in str(raised) + exporter.describe()

    with_sink(scenario, endpoint="", logs_endpoint="http://127.0.0.1:1/v1/logs?api-key=hush")


def test_untrusted_certificate() -> None:
    """A certificate that cannot be verified is for a person to mend, and nothing is sent."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        raised = await failure(exporter, clock)
        assert isinstance(raised, Unusable)
        assert "certificate is not accepted" in str(raised)
        assert not sink.received

    with_sink(scenario, tls=True)


def test_certificate_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    """With its authority given a server is trusted, as soon as the file holds it; broken files are named."""
    ca = tmp_path / "ca.pem"

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        assert str(ca) in str(await failure(exporter, clock))
        ca.write_text("no certificate")
        assert isinstance(await failure(exporter, clock), Unusable)
        shutil.copy(SELF_SIGNED, ca)
        assert await send(exporter, clock) == Accepted()

    with_sink(scenario, tls=True, ca_file=str(ca))


def test_client_certificate(tmp_path: Path) -> None:
    """A client certificate can be given; it need not exist yet when the exporter starts."""
    key = tmp_path / "key.pem"

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        assert str(key) in str(await failure(exporter, clock))
        shutil.copy(SELF_SIGNED, key)
        assert await send(exporter, clock) == Accepted()

    with_sink(scenario, tls=True, ca_file=str(SELF_SIGNED), cert_file=str(SELF_SIGNED), key_file=str(key))


def test_plain_http_where_tls_is_spoken() -> None:
    """TLS spoken to a server without it is for a person to mend: the URL or the server."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        https = OtlpSettings(endpoint=sink.url.replace("http:", "https:"))
        other = OtlpExporter("other", https, ExporterContext(clock, LIFE, 1, "test"))
        await other.start()
        try:
            raised = await failure(other, clock)
            assert isinstance(raised, Unusable)
            assert "does not speak TLS; without it the URL begins with http://" in str(raised)
        finally:
            await other.aclose()

    with_sink(scenario)
