"""OTLP received and forwarded on one core: from a client that sends as fast as it may to a sink that has acknowledged all."""

from __future__ import annotations

import time

from bench.process import Sidecar, Sink, cores, start, wait_for
from bench.row import Row, workplace
from tests.e2e.kit import free_port

MB = 1_000_000


def forward(name: str, kind: str, size: int, records: int, coding: str = "none", **env: str) -> list[Row]:
    """``kind``, ``records`` in a request and ``coding`` as `bench.otlp_client` has them; ``size`` raw bytes are sent."""
    with workplace() as directory:
        http, grpc = free_port(), free_port()
        sink = Sink(directory)
        doors = {
            "SHIPPER_RECEIVERS_OTLP_HTTP": f"127.0.0.1:{http}",
            "SHIPPER_RECEIVERS_OTLP_GRPC": f"127.0.0.1:{grpc}" if kind == "grpc" else "off",
        }
        sidecar = Sidecar(directory, sink.endpoint, str(directory / "log" / "none.log"), **doors, **env)
        wait_for(lambda: (directory / "state" / "admin.sock").exists(), 60, "the sidecar's start")
        time.sleep(1)
        before, begun = sidecar.cpu(), time.monotonic()
        arguments = [kind, str(grpc if kind == "grpc" else http), str(size), str(records), coding]
        said = directory / "client"
        client = start(["-m", "bench.otlp_client", *arguments], cores()[1], output=said)
        client.wait()
        sent, count, seconds = said.read_text().split()
        made = time.monotonic() - begun - float(seconds)  # the requests, before the first was sent
        wait_for(lambda: sink.records() >= int(count), 300, "the last record")
        wall, cpu = time.monotonic() - begun - made, sidecar.cpu() - before
        peak = sidecar.memory("VmHWM")
        sidecar.terminate()
        taken = sink.stop()
    return [
        Row(name, "throughput", "MB/s", int(sent) / wall / MB),
        Row(name, "CPU", "CPU-s/GB", cpu / (int(sent) / 1e9)),
        Row(name, "raw bytes for each second of CPU", "MB/CPU-s", int(sent) / cpu / MB),
        Row(name, "memory, peak RSS", "MB", peak),
        Row(name, "wire/raw", "ratio", taken["wire_bytes"] / int(sent)),
        Row(name, "missing", "records", int(count) - taken["records"]),
    ]
