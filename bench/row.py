"""What every case returns, and a place for it to work in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    case: str
    figure: str
    unit: str
    value: float


@contextmanager
def workplace() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="shipper-bench-"))
    (directory / "log").mkdir()  # of its own: the sink's notes would wake the watcher of the logs
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
