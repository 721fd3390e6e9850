"""The forward protocol received on one core: into the spool alone, and through it to a sink that acknowledges all."""

from __future__ import annotations

import time

from bench.process import Sidecar, Sink, cores, start, wait_for
from bench.row import Row, workplace
from tests.e2e.kit import free_port

MB = 1_000_000


def receive(name: str, mode: str, size: int, records: int, *, ship: bool) -> list[Row]:
    """``mode`` and ``records`` in a chunk as `bench.forward_client` has them; ``ship``: the destination is up.

    Where it is not, what is measured ends with the last acknowledgement: all records are in the spool.
    """
    with workplace() as directory:
        port = free_port()
        sink = Sink(directory)
        endpoint = sink.endpoint if ship else f"http://127.0.0.1:{free_port()}"
        settings = {"SHIPPER_RECEIVERS_FORWARD_TCP": f"127.0.0.1:{port}", "SHIPPER_RECEIVERS_SPOOL_MAX": "8GiB"}
        sidecar = Sidecar(directory, endpoint, str(directory / "log" / "none.log"), **settings)
        wait_for(lambda: (directory / "state" / "admin.sock").exists(), 60, "the sidecar's start")
        time.sleep(1)
        said = directory / "client"
        before = sidecar.cpu()
        client = start(
            ["-m", "bench.forward_client", str(port), str(size), str(records), mode], cores()[1], output=said
        )
        client.wait()
        sent, count, seconds = said.read_text().split()
        begun = time.monotonic()
        if ship:
            wait_for(lambda: sink.records() >= int(count), 300, "the last record")
        wall, cpu = float(seconds) + time.monotonic() - begun, sidecar.cpu() - before
        peak = sidecar.memory("VmHWM")
        sidecar.process.kill()
        sidecar.process.wait()
        missing = int(count) - sink.stop()["records"] if ship else 0
    return [
        Row(name, "throughput", "records/s", int(count) / wall),
        Row(name, "throughput", "MB/s", int(sent) / wall / MB),
        Row(name, "records for each second of CPU", "records/CPU-s", int(count) / cpu),
        Row(name, "memory, peak RSS", "MB", peak),
        Row(name, "missing", "records", missing),
    ]
