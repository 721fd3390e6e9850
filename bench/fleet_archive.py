"""What a sample of a host's metrics takes in an archive: objects made by the exporter itself."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import cast

from shipper.cli.cost import host_series
from shipper.clock import Deadline, SystemClock
from shipper.contracts import Batch, Cut, ExporterContext, Request, Signal
from shipper.events import Reporter
from shipper.ids import uuid7
from shipper.ledger import LedgerThread
from shipper.measure.own import OwnMetrics
from shipper.measure.own_reading import HostFacts
from shipper_exporters.archive import ArchiveExporter, ArchiveSettings

PUSHES = 2  # of each host in an object: it is written each 30 s
HOSTS = 100  # more hosts in an object make it no denser


class _NoLedger:
    """Remembers nothing: what is measured is bytes."""

    async def call(self, *_: object, **__: object) -> None:
        return None


def archived_bytes(hosts: int) -> float:
    """Bytes of objects and range lists to one sample as Prometheus counts them (a bucket is one)."""
    with tempfile.TemporaryDirectory(prefix="shipper-archived-") as directory:
        asyncio.run(_write(Path(directory), min(hosts, HOSTS)))
        size = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
    a_host = host_series()
    return size / (min(hosts, HOSTS) * PUSHES * (a_host.own + a_host.destination))


async def _write(directory: Path, hosts: int) -> None:
    clock = SystemClock()
    settings = ArchiveSettings(url=str(directory), trust_local=True)
    exporter = ArchiveExporter("archive", settings, ExporterContext(clock, "life", 1, "bench"))
    batches = [batch for number in range(hosts) for batch in await _pushes(number, time.time_ns())]
    await exporter.send(
        exporter.prepare(Request(uuid7(time.time_ns()), Signal.METRICS, tuple(batches))), Deadline(clock)
    )


async def _pushes(number: int, now_ns: int) -> list[Batch]:
    """What one host's sidecar writes into its stream of metrics: two samples in different pushes."""
    host = f"i-{number:017x}"
    life = uuid7(time.time_ns())
    attributes = {
        "service.name": "shop",
        "service.version": "1.4.2",
        "deployment.environment.name": "production",
        "shipper.generation": "shop-7d9f8b6c5d",
        "service.instance.id": host,
        "host.id": host,
        "shipper.life.id": life,
    }
    report = Reporter(SystemClock())
    facts = HostFacts(now_ns, "sha256:" + "ab" * 32, "eu-central-1a", "m5.large", now_ns, now_ns)
    own = OwnMetrics(facts, attributes, ["primary"], ledger=cast(LedgerThread, _NoLedger()), report=report)
    await own.birth()
    at, made = 0, []
    for push in range(PUSHES):
        report.metrics.acknowledged.labels("primary").inc(220 + number)
        samples = await own.sample(now_ns + push * 15 * 10**9)
        end = at + len(samples.payload)
        cut = Cut(at, end, at, end, samples.points, now_ns)
        made.append(Batch(life, "metrics", Signal.METRICS, cut, samples.payload))
        at = end
    return made
