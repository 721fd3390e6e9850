"""What the end-to-end tests share: real ``shipper`` processes, and waiting on conditions instead of on time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shipper.testing.sink import Received, Sink

# Most tests count records; a host's own numbers would be among them. tests/e2e/test_metrics_of_a_life.py is about those.
WITHOUT_OWN_NUMBERS = {"SHIPPER_METRICS_OWN": "false"}
PATIENCE = 40.0  # a bound for a loaded machine, never a measure
STATEMENTS = ("shipper.birth", "shipper.account", "shipper.farewell")


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of ``condition``; fail with ``what`` when it does not come."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (value := condition()):  # noqa: ASYNC110 - what is waited for is another process
                await asyncio.sleep(0.01)
            return value
    except TimeoutError:
        raise AssertionError(f"this did not happen within {PATIENCE} s: {what}") from None


class Shipper:
    """One ``shipper`` process with its output in a file."""

    def __init__(self, directory: Path, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.directory = directory
        self.arguments = list(arguments)
        self.output = directory / "output"
        self.prefix: tuple[str, ...] = ()  # a command to start it by
        self.program: tuple[str, ...] = (sys.executable, "-m", "shipper")
        self._env = {k: v for k, v in os.environ.items() if not k.startswith(("SHIPPER_", "OTEL_"))} | dict(env)
        self._process: Process | None = None
        self._said_before = 0

    async def start(self) -> Shipper:
        """Start it; does not wait for anything."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._said_before = len(self.said())
        with open(self.output, "ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.prefix,
                *self.program,
                *self.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._env,
            )
        return self

    async def up(self) -> None:
        """Wait until this start of it is up: a SIGTERM is a drain, the admin socket answers, services can hand over."""
        await until(lambda: " up: " in self.said()[self._said_before :], "shipper is up")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.alive():
            assert self._process is not None
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; the exit status (negative: the signal that killed it)."""
        assert self._process is not None
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._process.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            raise AssertionError(f"shipper did not end within {PATIENCE} s:\n{self.said()}") from None

    async def terminate(self) -> int:
        """SIGTERM, and wait for the end."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.signal(signal.SIGKILL)
        await self.ended()

    def said(self) -> str:
        """Everything it printed so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    async def __aenter__(self) -> Shipper:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        if self.alive():
            await self.kill()


def sidecar(directory: Path, endpoint: str, *tails: Path | str, flags: Sequence[str] = (), **env: str) -> Shipper:
    """A sidecar with its state in ``directory/state``."""
    settings = {
        "SHIPPER_STATE_DIR": str(directory / "state"),
        "SHIPPER_OTLP_ENDPOINT": endpoint,
        "SHIPPER_HOST": directory.name,
        "SHIPPER_SERVICE": "checkout",
        "SHIPPER_RELEASE": "1.2.3",
        "SHIPPER_GENERATION": "g1",
        "SHIPPER_ADMIN_LISTEN": "off",
        "SHIPPER_DRAIN_EPHEMERAL": "false",
        **WITHOUT_OWN_NUMBERS,
    }
    return Shipper(directory, ["run", *(f"--tail={tail}" for tail in tails), *flags], settings | env)


def gateway(directory: Path, port: int, *, flags: Sequence[str] = (), **env: str) -> Shipper:
    """A gateway with its archive in ``directory/archive``."""
    settings = {"SHIPPER_ADMIN_LISTEN": "off", "SHIPPER_HOST": "gateway", **WITHOUT_OWN_NUMBERS}
    arguments = [
        "gateway",
        f"--listen=127.0.0.1:{port}",
        f"--archive={directory / 'archive'}",
        f"--state-dir={directory / 'state'}",
        *flags,
    ]
    return Shipper(directory, arguments, settings | env)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def shipper(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A verb that ends by itself."""
    return subprocess.run([sys.executable, "-m", "shipper", *arguments], capture_output=True, text=True, check=False)


def audit(archive: Path, expected_status: int = 0) -> dict[str, Any]:
    """What ``shipper audit --json`` says."""
    answer = shipper("audit", str(archive), "--json")
    assert answer.returncode == expected_status, answer.stdout + answer.stderr
    return dict(json.loads(answer.stdout))


def host(report: dict[str, Any], name: str) -> dict[str, Any]:
    """The life of a host in an audit."""
    return next(life for life in report["lives"] if life["host"] == name)


async def listening(port: int) -> None:
    """Wait until somebody listens on a loopback port."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            return


def data_lines(sink: Sink) -> list[str]:
    """Log lines the sink keeps, without Shipper's own statements and without what came twice under the same key."""
    return [line for request in _once(sink.kept()) for line in request.lines() if not is_statement(line)]


def statements(sink: Sink) -> list[dict[str, Any]]:
    """Shipper's own statements the sink keeps, in order."""
    return [json.loads(line) for request in sink.kept() for line in request.lines() if is_statement(line)]


def is_statement(line: str) -> bool:
    """Whether a log body is one of Shipper's own statements."""
    return line.startswith('{"version":1,"shipper":')


def _once(requests: Sequence[Received]) -> list[Received]:
    seen: set[str] = set()
    return [request for request in requests if not (request.key in seen or seen.add(request.key))]
