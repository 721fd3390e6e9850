"""Secrets through real sidecars and a gateway: files, services and receivers, quarantine, restarts; what left was masked."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shipper.contracts import Signal
from shipper.testing.sink import Sink, accept, refuse
from tests.e2e.kit import audit, data_lines, free_port, gateway, host, listening, shipper, sidecar, until

KINDS = "tokens,keys,passwords,cards,email"
SECRETS = ("hunter2", "bob@example.com", "4111 1111 1111 1111", "AKIAIOSFODNN7EXAMPLE")
LINES = [
    "password=hunter2 ok",
    "mail to bob@example.com",
    "card 4111 1111 1111 1111.",
    "key AKIAIOSFODNN7EXAMPLE",
    "plain",
]
MASKED = ["password=******* ok", "mail to ***************", "card *******************.", f"key {'*' * 20}", "plain"]
SERVICE = """
import logging, shipper
from opentelemetry import metrics, trace
shipper.init(service="shop")
with trace.get_tracer("t").start_as_current_span("GET /reset?token=hunter2") as span:
    span.set_attribute("db.password", "hunter2")
    span.set_attribute("enduser", "bob@example.com")
    logging.getLogger("app").warning("card 4111 1111 1111 1111 for %s", "bob@example.com", extra={"key": "AKIAIOSFODNN7EXAMPLE"})
metrics.get_meter("m").create_counter("c").add(1, {"who": "bob@example.com"})
"""


def leaked(sink: Sink) -> list[str]:
    """The secrets in anything that the sink was sent, kept or not."""
    return [secret for secret in SECRETS for request in sink.received if secret.encode() in request.body]


def spans(sink: Sink) -> set[str]:
    """Names of those that the sink keeps."""
    messages = [ExportTraceServiceRequest.FromString(one.body) for one in sink.kept() if one.signal is Signal.TRACES]
    scopes = [scope for message in messages for resource in message.resource_spans for scope in resource.scope_spans]
    return {span.name for scope in scopes for span in scope.spans}


def request_with(text: str) -> bytes:
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    span = spans.add(trace_id=b"1" * 16, span_id=b"2" * 8, name=text, start_time_unix_nano=1, end_time_unix_nano=2)
    span.attributes.add(key="authorization").value.string_value = text
    return message.SerializeToString()


def post(port: int, body: bytes) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    with urllib.request.urlopen(
        urllib.request.Request(f"http://127.0.0.1:{port}/v1/traces", body, headers), timeout=20
    ) as answer:
        assert answer.status == 200


def test_nothing_that_leaves_a_host_holds_a_secret(tmp_path: Path) -> None:
    """Of a file, of a service that hands over all three signals, and of a receiver; only how many there were is told."""

    async def story() -> None:
        log, port, admin = tmp_path / "app.log", free_port(), free_port()
        log.write_text("".join(f"{line}\n" for line in LINES))
        more = {
            "SHIPPER_REDACT": KINDS,
            "SHIPPER_RECEIVERS_OTLP_HTTP": f"127.0.0.1:{port}",
            "SHIPPER_RECEIVERS_OTLP_GRPC": "",
            "SHIPPER_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "SHIPPER_SERVICES_ENABLED": "true",
        }
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, log, **more) as process:
                await process.up()
                env = {**os.environ, "SHIPPER_SPOOL_DIR": str(tmp_path / "host/state/spool")}
                done = await asyncio.to_thread(
                    subprocess.run, [sys.executable, "-c", SERVICE], env=env, capture_output=True, text=True, timeout=60
                )
                assert done.returncode == 0, done.stderr
                await asyncio.to_thread(post, port, request_with("password: hunter2"))
                await until(lambda: {one.signal for one in sink.received} == set(Signal), "all signals arrive")
                await until(lambda: len(data_lines(sink)) >= 6, "the file and the service's record arrive")
                await until(
                    lambda: spans(sink) == {"GET /reset?token=*******", "password: *******"}, "both spans arrive"
                )
                url = f"http://127.0.0.1:{admin}/metrics"
                figures = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=20).read().decode())
                assert await process.terminate() == 0, process.said()
                assert not [secret for secret in SECRETS if secret in process.said()]
            assert not leaked(sink)
            assert set(MASKED) < set(data_lines(sink))
            assert 'shipper_redacted_secrets_total{pattern="card"} 2.0' in figures

    asyncio.run(story())


def test_what_is_set_aside_is_masked_as_well(tmp_path: Path) -> None:
    """A destination refuses everything: what lies in the quarantine holds no secret."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("".join(f"{line}\n" for line in LINES))
        async with Sink() as sink:
            sink.judge = lambda request: refuse(400) if b"plain" in request.body or b"***" in request.body else accept()
            async with sidecar(tmp_path / "host", sink.url, log, SHIPPER_REDACT=KINDS) as process:
                aside = tmp_path / "host/state/quarantine"
                await until(lambda: len([one for one in aside.rglob("*") if one.is_file()]) >= 1, "it is set aside")
                assert await process.terminate() == 0, process.said()
            kept = b"".join(one.read_bytes() for one in aside.rglob("*") if one.is_file())
            assert not leaked(sink)
            assert not [secret for secret in SECRETS if secret.encode() in kept]

    asyncio.run(story())


