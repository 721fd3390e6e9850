"""A journal that waits to be shipped."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.process import Sidecar, Sink, wait_for
from bench.row import Row, workplace

ENTRIES = 200_000
UNITS = 8
REMOTE = "/lib/systemd/systemd-journal-remote"
BOOT = "0123456789abcdef0123456789abcdef"


def entries(count: int) -> Iterator[bytes]:
    """Entries as journald writes those of services, in the journal export format: 20 fields of which three are new in each."""
    rng = random.Random(1)
    common = []
    for unit in range(UNITS):
        name = f"service-{unit}"
        common.append(
            f"PRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER={name}\n_PID={1000 + unit}\n_UID=0\n_GID=0\n_COMM={name}\n"
            f"_EXE=/usr/bin/{name}\n_CMDLINE=/usr/bin/{name} --serve\n_CAP_EFFECTIVE=1ffffffffff\n"
            f"_SYSTEMD_CGROUP=/system.slice/{name}.service\n_SYSTEMD_UNIT={name}.service\n_SYSTEMD_SLICE=system.slice\n"
            f"_SYSTEMD_INVOCATION_ID={unit:032x}\n_MACHINE_ID={1:032x}\n_HOSTNAME=web-1\n_TRANSPORT=stdout\n"
            f"_STREAM_ID={unit:032x}\n_BOOT_ID={BOOT}\n"
        )
    for number in range(count):
        at = 1_763_000_000_000_000 + number * 1000
        yield (
            f"__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={number}\n{common[number % UNITS]}"
            f"_SOURCE_REALTIME_TIMESTAMP={at - 20}\n"
            f"MESSAGE=request id={rng.getrandbits(64):016x} method=GET path=/api/v1/items/{rng.randrange(10**5)}"
            f" status=200 duration_ms={rng.random() * 100:.2f} agent=mobile/4.2 region=eu-west-1\n\n"
        ).encode()


def make_journal(path: Path, count: int) -> None:
    """A journal file as systemd itself writes it."""
    writer = subprocess.Popen([REMOTE, f"--output={path}", "--split-mode=none", "-"], stdin=subprocess.PIPE)
    assert writer.stdin is not None
    for entry in entries(count):
        writer.stdin.write(entry)
    writer.stdin.close()
    if writer.wait():
        raise RuntimeError(f"{REMOTE} ended with {writer.returncode}")


def backlog(name: str) -> list[Row]:
    """Entries shipped and acknowledged on one core."""
    with workplace() as directory:
        journal = directory / "log"
        make_journal(journal / "a.journal", ENTRIES)
        config = directory / "shipper.json"
        config.write_text(json.dumps({"journal": {"directory": str(journal), "boot": "all"}}))
        sink = Sink(directory)
        sidecar = Sidecar(directory, sink.endpoint, str(directory / "none.log"), SHIPPER_CONFIG=str(config))
        wait_for(lambda: sink.records() > 0, 30, "the first record")
        before, cpu = sink.records(), sidecar.cpu()
        begun = time.monotonic()
        wait_for(lambda: sink.records() >= ENTRIES, 300, "the last record")
        wall, cpu = time.monotonic() - begun, sidecar.cpu() - cpu
        peak = sidecar.memory("VmHWM")
        sidecar.terminate()
        taken = sink.stop()
    shipped = ENTRIES - before
    return [
        Row(name, "throughput", "entries/s", shipped / wall),
        Row(name, "throughput of its core", "entries/CPU-s", shipped / cpu),
        Row(name, "memory, peak RSS", "MB", peak),
        Row(name, "missing", "entries", ENTRIES - taken["records"]),
    ]
