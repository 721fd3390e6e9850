"""A host's numbers in a real Prometheus: written by the sidecar itself, or by the gateway that its numbers pass."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
import yaml

from shipper.testing import prometheus
from shipper.testing.prometheus import Prometheus
from tests.e2e.kit import audit, free_port, gateway, host, listening, shipper, sidecar, until

pytestmark = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)

SERVICE = """
import os, signal, sys
import shipper
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
shipper.init(service="shop")
tracer = trace.get_tracer("test")
for number in range(int(sys.argv[1])):
    with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER) as span:
        if number % 4 == 0:
            span.set_status(Status(StatusCode.ERROR))
os.kill(os.getpid(), signal.SIGKILL)
"""


async def serve(spool: Path, number: int, program: str = SERVICE, status: int = -9) -> None:
    """A service; by default one that serves so many requests, a quarter of them in vain, and is killed."""
    await until(spool.is_dir, "the sidecar has made the root of the hand-off")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPPER_", "OTEL_"))}
    env["SHIPPER_SPOOL_DIR"] = str(spool)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(number), env=env)
    assert await process.wait() == status


def configuration(directory: Path, **destinations: dict[str, object]) -> str:
    """A flag that reads a file with these destinations."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "shipper.yaml"
    path.write_text(yaml.safe_dump({"destinations": destinations}))
    return f"--config={path}"


def counted(server: Prometheus, outcome: str, instance: str) -> float:
    """Requests of that outcome, by the last sample of the host."""
    series = f'shipper_requests_total{{service="shop",outcome="{outcome}",instance="{instance}",generation="g1"}}'
    return server.value(f"max_over_time({series}[1h])", time.time() + 60)


def nowhere(state: Path) -> str:
    """What `shipper status` says of records that no destination takes."""
    said = shipper("status", f"--state-dir={state}").stdout
    return next((line for line in said.splitlines() if "no destination takes" in line), "")


def test_a_sidecar_writes_to_prometheus_beside_a_gateway(tmp_path: Path) -> None:
    """Prometheus has every request of a host, and only numbers; the gateway has all, and the audit finds nothing missing."""

    async def story(server: Prometheus) -> None:
        log, port = tmp_path / "app.log", free_port()
        log.write_text("".join(f"line {number}\n" for number in range(1000)))
        flag = configuration(
            tmp_path / "host-a",
            prometheus={"type": "prometheus", "endpoint": server.write_url, "trust_local": True},
        )
        async with gateway(tmp_path / "gateway", port) as receiver:
            await listening(port)
            url = f"http://127.0.0.1:{port}"
            async with sidecar(tmp_path / "host-a", url, log, flags=[flag, "--ephemeral"]) as process:
                await process.up()
                await serve(tmp_path / "host-a/state/spool", 40)
                assert await process.terminate() == 0, process.said()
            assert await receiver.terminate() == 0, receiver.said()
        assert (counted(server, "ok", "host-a"), counted(server, "error", "host-a")) == (30, 10)

    with Prometheus(tmp_path / "prometheus") as server:
        asyncio.run(story(server))
    life = host(audit(tmp_path / "gateway/archive"), "host-a")
    assert life["ended"] == "drained"
    assert (life["counts"]["missing"], life["counts"]["duplicates"]) == (0, 0)
    assert life["counts"]["read"] == life["counts"]["archived"]


def test_a_gateway_writes_to_prometheus(tmp_path: Path) -> None:
    """What a sidecar ships to a gateway is in the archive and in Prometheus, to the last request, though both are killed."""

    async def story(server: Prometheus) -> None:
        port = free_port()
        flag = configuration(
            tmp_path / "gateway",
            prometheus={"type": "prometheus", "endpoint": server.write_url},
        )
        receiver = await gateway(tmp_path / "gateway", port, flags=[flag]).start()
        await listening(port)
        url = f"http://127.0.0.1:{port}"
        for killed in (True, False):
            process = await sidecar(tmp_path / "host-a", url, flags=["--ephemeral"]).start()
            await process.up()
            await serve(tmp_path / "host-a/state/spool", 40)
            if killed:
                await process.kill()
                await receiver.kill()
                receiver = await gateway(tmp_path / "gateway", port, flags=[flag]).start()
                await listening(port)
        assert await process.terminate() == 0, process.said()
        assert await receiver.terminate() == 0, receiver.said()
        assert (counted(server, "ok", "host-a"), counted(server, "error", "host-a")) == (60, 20)
        assert "Traceback" not in receiver.said() + process.said()
        assert "refused" not in receiver.said()

    with Prometheus(tmp_path / "prometheus") as server:
        asyncio.run(story(server))
    life = host(audit(tmp_path / "gateway/archive"), "host-a")
    assert (life["counts"]["missing"], life["counts"]["duplicates"]) == (0, 0)


