"""A real sidecar in a pod that the kit ends: its hook is the first word, and the service's last words arrive."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from shipper.testing.platforms.kubelet import Container, Pod
from shipper.testing.sink import Sink

PATIENCE = 40.0
SERVICE = """
import signal, sys, time
out = open(sys.argv[1], "a", buffering=1)
def stop(*_):
    print("shutting down", file=out)
    time.sleep(0.3)
    print("last words", file=out)
    exit(0)
signal.signal(signal.SIGTERM, stop)
print("first words", file=out)
while True: time.sleep(600)
"""


def test_a_pod_with_the_hook_loses_nothing_and_its_sidecar_ends_as_drained(tmp_path: Path) -> None:
    """`shipper notice` begins the drain at the deletion; the sidecar reads until the service has ended, and exits with 0."""

    async def scenario() -> None:
        log, said = tmp_path / "app.log", tmp_path / "said"
        async with Sink() as sink:
            env = {
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "SHIPPER_NATIVE_SIDECAR": "true",
                "SHIPPER_TERMINATION_GRACE": "30",
                "SHIPPER_STATE_DIR": str(tmp_path / "state"),
                "SHIPPER_OTLP_ENDPOINT": sink.url,
                "SHIPPER_TAIL": str(log),
                "SHIPPER_ADMIN_LISTEN": "off",
                "SHIPPER_RELEASE": "1",
            }
            shipper = [sys.executable, "-m", "shipper"]
            containers = [
                Container("shipper", [*shipper, "run"], [*shipper, "notice"], sidecar=True, env=env, output=said),
                Container("app", [sys.executable, "-c", SERVICE, str(log)]),
            ]
            async with Pod(containers, grace=30) as pod, asyncio.timeout(PATIENCE):
                while "first words" not in _lines(sink):  # noqa: ASYNC110 - other processes
                    await asyncio.sleep(0.02)
                ended = await pod.delete()
            assert ended["shipper"].status == 0, said.read_text()
            assert "last words" in _lines(sink)
            assert ("preStop ended", "shipper") in pod.happened
            assert "preStop hook" in said.read_text()

    asyncio.run(scenario())


def _lines(sink: Sink) -> list[str]:
    return [line for request in sink.kept() for line in request.lines()]
