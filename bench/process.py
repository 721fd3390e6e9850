"""Start processes on chosen cores and read from /proc what they cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


def cores() -> tuple[int, int]:
    """The core under measurement and the one for everything else."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


def start(
    arguments: list[str], core: int, env: dict[str, str] | None = None, output: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a Python process pinned to ``core``."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SHIPPER_", "OTEL_"))}
    out = open(output, "ab") if output else subprocess.DEVNULL  # noqa: SIM115 - closed below, once the child has it
    try:
        return subprocess.Popen(
            ["taskset", "-c", str(core), sys.executable, *arguments],
            env=clean | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    finally:
        if not isinstance(out, int):
            out.close()


def cpu_seconds(pid: int) -> float:
    """User and system time used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int, what: str) -> float:
    """``VmRSS`` now or ``VmHWM`` at its highest, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(what)


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until ``condition`` is true. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.01)
    raise TimeoutError(f"{what} did not happen within {seconds} s")


class Sink:
    """bench/sink.py in a process of its own."""

    def __init__(self, directory: Path, **options: float | bool) -> None:
        self._out = directory / "sink.json"
        port_file = directory / "sink.port"
        flags = [f"--{k.replace('_', '-')}" + ("" if v is True else f"={v}") for k, v in options.items() if v]
        self.process = start(["-m", "bench.sink", f"--port-file={port_file}", f"--out={self._out}", *flags], cores()[1])
        wait_for(port_file.exists, 10, "the sink's start")
        self.port = int(port_file.read_text())

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def records(self) -> int:
        """Records taken so far."""
        live = Path(f"{self._out}.live")
        return int(json.loads(live.read_text())["records"]) if live.exists() else 0

    def stop(self) -> dict[str, Any]:
        """End it and read what it took."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        return dict(json.loads(self._out.read_text()))


class Sidecar:
    """A ``shipper run`` on the measured core."""

    def __init__(self, directory: Path, endpoint: str, tail: str, **env: str) -> None:
        self.log = directory / "sidecar.log"
        settings = {
            "SHIPPER_STATE_DIR": str(directory / "state"),
            "SHIPPER_OTLP_ENDPOINT": endpoint,
            "SHIPPER_ADMIN_LISTEN": "off",
            "SHIPPER_HOST": "bench",
            "SHIPPER_DRAIN_DEADLINE": "300s",
        }
        self.process = start(["-m", "shipper", "run", f"--tail={tail}"], cores()[0], settings | env, self.log)

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def memory(self, what: str) -> float:
        return memory_mb(self.process.pid, what)

    def terminate(self) -> float:
        """SIGTERM and wait; the seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        return time.monotonic() - begun
