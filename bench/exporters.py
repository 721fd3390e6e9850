"""What each exporter costs: a file, shipped and acknowledged by a destination that takes everything at once."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.process import cores, cpu_seconds, memory_mb, start, wait_for
from bench.row import Row, workplace

MB = 1_000_000
OTHERS = ("archive", "stdout", "prometheus", "prometheus-scrape", "pushgateway")
"""Those that are not measured one by one: they write to disks of others, or take the few samples of a host."""
LOGS = ("otlp", "otlp-json", "forward", "logstash", "loki", "elasticsearch", "splunk", "datadog", "kafka", "file")


def options(kind: str, ports: Mapping[str, int], directory: Path) -> dict[str, Any]:
    """The settings of a destination of that kind, all else as it is by default."""
    url = f"http://127.0.0.1:{ports['http']}"
    secret = directory / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef\n")
    return {
        "otlp": {"type": "otlp", "endpoint": url},
        "otlp-json": {"type": "otlp", "endpoint": url, "protocol": "http/json"},
        "forward": {"type": "forward", "endpoint": f"127.0.0.1:{ports['forward']}"},
        "logstash": {"type": "logstash", "endpoint": f"127.0.0.1:{ports['lumberjack']}"},
        "loki": {"type": "loki", "endpoint": url},
        "elasticsearch": {"type": "elasticsearch", "endpoint": url},
        "splunk": {"type": "splunk", "endpoint": url, "token_file": str(secret)},
        "datadog": {"type": "datadog", "logs_endpoint": f"{url}/api/v2/logs", "token_file": str(secret)},
        "kafka": {"type": "kafka", "endpoints": [f"127.0.0.1:{ports['kafka']}"]},
        "file": {"type": "file", "path": str(directory / "out" / "{signal}.jsonl")},
        "archive": {"type": "archive", "url": str(directory / "archive"), "trust_local": True},
        "stdout": {"type": "stdout"},
        "prometheus": {"type": "prometheus", "endpoint": f"{url}/api/v1/write"},
        "prometheus-scrape": {"type": "prometheus-scrape", "listen": "127.0.0.1:0"},
        "pushgateway": {"type": "pushgateway", "endpoint": url},
    }[kind]


@contextmanager
def null(directory: Path, acknowledged_after: float = 0.0) -> Iterator[dict[str, int]]:
    """The ports of destinations that take everything; those that acknowledge later do so after so many seconds."""
    port_file = directory / "null.ports"
    process = start(["-m", "bench.null", str(port_file), str(acknowledged_after)], cores()[1])
    try:
        wait_for(port_file.exists, 10, "the start of the destinations")
        yield dict(
            zip(("http", "forward", "lumberjack", "kafka"), map(int, port_file.read_text().split()), strict=True)
        )
    finally:
        process.kill()
        process.wait()


class Running:
    """A ``shipper run`` with these destinations on the measured core."""

    def __init__(
        self, directory: Path, destinations: Mapping[str, Any], log: Path, shape: Mapping[str, Any] | None = None
    ) -> None:
        self._socket = directory / "state" / "admin.sock"
        self._log = directory / "sidecar.log"
        config = {
            "state_dir": str(directory / "state"),
            "labels": {"host": "bench", "service": "checkout"},
            "files": [{"include": [str(log)], **({"shape": dict(shape)} if shape else {})}],
            "drain": {"deadline": "300s"},
            "destinations": destinations,
        }
        file = directory / "shipper.yaml"
        file.write_text(json.dumps(config))
        arguments = ["-m", "shipper", "run", f"--config={file}"]
        self.process = start(arguments, cores()[0], {"SHIPPER_ADMIN_LISTEN": "off"}, self._log)
        self.cpu = lambda: cpu_seconds(self.process.pid)

    def acknowledged(self) -> int:
        """Records that each destination has acknowledged: the least."""
        if not self._socket.exists():
            return 0
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self._socket))
        connection.request("GET", "/status")
        status = json.load(connection.getresponse())
        connection.close()
        every = status["destinations"]
        return int(min(one["acknowledged"] for name, one in every.items() if name == "bench" or name in LOGS))

    def ready(self) -> bool:
        """Whether it is up."""
        return self._socket.exists()

    def said(self) -> str:
        """Its last words."""
        return self._log.read_text()[-500:]

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


def cost(
    name: str,
    kind: str,
    make: Callable[[Path], int],
    shape: Mapping[str, Any] | None = None,
    acknowledged_after: float = 0.0,
) -> list[Row]:
    """One exporter, all of the file that ``make`` writes; ``shape``: how its lines are understood.

    ``acknowledged_after``: seconds, for a destination that acknowledges later; the wait for the last one is left out.
    """
    with workplace() as directory, null(directory, acknowledged_after) as ports:
        log = directory / "log" / "app.log"
        lines = make(log)
        size = log.stat().st_size
        running = Running(directory, {"bench": options(kind, ports, directory)}, log, shape)
        try:
            wait_for(running.ready, 60, "its start")
            begun, cpu = time.monotonic(), running.cpu()
            wait_for(lambda: _patiently(running) >= lines, 600, "the last acknowledgement")
            cpu, wall = running.cpu() - cpu, time.monotonic() - begun - acknowledged_after
            peak = memory_mb(running.process.pid, "VmHWM")
        finally:
            running.stop()
    return [
        Row(name, "records for each second of CPU", "records/CPU-s", lines / cpu),
        Row(name, "CPU", "CPU-s/GB", cpu / (size / 1e9)),
        Row(name, "throughput", "records/s", lines / wall),
        Row(name, "memory, peak RSS", "MB", peak),
    ]


def together(name: str, make: Callable[[Path], int]) -> list[Row]:
    """Every exporter at once: the memory, until the slowest that takes logs has everything."""
    with workplace() as directory, null(directory) as ports:
        log = directory / "log" / "app.log"
        lines = make(log)
        kinds = (*LOGS, *OTHERS)
        running = Running(directory, {kind: options(kind, ports, directory) for kind in kinds}, log)
        try:
            wait_for(lambda: _patiently(running) >= lines, 600, "the last acknowledgement of the slowest")
            peak = memory_mb(running.process.pid, "VmHWM")
        finally:
            running.stop()
    return [Row(name, f"memory, peak RSS, {len(kinds)} destinations", "MB", peak)]


def _patiently(running: Running) -> int:
    time.sleep(0.1)  # asking costs the sidecar a little, too
    if running.process.poll() is not None:
        raise subprocess.SubprocessError(f"the sidecar ended: {running.said()}")
    return running.acknowledged()