def test_a_range_is_sent_again_with_the_same_bytes(tmp_path: Path) -> None:
    """After a kill in the middle of an outage, a sidecar that masks the same sends what the first one would have."""

    async def story() -> None:
        log, port = tmp_path / "app.log", free_port()
        log.write_text("".join(f"{number} {line}\n" for number in range(400) for line in LINES))
        more = {"SHIPPER_REDACT": KINDS}
        async with Sink() as busy:
            busy.judge = lambda request: refuse(503) if b"plain" in request.body else accept()
            async with sidecar(tmp_path / "host", busy.url, log, **more) as process:
                await until(lambda: "503" in process.said(), "it is cut and not taken")
                await process.kill()
            assert not leaked(busy)
            first = {one.key: one.body for one in busy.received if b"plain" in one.body}
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, log, **more) as process:
                await until(lambda: len(data_lines(sink)) == 2000, "all of it arrives")
                assert await process.terminate() == 0, process.said()
                assert "were shaped by another configuration" not in process.said()
            again = {one.key: one.body for one in sink.received}
            assert first
            assert all(again[key] == body for key, body in first.items())
            assert data_lines(sink) == [f"{number} {line}" for number in range(400) for line in MASKED]
        async with gateway(tmp_path / "gateway", port) as there:
            await listening(port)
            log.write_text("".join(f"{line}\n" for line in LINES))
            async with sidecar(tmp_path / "other", f"http://127.0.0.1:{port}", log, **more) as process:
                await process.up()
                assert await process.terminate() == 0, process.said()
            assert await there.terminate() == 0, there.said()
        counts = host(audit(tmp_path / "gateway/archive"), "other")["counts"]
        assert (counts["read"], counts["archived"], counts["missing"]) == (5, 5, 0)

    asyncio.run(story())


def test_another_redaction_after_a_restart_is_told(tmp_path: Path) -> None:
    """What was under way was masked by other rules; that is said, and what is sent now is masked by the new ones."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("".join(f"{line}\n" for line in LINES))
        async with Sink() as busy:
            busy.judge = lambda request: refuse(503) if b"plain" in request.body else accept()
            async with sidecar(tmp_path / "host", busy.url, log, SHIPPER_REDACT="email") as process:
                await until(lambda: "503" in process.said(), "it is cut and not taken")
                await process.kill()
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, log, SHIPPER_REDACT=KINDS) as process:
                await until(lambda: len(data_lines(sink)) == 5, "all of it arrives")
                assert await process.terminate() == 0, process.said()
                assert "were shaped by another configuration" in process.said()
            assert data_lines(sink) == MASKED

    asyncio.run(story())


def test_a_gateway_masks_what_hosts_send_in_the_clear(tmp_path: Path) -> None:
    """Without moving a byte: each host's ranges are found in its archive as they were listed."""

    async def story() -> None:
        log, port = tmp_path / "app.log", free_port()
        log.write_text("".join(f"{line}\n" for line in LINES))
        async with gateway(tmp_path / "gateway", port, SHIPPER_REDACT=KINDS) as there:
            await listening(port)
            async with sidecar(tmp_path / "host", f"http://127.0.0.1:{port}", log) as process:
                await process.up()
                assert await process.terminate() == 0, process.said()
            await asyncio.to_thread(post, port, request_with("password: hunter2"))
            assert await there.terminate() == 0, there.said()
        archive = tmp_path / "gateway/archive"
        counts = host(audit(archive), "host")["counts"]
        assert (counts["read"], counts["archived"], counts["missing"]) == (5, 5, 0)
        said = shipper("cat", str(archive)).stdout
        assert all(line in said for line in MASKED)
        assert not [secret for secret in SECRETS if secret in said]

    asyncio.run(story())


def test_a_pattern_that_cannot_work_ends_in_a_sentence(tmp_path: Path) -> None:
    """`shipper check` says where it stands and why, and `shipper run` does not start."""
    config = tmp_path / "shipper.yaml"
    config.write_text(
        'redact: [cards, {name: own, pattern: "("}]\ndestinations: {out: {endpoint: "http://127.0.0.1:9"}}\n'
    )
    checked = shipper("check", str(config))
    assert checked.returncode == 1
    assert "redact[1].pattern" in checked.stdout + checked.stderr
    run = shipper("run", f"--config={config}", f"--state-dir={tmp_path / 'state'}", "--tail=/tmp/none")
    assert run.returncode != 0
    assert "redact[1].pattern" in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
