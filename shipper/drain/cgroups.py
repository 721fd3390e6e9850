"""Where the control groups of units and containers are, and whether anything runs in one. Both versions, nothing but files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

DEPTH = 8  # below the root; systemd nests slices, Kubernetes puts pods below them
MOST = 4096  # directories looked at in one search: a host with more gets "cannot tell", not a slow drain


def hierarchies(root: Path) -> list[Path]:
    """The trees that show what runs: version 2, and systemd's own of version 1 or any other of it."""
    base = root / "sys/fs/cgroup"
    if (base / "cgroup.procs").exists():
        return [base]
    named = [base / "unified", base / "systemd", base / "pids", base / "cpu"]
    return [tree for tree in named if (tree / "cgroup.procs").exists()]


def find(root: Path, part: str, *, whole: bool) -> list[Path]:
    """Control groups whose name is ``part``, or with ``whole`` false contains it; in every tree that shows what runs."""
    found: list[Path] = []
    for tree in hierarchies(root):
        for directory in _below(tree):
            if directory.name == part if whole else part in directory.name:
                found.append(directory)
    return found


def populated(directory: Path) -> bool | None:
    """Whether any process is in it or below it; None when it cannot be read. False for one that is gone."""
    try:
        events = (directory / "cgroup.events").read_text()
    except FileNotFoundError:
        return _has_processes(directory)
    except OSError:
        return None
    return "populated 1" in events.splitlines()


def _has_processes(directory: Path) -> bool | None:
    try:
        for each in (directory, *_below(directory)):
            try:
                if (each / "cgroup.procs").read_bytes().strip():
                    return True
            except FileNotFoundError:
                continue  # removed meanwhile: nothing is left in it
    except OSError:
        return None
    return False


def _below(top: Path) -> Iterator[Path]:
    """Directories below ``top``, breadth first, bounded."""
    level = [top]
    seen = 0
    for _ in range(DEPTH):
        below: list[Path] = []
        for directory in level:
            for child in _children(directory):
                seen += 1
                if seen > MOST:
                    return
                yield child
                below.append(child)
        level = below


def _children(directory: Path) -> list[Path]:
    try:
        with os.scandir(directory) as entries:
            return [directory / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
