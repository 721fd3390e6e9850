"""``python -m bench fleet-page``: what the page of a large archive takes, in seconds and memory.

The archive is written by the exporter itself, as a day of deploys leaves it: lines of a log, a host's account and its counters
of requests every 15 s, birth and farewell. How long that takes is not measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cases import plain_line
from bench.process import cores
from bench.row import workplace
from shipper.clock import Deadline, SystemClock
from shipper.contracts import Batch, Cut, ExporterContext, Request, Signal, StreamKind
from shipper.ids import uuid7
from shipper.otlp import metrics
from shipper.otlp.encode import LineEncoder, export_logs, log_record, resource, scope
from shipper_exporters.archive import ArchiveExporter, ArchiveSettings

GENERATIONS = 30
HOSTS = 4  # of each generation
PUSHES = 60  # of a life, at one every 15 s
PUSH_NS = 15 * 10**9
OBJECT = 16 << 20  # bytes of lines in one object, as the exporter gathers them
LINE = 200
BEGIN_NS = 1_795_000_000 * 10**9


@dataclass(frozen=True)
class Host:
    """One life of ``lines`` lines, which are cut into as many batches as it pushes."""

    number: int
    lines: int

    @property
    def generation(self) -> int:
        return self.number // HOSTS

    @property
    def name(self) -> str:
        return f"i-{self.number:017x}"

    @property
    def born_ns(self) -> int:
        return BEGIN_NS + self.generation * PUSHES * PUSH_NS

    @property
    def labels(self) -> dict[str, str]:
        return {
            "service": "checkout",
            "environment": "production",
            "generation": f"checkout-{self.generation:03d}",
            "release": f"1.{self.generation}.0",
            "image": f"sha256:{self.generation:064x}",
            "host": self.name,
        }

    @property
    def resource(self) -> bytes:
        labels = self.labels
        return resource(
            {
                "service.name": labels["service"],
                "service.version": labels["release"],
                "deployment.environment.name": labels["environment"],
                "shipper.generation": labels["generation"],
                "service.instance.id": self.name,
                "host.name": self.name,
                "shipper.life.id": self.life,
            }
        )

    @property
    def life(self) -> str:
        return f"01a20000-0000-7000-8000-{self.number:012x}"


def main(words: list[str]) -> int:
    """Write the archive, make its page in a process of its own, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench fleet-page", description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000, help="log records (default 10,000,000)")
    parser.add_argument("--runs", type=int, default=3, help="pages made of it (default 3)")
    arguments = parser.parse_args(words)
    with workplace() as directory:
        archive = directory / "archive"
        asyncio.run(_write(archive, arguments.records))
        size = sum(file.stat().st_size for file in archive.rglob("*") if file.is_file())
        measured = [_page(archive, directory / "page.html") for _ in range(arguments.runs)]
        page = (directory / "page.html").stat().st_size
    print("| figure | median | lowest to highest | unit |\n|---|---|---|---|")
    for name, unit, values in (
        ("records in the archive", "", [float(one.records) for one in measured]),
        ("bytes of the archive", "MB", [size / 1e6]),
        ("bytes of the page", "MB", [page / 1e6]),
        ("the page is made in", "s", [one.seconds for one in measured]),
        ("processor time of that", "s", [one.busy for one in measured]),
        ("peak resident memory", "MB", [one.memory for one in measured]),
    ):
        middle, low, high = map(_number, (statistics.median(values), min(values), max(values)))
        print(f"| {name} | {middle} | {low} to {high} | {unit} |")
    return 0


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class Made:
    """One page: seconds, of which the processor was busy, MB at the peak, and the records that it found."""

    seconds: float
    busy: float
    memory: float
    records: int


