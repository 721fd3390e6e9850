"""A writer that is killed at any moment leaves whole lines, and the next one writes what is missing, and only that."""

from __future__ import annotations

import gzip
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from shipper.contracts import Signal
from tests.exporters.otlp_lines import lines_of

COUNT = 120
SENDER = textwrap.dedent(
    """
    import asyncio, dataclasses, sys
    from shipper.clock import Deadline, SystemClock
    from shipper.contracts import ExporterContext
    from shipper.testing.streams import LIFE, log_batch, log_request
    from shipper_exporters.file import FileExporter, FileSettings

    async def main(path, first, count):
        settings = FileSettings(path=path, rotate_bytes=100_000, rotate_keep=0)
        exporter = FileExporter("out", settings, ExporterContext(SystemClock(), LIFE, 1, "test"))
        for number in range(first, count):
            request = log_request(log_batch([f"{number} {'x' * 3000}"], observed_ns=10**18 + number))
            await exporter.send(exporter.prepare(request), Deadline(SystemClock()))
            print(number, flush=True)
        await exporter.aclose()

    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    """
)


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Over kills at any moment each record is there once, and no line is torn."""
    chance = random.Random(7)
    acknowledged = -1
    for attempt in range(4):
        command = [sys.executable, "-c", SENDER, f"{tmp_path}/{{signal}}.jsonl", str(acknowledged + 1), str(COUNT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sender:
            assert sender.stdout is not None
            left = COUNT if attempt == 3 else chance.randrange(1, 40)
            for line in sender.stdout:
                acknowledged = int(line)
                left -= 1
                if not left:
                    sender.send_signal(signal.SIGKILL)
                    break
            for line in sender.stdout:  # what it still said belongs to it
                acknowledged = int(line)
    assert acknowledged == COUNT - 1
    files = sorted(tmp_path.iterdir(), key=lambda path: (path.name == "logs.jsonl", path.name))
    data = b"".join(_content(path) for path in files)
    found = [text for line in data.splitlines() for text in lines_of(Signal.LOGS, line)]
    assert [text.split()[0] for text in found] == [str(number) for number in range(COUNT)]


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