def test_only_a_destination_for_metrics(tmp_path: Path) -> None:
    """Where nobody takes logs that is said and counted, nothing waits for them, and the numbers arrive all the same."""

    async def story(server: Prometheus) -> None:
        log = tmp_path / "app.log"
        log.write_text("a line\n")
        where = {"type": "prometheus", "endpoint": server.write_url, "trust_local": True}
        flag = configuration(tmp_path / "host-a", prometheus=where)
        process = sidecar(tmp_path / "host-a", "", log, flags=[flag, "--ephemeral"])
        async with process:
            await process.up()
            await serve(tmp_path / "host-a/state/spool", 4)
            await until(lambda: "bytes of logs" in nowhere(tmp_path / "host-a/state"), "what goes nowhere is counted")
            assert await process.terminate() == 0, process.said()
        assert "no destination takes logs" in process.said()
        assert "drained: everything read is acknowledged" in process.said()
        assert not list((tmp_path / "host-a/state/spool").glob("p*")), "what nobody takes takes no room"
        assert (counted(server, "ok", "host-a"), counted(server, "error", "host-a")) == (3, 1)

    with Prometheus(tmp_path / "prometheus") as server:
        asyncio.run(story(server))


FLOOD = """
import sys
import shipper
from opentelemetry import metrics
shipper.init(service="shop")
carts = metrics.get_meter("test").create_counter("cart.adds")
for number in range(int(sys.argv[1])):
    carts.add(1, {"user.id": f"u{number}"})
metrics.get_meter_provider().force_flush()
"""


def test_a_users_id_in_a_label(tmp_path: Path) -> None:
    """A service's flood of series is bounded at the gateway, counted, said, and hides no host that is born after it."""
    own = {"SHIPPER_METRICS_OWN": "true", "SHIPPER_METRICS_INTERVAL": "1", "SHIPPER_SERVICE": "shop"}

    async def story(server: Prometheus) -> None:
        port = free_port()
        where = {"type": "prometheus", "endpoint": server.write_url, "max_series": 200, "trust_local": True}
        flag = configuration(tmp_path / "gateway", prometheus=where)
        receiver = gateway(tmp_path / "gateway", port, flags=[flag], **own | {"SHIPPER_SERVICE": "shipper-gateway"})
        async with receiver:
            await listening(port)
            url = f"http://127.0.0.1:{port}"
            async with sidecar(tmp_path / "host-a", url, flags=["--ephemeral"], **own) as first:
                await serve(tmp_path / "host-a/state/spool", 1000, FLOOD, 0)
                assert await first.terminate() == 0, first.said()
            async with sidecar(tmp_path / "host-b", url, flags=["--ephemeral"], **own) as second:
                await serve(tmp_path / "host-b/state/spool", 40)
                assert await second.terminate() == 0, second.said()
            refused = 'shipper_rejected_records_total{service="shipper-gateway",destination="prometheus"}'
            await until(lambda: server.value(refused) >= 800, "what is refused is counted in Prometheus, too")
            assert await receiver.terminate() == 0, receiver.said()
        assert "of a series beyond max_series (200)" in receiver.said()
        assert server.value("count(max_over_time(cart_adds_total[1h]))", time.time() + 60) <= 200
        assert (counted(server, "ok", "host-b"), counted(server, "error", "host-b")) == (30, 10)

    with Prometheus(tmp_path / "prometheus") as server:
        asyncio.run(story(server))
