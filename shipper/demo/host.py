"""One simulated ephemeral host: a directory, a service process and a real ``shipper run`` beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from dataclasses import dataclass
from pathlib import Path

from shipper.demo.truth import Truth, read_truth
from shipper.handoff.prepare import prepare_root

STOP_SECONDS = 25.0  # what a container platform commonly grants
START_SECONDS = 15.0
SERVICE = "checkout"
ENVIRONMENT = "demo"


@dataclass(frozen=True, slots=True)
class Build:
    """What the host's image carries."""

    release: str
    image: str
    generation: str
    error_ratio: float


class Host:
    """A process tree with a life of its own. ``directory`` is its disk, gone in real life when it is."""

    def __init__(self, name: str, build: Build, directory: Path, endpoint: str, push: float = 15.0) -> None:
        """``push``: seconds between two samples of its metrics."""
        self.name = name
        self.build = build
        self.directory = directory
        self.condition = "starting"
        self.requests = 0
        self.errors = 0
        self.sidecar_exit: int | None = None
        self.has_power = True
        self.came_up = asyncio.Event()  # it serves, or never will
        self._endpoint = endpoint
        self._push = push
        self._service: Process | None = None
        self._sidecar: Process | None = None
        (directory / "log").mkdir(parents=True)
        (directory / "state").mkdir(mode=0o711)
        prepare_root(str(self._spool))  # which `shipper bake` leaves in an image: services may start before the sidecar

    async def start(self) -> None:
        """Boot: the sidecar first, as its unit orders it, then the service."""
        await self._start_sidecar()
        self._service = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "shipper.demo.service",
            f"--log={self._log}",
            f"--truth={self.directory / 'truth'}",
            f"--port-file={self._port_file}",
            f"--release={self.build.release}",
            f"--error-ratio={self.build.error_ratio}",
            stdin=asyncio.subprocess.DEVNULL,
            env=bare() | {"SHIPPER_SPOOL_DIR": str(self._spool)},
            start_new_session=True,
        )

    async def _start_sidecar(self) -> None:
        with open(self.directory / "sidecar.log", "ab") as output:
            self._sidecar = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "shipper",
                "run",
                f"--tail={self._log}*",
                "--ephemeral",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment(),
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        return bare() | {
            "SHIPPER_STATE_DIR": str(self.directory / "state"),
            "SHIPPER_OTLP_ENDPOINT": self._endpoint,
            "SHIPPER_HOST": self.name,
            "SHIPPER_SERVICE": SERVICE,
            "SHIPPER_RELEASE": self.build.release,
            "SHIPPER_IMAGE": self.build.image,
            "SHIPPER_GENERATION": self.build.generation,
            "SHIPPER_ENVIRONMENT": ENVIRONMENT,
            "SHIPPER_ADMIN_LISTEN": "off",
            "SHIPPER_METRICS_INTERVAL": f"{self._push}s",
            "SHIPPER_DRAIN_DEADLINE": f"{STOP_SECONDS}s",
        }

    async def _up(self) -> None:
        """Wait until the sidecar answers on its socket."""
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(str(self.directory / "state" / "admin.sock"))
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return

    async def serve(self, rate: float) -> None:
        """Send it ``rate`` requests a second over one connection until it goes away."""
        try:
            await self._serve(rate)
        finally:
            self.came_up.set()

    async def _serve(self, rate: float) -> None:
        while not (self.directory / "port").exists():
            if self._service is not None and self._service.returncode is not None:
                return
            await asyncio.sleep(0.05)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(self._port_file.read_text()))
        except OSError:
            return
        if self.condition == "starting":
            self.condition = "serving"
        self.came_up.set()
        clock = asyncio.get_running_loop()
        due = clock.time()
        try:
            while True:
                writer.write(b"GET /checkout HTTP/1.1\r\nHost: demo\r\n\r\n")
                status = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(status.lower().rsplit(b"content-length: ", 1)[1].split(b"\r\n")[0]))
                self.requests += 1
                self.errors += status.split(b" ", 2)[1] == b"500"
                due += 1.0 / rate
                await asyncio.sleep(max(0.0, due - clock.time()))
        except (OSError, asyncio.IncompleteReadError):
            return  # the host went down under the request, as hosts do
        finally:
            writer.close()

    async def crash_sidecar(self, down_seconds: float) -> None:
        """SIGKILL the sidecar and start it again; the service goes on writing meanwhile."""
        self.condition = "sidecar killed"
        _signal(self._sidecar, signal.SIGKILL)
        if self._sidecar is not None:
            await self._sidecar.wait()
        await asyncio.sleep(down_seconds)
        await self._start_sidecar()
        self.condition = "serving"

    async def lose_power(self) -> None:
        """SIGKILL to everything at once: nothing on it says another word. Its disk stays."""
        await self.destroy()
        self.has_power = False
        self.condition = "without power"

    async def recover(self) -> None:
        """Its disk is found: a sidecar alone sends what the host could not, and leaves."""
        self.condition = "disk found"
        await self._start_sidecar()
        async with asyncio.timeout(START_SECONDS):
            await self._up()  # a SIGTERM before it is would end it before it has looked at the disk
        await self.terminate(kill_service=False)

    async def terminate(self, *, kill_service: bool) -> None:
        """End the life: SIGTERM to everything at once, or SIGKILL to the service and SIGTERM to the sidecar."""
        self.condition = "service killed" if kill_service else "terminating"
        _signal(self._service, signal.SIGKILL if kill_service else signal.SIGTERM)
        _signal(self._sidecar, signal.SIGTERM)
        for process in (self._service, self._sidecar):
            if process is not None:
                await process.wait()
        self.sidecar_exit = self._sidecar.returncode if self._sidecar else None
        self.condition = "gone"

    async def destroy(self) -> None:
        """SIGKILL whatever still runs, and wait until it is gone."""
        for process in (self._service, self._sidecar):
            _signal(process, signal.SIGKILL)
            if process is not None:
                await process.wait()

    def truth(self) -> Truth:
        """What its service emitted."""
        return read_truth(self.directory / "truth", sorted((self.directory / "log").iterdir()))

    @property
    def _log(self) -> Path:
        return self.directory / "log" / "checkout.log"

    @property
    def _spool(self) -> Path:
        return self.directory / "state" / "spool"

    @property
    def _port_file(self) -> Path:
        return self.directory / "port"


def bare() -> dict[str, str]:
    """Our environment without what it says about telemetry."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SHIPPER_", "OTEL_"))}


def _signal(process: Process | None, number: signal.Signals) -> None:
    if process is not None and process.returncode is None:
        process.send_signal(number)
