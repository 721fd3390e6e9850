"""The forward receiver as stock clients see it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fluent.asyncsender import FluentSender as QueuedSender
from fluent.handler import FluentHandler, FluentRecordFormatter
from fluent.sender import FluentSender

from shipper.contracts import Signal
from shipper.sources.forward.handshake import Secrets
from shipper.sources.listen import ListenSettings
from tests.sources.fluent_js import command
from tests.sources.spooled_kit import HOST, forward, spans_in, until


def test_fluent_logger_s_records_arrive_with_their_fields(tmp_path: Path) -> None:
    """What fluent-logger emits is a record: text as body, level as severity, the rest as attributes, the host's resource."""

    async def story() -> None:
        async with forward(tmp_path) as server:
            with_time = FluentSender("shop", *server.address, nanosecond_precision=True)
            assert await asyncio.to_thread(
                with_time.emit_with_time,
                "web",
                1_700_000_000.25,
                {"message": "hello wörld", "level": "WARNING", "user": 7, "deep": {"a": [1, None, True, 2.5]}},
            )
            with_time.close()
            (record,) = await server.holds(1)
            assert record.body == "hello wörld"
            assert record.attributes == {"fluent.tag": "shop.web", "user": 7, "deep": {"a": [1, None, True, 2.5]}}
            assert (record.severity, record.severity_text) == (13, "WARNING")
            assert record.time == 1_700_000_000_250_000_000
            assert record.resource == HOST
            assert record.scope == "shipper.forward"

    asyncio.run(story())


def test_fluent_logger_by_a_unix_socket_and_its_queue(tmp_path: Path) -> None:
    """fluent-logger's queued sender over a unix socket: all that it had when it was closed is there, in order."""

    async def story() -> None:
        path = tmp_path / "forward.sock"
        async with forward(tmp_path, ListenSettings(path=str(path))) as server:

            def send() -> None:
                sender = QueuedSender("shop", host=f"unix://{path}", port=0)
                for number in range(500):
                    sender.emit(None, {"msg": f"line {number}"})
                sender.close()

            await asyncio.to_thread(send)
            records = await server.holds(500)
            assert [record.body for record in records] == [f"line {number}" for number in range(500)]
            assert {record.attributes["fluent.tag"] for record in records} == {"shop"}

    asyncio.run(story())


def test_fluent_logger_s_handler_of_logging(tmp_path: Path) -> None:
    """What goes through fluent-logger's handler for `logging` has its level and its text."""

    async def story() -> None:
        async with forward(tmp_path) as server:
            handler = FluentHandler("shop.app", *server.address)
            handler.setFormatter(FluentRecordFormatter({"level": "%(levelname)s", "where": "%(name)s"}))
            logger = logging.Logger("shop")
            logger.addHandler(handler)
            await asyncio.to_thread(logger.error, "it %s", "broke")
            await asyncio.to_thread(handler.close)
            (record,) = await server.holds(1)
            assert (record.body, record.severity) == ("it broke", 17)
            assert record.attributes == {"fluent.tag": "shop.app", "where": "shop"}

    asyncio.run(story())


SERVICE = """
import logging, sys
import shipper
from opentelemetry import trace
shipper.init(handoff="forward", endpoint=sys.argv[1])
log = logging.getLogger("shop.cart")
with trace.get_tracer("shop").start_as_current_span("checkout", kind=trace.SpanKind.SERVER) as span:
    span.set_attribute("items", 3)
    span.add_event("paid", {"by": "card"})
    log.error("card refused", extra={"order": 17})
try:
    with trace.get_tracer("shop").start_as_current_span("ship"):
        raise ValueError("no address")
except ValueError:
    pass
shipper.event("cart.closed", {"items": 3})
shipper.shutdown()
"""