def _page(archive: Path, page: Path) -> Made:
    """Make it with ``shipper fleet``, which must find nothing missing."""
    command = ["taskset", "-c", str(cores()[0]), sys.executable, "-m", "shipper", "fleet", str(archive), "--json"]
    begun = time.monotonic()
    process = subprocess.Popen([*command, "--html", str(page)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not told["ok"] or told["totals"]["missing"]:
        raise SystemExit("the archive is not whole: nothing was measured")
    busy = used.ru_utime + used.ru_stime
    return Made(seconds, busy, used.ru_maxrss * 1024 / 1e6, told["totals"]["archived"])


async def _write(archive: Path, records: int) -> None:
    clock = SystemClock()
    settings = ArchiveSettings(url=str(archive), trust_local=True)
    exporter = ArchiveExporter("archive", settings, ExporterContext(clock, "gateway", 1, "bench"))
    random_lines = random.Random(1)
    block = [plain_line(random_lines)[:-1] for _ in range(20_000)]
    hosts = GENERATIONS * HOSTS
    waiting: dict[Signal, list[Batch]] = {}
    for number in range(hosts):
        host = Host(number, records // hosts)
        for batch in _batches(host, block):
            gathered = waiting.setdefault(batch.signal, [])
            gathered.append(batch)
            if sum(len(one.payload) for one in gathered) >= OBJECT:
                await _send(exporter, clock, waiting.pop(batch.signal))
    for gathered in waiting.values():
        await _send(exporter, clock, gathered)


async def _send(exporter: ArchiveExporter, clock: SystemClock, batches: list[Batch]) -> None:
    request = Request(uuid7(time.time_ns()), batches[0].signal, tuple(batches))
    await exporter.send(exporter.prepare(request), Deadline(clock))


def _batches(host: Host, block: list[bytes]) -> Iterator[Batch]:
    """What one life leaves in the archive, in its order."""
    encoder = LineEncoder(host.resource, scope("file"))
    yield _statement(host, "birth", 0, 0)
    for push in range(PUSHES):
        first, last = (host.lines * at // PUSHES for at in (push, push + 1))
        at_ns = host.born_ns + (push + 1) * PUSH_NS
        texts = [block[number % len(block)] for number in range(first, last)]
        cut = Cut(first * LINE, last * LINE, first * LINE, last * LINE, last - first, at_ns)
        yield Batch(host.life, "f1", Signal.LOGS, cut, encoder.encode(texts, at_ns))
        yield _requests(host, push, last, at_ns)
        yield _statement(host, "farewell" if push == PUSHES - 1 else "account", push + 1, last)


def _requests(host: Host, push: int, served: int, at_ns: int) -> Batch:
    failed = served // 50
    points = [
        metrics.number(value, at_ns, host.born_ns, {"outcome": outcome})
        for outcome, value in (("ok", served - failed), ("error", failed))
    ]
    counter = metrics.counter("shipper.requests", points)
    payload = metrics.export_metrics(host.resource, scope("shipper"), [counter])
    cut = Cut(push * 1000, push * 1000 + 1000, push * 1000, push * 1000 + 1000, len(points), at_ns)
    return Batch(host.life, "metrics", Signal.METRICS, cut, payload)


def _statement(host: Host, what: str, seq: int, read: int) -> Batch:
    at_ns = host.born_ns + seq * PUSH_NS
    body: dict[str, Any] = {
        "version": 1,
        "life": host.life,
        "run": 1,
        "seq": seq + 1,
        "at_ns": at_ns,
        "role": "sidecar",
        "host": host.name,
        "labels": host.labels,
        "born_ns": host.born_ns,
        "streams": [_claim(read)] if read else [],
        **({"ends_life": True} if what == "farewell" else {}),
    }
    record = log_record(
        time_ns=at_ns, observed_ns=at_ns, body=json.dumps(body), event_name=f"shipper.{what}", attributes={}
    )
    payload = export_logs(host.resource, scope("shipper.account"), [record])
    kind = StreamKind.ACCOUNT if what == "account" else StreamKind.LIFE
    start = seq * 4000
    return Batch(
        host.life, kind.value, Signal.LOGS, Cut(start, start + 4000, start, start + 4000, 1, at_ns), payload, kind
    )


def _claim(read: int) -> dict[str, Any]:
    """A host's word on its log, all of which the gateway has."""
    end = read * LINE
    figures = {
        "read_to": end,
        "read": read,
        "acknowledged": read,
        "pending": 0,
        "acknowledged_ranges": [[0, end]],
        "unread": 0,
        "trusted": True,
    }
    stream = {"id": "f1", "name": "/var/log/app.log", "kind": "data", "signal": "logs", "start": 0, "size": end}
    return {**stream, "destinations": {"gw": figures}}
