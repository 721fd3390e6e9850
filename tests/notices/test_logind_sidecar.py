"""A real sidecar delays a shutdown of the real logind while something is not sent, and no longer."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from shipper.testing.platforms.logind import PrivateLogind, why_not
from shipper.testing.sink import Sink, accept, refuse

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
PATIENCE = 40.0


def test_a_shutdown_waits_for_the_backlog_and_goes_on_when_it_is_gone() -> None:
    """With a destination that fails, poweroff.target is not started; when the destination recovers it is, and a unit's
    sidecar then still reads on until its own SIGTERM.
    """

    async def scenario() -> None:
        with tempfile.TemporaryDirectory(prefix="logind") as name:
            directory = Path(name)
            log = directory / "app.log"
            log.write_text("first words\n")
            async with Sink() as sink, PrivateLogind(directory, longest_delay=60) as logind, asyncio.timeout(PATIENCE):
                env = {
                    "PATH": os.environ["PATH"],
                    "DBUS_SYSTEM_BUS_ADDRESS": logind.address,
                    "INVOCATION_ID": "0" * 32,
                    "SHIPPER_NOTICES_WATCH": "logind",
                    "SHIPPER_STATE_DIR": str(directory / "state"),
                    "SHIPPER_OTLP_ENDPOINT": sink.url,
                    "SHIPPER_OTLP_TRUST_LOCAL": "true",
                    "SHIPPER_TAIL": str(log),
                    "SHIPPER_ADMIN_LISTEN": "off",
                    "SHIPPER_RELEASE": "1",
                }
                shipper = await asyncio.create_subprocess_exec(sys.executable, "-m", "shipper", "run", env=env)
                try:
                    while not await logind.inhibitors() or "first words" not in _lines(sink):  # noqa: ASYNC110 - other processes
                        await asyncio.sleep(0.02)
                    sink.answer = refuse(503)
                    _append(log, "before the shutdown\n")
                    await logind.power_off()
                    assert await logind.job_started(0.5) == ""
                    sink.answer = accept()
                    assert await logind.job_started(PATIENCE) == "poweroff.target"
                    assert "before the shutdown" in _lines(sink)
                    assert await logind.inhibitors() == []
                    _append(log, "said while the units are stopped\n")
                    shipper.send_signal(signal.SIGTERM)
                    assert await shipper.wait() == 0
                    assert "said while the units are stopped" in _lines(sink)
                finally:
                    if shipper.returncode is None:
                        shipper.kill()
                        await shipper.wait()

    asyncio.run(scenario())


def _append(path: Path, text: str) -> None:
    with open(path, "a") as writer:
        writer.write(text)


def _lines(sink: Sink) -> list[str]:
    return [line for request in sink.kept() for line in request.lines()]
