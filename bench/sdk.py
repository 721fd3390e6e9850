"""What a service pays for its telemetry, with the stock SDK and with Shipper, and what a SIGKILL costs it."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import statistics
import struct
import subprocess
import time
from pathlib import Path

from bench.process import Sink, cores, start, wait_for
from bench.row import Row, workplace
from shipper.handoff.frame import Kind, walk
from shipper.handoff.prepare import prepare_root

RATE = 5000.0  # records a second: the stock batch processor drops nothing at it
COUNT = 10_000
ROUNDS = 3
KINDS = ("none", "stock", "shipper")
STOCK_IMPORTS = "import opentelemetry.sdk.trace, opentelemetry.sdk._logs"
LINE = re.compile(rb"line (\d+) of")


def cost(name: str, what: str) -> list[Row]:
    """CPU of the whole process a record, and the caller's wait, for the same work three ways: medians of rounds in which
    each way comes first once, so that a machine that is busy for a while is not so for one of them only."""
    taken: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    with workplace() as directory:
        sink = Sink(directory)
        for number in range(ROUNDS):
            first = number % len(KINDS)
            for kind in KINDS[first:] + KINDS[:first]:
                taken[kind].append(_measure(directory, f"{kind}-{number}", kind, what, sink.endpoint))
        sink.stop()
    figures = {
        kind: {figure: statistics.median(one[figure] for one in rounds) for figure in rounds[0]}
        for kind, rounds in taken.items()
    }
    added = {kind: figures[kind]["cpu_us"] - figures["none"]["cpu_us"] for kind in ("stock", "shipper")}
    rows = [Row(name, f"CPU, {kind}", "us/record", figures[kind]["cpu_us"]) for kind in KINDS]
    rows += [Row(name, f"CPU added, {kind}", "us/record", added[kind]) for kind in added]
    rows.append(Row(name, "CPU added, shipper/stock", "ratio", added["shipper"] / added["stock"]))
    for part in ("p50", "p99", "max"):
        rows += [Row(name, f"caller's wait {part}, {kind}", "us", figures[kind][f"{part}_us"]) for kind in KINDS]
    for part in ("p50", "p99"):
        rows += [
            Row(name, f"request's wait {part}, {kind}", "ms", figures[kind][f"request_{part}_ms"]) for kind in KINDS
        ]
    return [*rows, *(Row(name, f"threads, {kind}", "", figures[kind]["threads"]) for kind in KINDS)]


def _measure(directory: Path, name: str, kind: str, what: str, endpoint: str) -> dict[str, float]:
    out = directory / f"{name}.json"
    root = directory / f"{name}.spool"
    prepare_root(str(root))
    env = {"SHIPPER_SPOOL_DIR": str(root), "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    service = start(["-m", "bench.service", kind, what, str(COUNT), str(RATE)], cores()[0], env, out)
    if service.wait():
        raise RuntimeError(out.read_text())
    return dict(json.loads(out.read_text().splitlines()[-1]))


def imports(name: str) -> list[Row]:
    """How long a process takes that imports the SDK, and one that also imports and starts Shipper; the median of ten each."""
    with workplace() as directory:
        prepare_root(str(directory / "spool"))
        env = {"SHIPPER_SPOOL_DIR": str(directory / "spool")}
        stock, ours = [], []
        for _ in range(10):
            stock.append(_took(STOCK_IMPORTS, env))
            ours.append(_took(f"{STOCK_IMPORTS}; import shipper; shipper.init(service='bench')", env))
    return [
        Row(name, "opentelemetry-sdk alone", "ms", statistics.median(stock)),
        Row(name, "with shipper.init()", "ms", statistics.median(ours)),
        Row(name, "added by Shipper", "ms", statistics.median(ours) - statistics.median(stock)),
    ]


def _took(code: str, env: dict[str, str]) -> float:
    begun = time.monotonic()
    start(["-c", code], cores()[0], env).wait()
    return (time.monotonic() - begun) * 1000


def crashes(name: str, wanted: int = 1_000_000) -> list[Row]:
    """Services that log as fast as they can and are killed at random moments, until ``wanted`` calls have returned."""
    rng = random.Random(1)
    returned = missing = kills = torn = beyond = 0
    with workplace() as directory:
        while returned < wanted:
            promised, found, half = _one_life(directory, rng.uniform(0.05, 2.0), f"victim-{kills}")
            kills += 1
            returned += promised
            torn += half
            missing += len(set(range(promised)) - found)
            beyond += len(found) - promised
    return [
        Row(name, "calls that returned", "records", returned),
        Row(name, "SIGKILLs", "", kills),
        Row(name, "missing", "records", missing),
        Row(name, "written although the call had not returned", "records", beyond),
        Row(name, "half frames left", "", torn),
    ]


def _one_life(directory: Path, seconds: float, name: str) -> tuple[int, set[int], int]:
    """Calls that returned, the numbers found in the spool, and how many segments end in half a frame."""
    counter, root = directory / f"{name}.count", directory / name
    counter.write_bytes(bytes(8))
    prepare_root(str(root))
    victim = start(["-m", "bench.victim", str(counter), name], cores()[0], {"SHIPPER_SPOOL_DIR": str(root)})
    wait_for(lambda: counter.read_bytes() != bytes(8), 30, "the first call's return")
    time.sleep(seconds)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    (promised,) = struct.unpack("<Q", counter.read_bytes())
    found: set[int] = set()
    torn = 0
    for segment in root.glob("p*/logs-*.seg"):
        data = segment.read_bytes()
        read = walk(data)
        torn += read.end < len(data)
        found.update(int(match[1]) for f in read.frames if f.kind == Kind.LOG and (match := LINE.search(f.body)))
    subprocess.run(["rm", "-r", str(root)], check=True)
    return promised, found, torn