def test_what_shipper_s_own_sdk_sends_is_what_it_was(tmp_path: Path) -> None:
    """Records and spans that the SDK sends by the forward protocol are under the service's own identity again, as it stated it."""

    async def story() -> None:
        async with forward(tmp_path) as server:
            host, port = server.address
            env = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPPER_", "OTEL_"))}
            stated = {"SHIPPER_SERVICE": "cart", "SHIPPER_RELEASE": "2.0", "SHIPPER_GENERATION": "g7"}
            program = [sys.executable, "-c", SERVICE, f"{host}:{port}"]
            done = await asyncio.to_thread(
                subprocess.run, program, env=env | stated, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stderr
            received = server.report.metrics.received
            await until(lambda: received.labels("forward", "traces")._value.get() >= 2, f"spans come: {done.stderr}")
            (logged, closed) = await server.holds(2)
            assert (logged.body, logged.scope, logged.severity_text) == ("card refused", "shop.cart", "ERROR")
            assert (logged.severity, logged.attributes["order"], closed.event) == (17, 17, "cart.closed")
            (ours, span), (_, failed) = spans_in(server.spools[Signal.TRACES])
            for resource in (ours, logged.resource):
                assert resource["service.name"] == "cart"
                assert resource["service.version"] == "2.0"
                assert resource["shipper.generation"] == "g7"
                assert resource["shipper.life.id"] == HOST["shipper.life.id"]
                assert resource["service.instance.id"]
            assert (span.name, span.kind, span.trace_id.hex()) == ("checkout", 2, logged.trace_id)
            assert span.span_id.hex() == logged.span_id
            assert span.end_time_unix_nano > span.start_time_unix_nano > 1_700_000_000 * 10**9
            assert [(event.name, event.attributes[0].value.string_value) for event in span.events] == [("paid", "card")]
            assert (failed.name, failed.status.code) == ("ship", 2)
            assert "no address" in failed.status.message

    asyncio.run(story())


@pytest.mark.parametrize("mode", ["Message", "Forward", "PackedForward", "CompressedPackedForward"])
@pytest.mark.parametrize("guarded", [False, True], ids=["open", "guarded"])
def test_fluent_s_own_client_for_javascript(tmp_path: Path, mode: str, guarded: bool) -> None:
    """In all four modes, with acknowledgements, and with shared key and user: each record is acknowledged and there once."""

    async def story() -> None:
        options: dict[str, Any] = {"eventMode": mode, "ack": {"ackTimeout": 30_000}}
        secrets = None
        if guarded:
            secrets = Secrets("collector", b"secret", {"ann": b"pass"})
            options["security"] = {"clientHostname": "js", "sharedKey": "secret", "username": "ann", "password": "pass"}
        async with forward(tmp_path, secrets=secrets) as server:
            options["socket"] = {"host": server.address[0], "port": server.address[1], "timeout": 30_000}
            program = command(options)
            done = await asyncio.to_thread(subprocess.run, program, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr + done.stdout
            records = server.records()
            assert sorted(str(record.body) for record in records) == sorted(f"line {number}" for number in range(300))
            assert {(record.severity, record.attributes["fluent.tag"]) for record in records} == {(13, "js.app")}

    asyncio.run(story())


FLUENT_BIT = os.environ.get("FLUENT_BIT_BINARY", "")


@pytest.mark.skipif(not FLUENT_BIT, reason="FLUENT_BIT_BINARY names no Fluent Bit")
@pytest.mark.parametrize("options", [[], ["compress=gzip"], ["shared_key=secret", "self_hostname=web"]], ids=str)
def test_fluent_bit_with_acknowledgements(tmp_path: Path, options: list[str]) -> None:
    """Fluent Bit with require_ack_response sends a file's lines, each of them arrives once, and its queue becomes empty."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("".join(json.dumps({"log": f"line {number}"}) + "\n" for number in range(5000)))
        secrets = Secrets("collector", b"secret") if options[:1] == ["shared_key=secret"] else None
        async with forward(tmp_path / "state", secrets=secrets) as server:
            host, port = server.address
            more = [word for option in options for word in ("-p", option)]
            process = await asyncio.create_subprocess_exec(
                *(FLUENT_BIT, "-q", "-f", "0.1", "-i", "tail", "-p", f"path={log}", "-p", "read_from_head=true"),
                *("-o", "forward", "-m", "*", "-p", f"host={host}", "-p", f"port={port}"),
                *("-p", "require_ack_response=true", *more),
            )
            try:
                records = await server.holds(5000)
            finally:
                process.terminate()
                await process.wait()
            assert [json.loads(record.body)["log"] for record in records] == [
                f"line {number}" for number in range(5000)
            ]

    asyncio.run(story())
