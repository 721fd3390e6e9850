"""A real sidecar under something that listens as systemd does: up, alive, in need of time, stopping."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from shipper.testing.platforms.systemd import NotifySocket
from shipper.testing.sink import Sink, accept, refuse

PATIENCE = 40.0


def test_a_sidecar_tells_systemd_how_it_is_and_asks_for_time_while_it_drains(tmp_path: Path) -> None:
    """READY when it is up, signs of life while the loop turns, EXTEND_TIMEOUT_USEC while a drain goes on, STOPPING before the end."""

    async def scenario() -> None:
        log = tmp_path / "app.log"
        log.write_text("first words\n")
        async with Sink() as sink, NotifySocket(tmp_path / "notify") as systemd:
            env = {
                "PATH": os.environ["PATH"],
                **systemd.env(watchdog=0.2),
                "SHIPPER_STATE_DIR": str(tmp_path / "state"),
                "SHIPPER_OTLP_ENDPOINT": sink.url,
                "SHIPPER_TAIL": str(log),
                "SHIPPER_ADMIN_LISTEN": "off",
                "SHIPPER_RELEASE": "1",
                "SHIPPER_DRAIN_EPHEMERAL": "false",
                "SHIPPER_DRAIN_DEADLINE": "120s",
            }
            shipper = await asyncio.create_subprocess_exec(sys.executable, "-m", "shipper", "run", env=env)
            try:
                async with asyncio.timeout(PATIENCE):
                    await systemd.until(lambda: "READY" in systemd.said)
                    assert "READY" in systemd.messages[0].fields
                    await systemd.until(lambda: len(systemd.values("WATCHDOG")) > 3)
                    sink.answer = refuse(503)
                    with open(log, "a") as writer:
                        writer.write("last words\n")
                    shipper.send_signal(signal.SIGTERM)
                    await systemd.until(lambda: "EXTEND_TIMEOUT_USEC" in systemd.said)
                    assert systemd.said["STOPPING"] == "1"
                    alive = len(systemd.values("WATCHDOG"))
                    await systemd.until(lambda: len(systemd.values("WATCHDOG")) > alive)  # also while it drains
                    sink.answer = accept()
                    assert await shipper.wait() == 0
            finally:
                if shipper.returncode is None:
                    shipper.kill()
                    await shipper.wait()

    asyncio.run(scenario())
