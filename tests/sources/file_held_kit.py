"""An outage for which files have to be read ahead: what was written meanwhile, and where what is kept of it lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shipper.sources.file.settings import HeldSpace
from tests.sources.file_kit import Tail

LINES = [f"line {number:06d} {'x' * 80}" for number in range(20_000)]  # about two megabytes
TEXT = "".join(f"{line}\n" for line in LINES)
SIZE = len(TEXT)


def kept(held: Path) -> list[Path]:
    """The copies there are."""
    return sorted(path for path in held.glob("*") if "." not in path.name) if held.exists() else []


def limits(held: Path, **more: Any) -> dict[str, Any]:
    """Settings for it; the file system may be as full as it likes."""
    return {"held": HeldSpace(str(held), **{"keep_free": 0.0, **more})}


def deleted(path: str) -> Iterator[str]:
    """Open descriptors of this process whose file of that name has no name any more."""
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        if target == f"{path} (deleted)":
            yield number


async def unread(tail: Tail, text: str = TEXT) -> Path:
    """A file of which one line was taken before the destination went away."""
    log = tail.directory / "app.log"
    log.write_text("first\n")
    await tail.lines(1)
    tail.sink.open = False
    with open(log, "a") as out:
        out.write(text)
    await tail.settle()
    return log


async def truncated_before(tail: Tail) -> Path:
    """A file that was truncated in place once; then the destination went away, and what was written has waited for long."""
    log = tail.directory / "app.log"
    log.write_text("before\n")
    await tail.lines(1)
    os.truncate(log, 0)
    log.write_text("first\n")
    await tail.lines(2)
    tail.sink.open = False
    with open(log, "a") as out:
        out.write(TEXT)
    await tail.settle()
    await tail.pass_time(8)
    return log
