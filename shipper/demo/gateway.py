"""The demo's gateway process: can be made unreachable by SIGKILL and comes back on the same port and disk."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import Process
from pathlib import Path

from shipper.demo.host import bare

START_SECONDS = 15.0
LOOK_SECONDS = (
    5.0  # from one verdict to the next, the least there is: a generation of the demo serves for half a minute
)


class GatewayProcess:
    """A real ``shipper gateway`` with a directory archive."""

    def __init__(self, directory: Path, *, prometheus: str = "", asked: str = "", push: float = 15.0) -> None:
        """``prometheus``: where it forwards metrics to (a remote-write URL), if anywhere; ``push``: how often its own.

        ``asked``: where it asks for verdicts (a base URL), if anywhere.
        """
        self.archive = directory / "archive"
        self.condition = "starting"
        self._directory = directory / "gateway"
        self._directory.mkdir(parents=True)
        self._port = _free_port()
        self._settings = {
            "SHIPPER_ADMIN_LISTEN": "off",
            "SHIPPER_HOST": "demo-gateway",
            "SHIPPER_METRICS_INTERVAL": f"{push}s",
        }
        if prometheus:
            self._settings["SHIPPER_DESTINATIONS_PROMETHEUS_TYPE"] = "prometheus"
            self._settings["SHIPPER_DESTINATIONS_PROMETHEUS_ENDPOINT"] = prometheus
        if asked:
            self._settings["SHIPPER_VERDICTS_PROMETHEUS"] = asked
            self._settings["SHIPPER_VERDICTS_EVERY"] = f"{LOOK_SECONDS}s"
        self._process: Process | None = None

    @property
    def endpoint(self) -> str:
        """Where hosts send to."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it and wait until it listens. Raises RuntimeError with its own words when it does not."""
        with open(self._log, "ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "shipper",
                "gateway",
                f"--listen=127.0.0.1:{self._port}",
                f"--archive={self.archive}",
                f"--state-dir={self._directory / 'state'}",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=bare() | self._settings,
                start_new_session=True,
            )
        async with asyncio.timeout(START_SECONDS):
            while not await self._listens():
                if self._process.returncode is not None:
                    raise RuntimeError(f"the gateway did not start:\n{self._log.read_text(errors='replace')[-2000:]}")
                await asyncio.sleep(0.05)
        self.condition = "serving"

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        return True

    async def outage(self, seconds: float) -> None:
        """SIGKILL it, stay away, come back."""
        self.condition = "UNREACHABLE"
        await self.destroy()
        await asyncio.sleep(seconds)
        await self.start()

    async def stop(self) -> None:
        """SIGTERM: it writes what it holds into the archive and leaves."""
        self.condition = "draining"
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            await self._process.wait()
        self.condition = "gone"

    async def destroy(self) -> None:
        """SIGKILL it, and wait until it is gone."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def _log(self) -> Path:
        return self._directory / "gateway.log"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
