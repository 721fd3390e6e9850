"""On a fresh host services are up before the sidecar: what they said until then arrives, and as itself."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.kit import audit, free_port, gateway, host, listening, shipper, sidecar, until
from tests.sdk.initkit import environment

SERVICE = """
import logging, sys
import shipper
from opentelemetry import trace

shipper.init(service="shop", release="2.0", instrument=False)
log = logging.getLogger("shop")
for number in range(100):
    log.warning("early %d", number)
with trace.get_tracer("shop").start_as_current_span("first order"):
    shipper.event("cache.warmed", {"entries": 5})
    try:
        {}["basket"]
    except KeyError:
        log.exception("no basket")
print("emitted", flush=True)
sys.stdin.readline()
log.warning("late")
identity = shipper.identity()
print(identity.life, identity.generation, flush=True)
"""


def started(root: Path) -> subprocess.Popen[str]:
    """The service."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        env=environment(SHIPPER_SPOOL_DIR=str(root)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_services_said_before_the_sidecar_was_up_arrives(tmp_path: Path) -> None:
    """Log records, events, errors and spans of the time before the spool are archived, with the host's identity."""
    root, archive = tmp_path / "host-a/state/spool", tmp_path / "gateway/archive"

    async def story() -> list[str]:
        port = free_port()
        service = started(root)
        assert service.stdout is not None
        assert service.stdout.readline() == "emitted\n"
        async with gateway(tmp_path / "gateway", port) as receiver:
            await listening(port)
            async with sidecar(tmp_path / "host-a", f"http://127.0.0.1:{port}", flags=["--ephemeral"]) as process:
                await process.up()
                await until(lambda: (root / "host.json").exists(), "the card is out")
                out, err = service.communicate("go on\n", timeout=60)
                assert service.returncode == 0, err
                assert err.count("shipper: ") == 1, err
                await until(lambda: not [path for path in root.iterdir() if path.name[0] == "p"], "all is shipped")
                assert await process.terminate() == 0, process.said()
            assert await receiver.terminate() == 0, receiver.said()
        return out.split()

    identity = asyncio.run(story())
    life = host(audit(archive), "host-a")
    assert life["counts"]["missing"] == 0
    assert identity == [life["life"], "g1"]
    printed = shipper("cat", str(archive), "--service", "shop").stdout
    assert all(printed.count(f"early {number}\n") == 1 for number in range(100)), printed
    assert [printed.count(text) for text in ("late\n", "no basket", "cache.warmed", "first order")] == [1, 1, 1, 1], (
        printed
    )
    requests = [
        json.loads(line) for line in shipper("cat", str(archive), "--service", "shop", "--json").stdout.splitlines()
    ]
    resources = [part["resource"] for request in requests for parts in request.values() for part in parts]
    stated = [
        {pair["key"]: pair["value"].get("stringValue") for pair in resource["attributes"]} for resource in resources
    ]
    assert {(one["service.version"], one["host.name"], one["shipper.generation"]) for one in stated} == {
        ("2.0", "host-a", "g1")
    }
