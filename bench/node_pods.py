"""What the agent of a node costs: memory, threads and descriptors by the pod, and CPU while each pod writes a line a second."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from pathlib import Path

from bench.process import Sink, cores, cpu_seconds, memory_mb, start, wait_for
from bench.row import Row, workplace

SETTLE = 120.0  # seconds at most for all pods to be met
LINE = "2026-11-23T02:00:00.000000001Z stdout F "


def pods(case: str, count: int, seconds: int) -> list[Row]:
    """``count`` pods with one container each, met without an API server."""
    with workplace() as directory:
        sink = Sink(directory)
        logs = [_log(directory / "pods", number) for number in range(count)]
        env = {
            "SHIPPER_STATE_DIR": str(directory / "state"),
            "SHIPPER_OTLP_ENDPOINT": sink.endpoint,
            "SHIPPER_ADMIN_LISTEN": "off",
            "SHIPPER_HOST": "bench",
            "SHIPPER_METRICS_OWN": "false",
            "SHIPPER_NODE_PODS_DIR": str(directory / "pods"),
            "SHIPPER_NODE_API": "off",
        }
        agent = start(["-m", "shipper", "node"], cores()[0], env, directory / "agent.log")
        state = directory / "state"
        try:
            return _measured(case, agent, sink, state, logs, seconds)
        finally:
            agent.kill()
            agent.wait()
            sink.stop()


def _measured(
    case: str, agent: subprocess.Popen[bytes], sink: Sink, state: Path, logs: list[Path], seconds: int
) -> list[Row]:
    wait_for((state / "admin.sock").exists, SETTLE, "the agent's start")
    count = len(logs)
    alone = memory_mb(agent.pid, "VmRSS")
    for log in logs:
        _append(log, "first")
    wait_for(lambda: sink.records() >= count, SETTLE, "a line of every pod")
    begun, before = time.monotonic(), cpu_seconds(agent.pid)
    for number in range(seconds):
        for log in logs:
            _append(log, f"line {number}")
        time.sleep(max(0.0, begun + number + 1 - time.monotonic()))
    took, cpu = time.monotonic() - begun, cpu_seconds(agent.pid) - before
    wait_for(lambda: sink.records() >= (1 + seconds) * count, SETTLE, "all lines")
    rows = [
        Row(case, "memory without pods", "MB", alone),
        Row(case, "memory by the pod", "MB", (memory_mb(agent.pid, "VmRSS") - alone) / count),
        Row(case, "memory, highest", "MB", memory_mb(agent.pid, "VmHWM")),
        Row(case, "threads", "", len(os.listdir(f"/proc/{agent.pid}/task"))),
        Row(case, "descriptors", "", len(os.listdir(f"/proc/{agent.pid}/fd"))),
        Row(case, "CPU at a line a second in each pod", "% of a core", 100 * cpu / took),
    ]
    begun = time.monotonic()
    agent.terminate()
    agent.wait()
    rows.append(Row(case, "drain", "s", time.monotonic() - begun))
    return rows


def _log(home: Path, number: int) -> Path:
    path = home / f"bench_pod-{number}_{uuid.uuid4()}" / "app" / "0.log"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(f"{LINE}{text}\n")
