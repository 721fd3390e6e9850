"""Where the kubelet keeps what containers write: ``<pods_dir>/<namespace>_<pod>_<uid>/<container>/<restarts>.log``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from shipper.config import Files

_NAME = re.compile(r"(?P<namespace>[^_/]+)_(?P<name>[^_/]+)_(?P<uid>[0-9A-Za-z-]{8,64})")
ROTATED = "*.tmp"  # what the kubelet is compressing; it is the rotated file's twin


@dataclass(frozen=True, slots=True)
class Place:
    """The log directory of one pod, as its name tells."""

    path: str
    namespace: str
    name: str
    uid: str


def scan(pods_dir: str) -> list[Place]:
    """The log directories that are there. Raises OSError where that cannot be told."""
    with os.scandir(pods_dir) as entries:
        found = [place_of(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return [place for place in found if place is not None]


def place_of(path: str) -> Place | None:
    """What the name of a directory tells; None for one that is no pod's."""
    match = _NAME.fullmatch(os.path.basename(path))
    return None if match is None else Place(path, match["namespace"], match["name"], match["uid"])


def fingerprint(path: str) -> dict[str, int]:
    """The size of each file of a pod, by its path below the directory; empty when the directory is gone."""
    sizes: dict[str, int] = {}
    for directory, _, names in os.walk(path):
        for name in names:
            full = os.path.join(directory, name)
            try:
                sizes[os.path.relpath(full, path)] = os.stat(full).st_size
            except OSError:
                continue  # rotated away meanwhile
    return sizes


def container_in(place: Place, path: str) -> str:
    """The container that a file of the pod is of, or empty."""
    below = os.path.relpath(path, place.path)
    return "" if below.startswith("..") else below.partition("/")[0]


def is_of_pods(files: Files, pods_dir: str) -> bool:
    """Whether a group of files is about pods: what it includes lies below their directory."""
    return any(_below(pattern, pods_dir) is not None for pattern in files.include)


def files_of(place: Place, pods_dir: str, groups: list[Files]) -> list[tuple[Files, tuple[str, ...]]]:
    """The groups that are about this pod, each with its patterns narrowed down to the pod's directory."""
    found = []
    for group in groups:
        patterns = tuple(narrowed for pattern in group.include if (narrowed := _narrowed(pattern, place, pods_dir)))
        if patterns:
            found.append((group, patterns))
    return found


def _below(pattern: str, pods_dir: str) -> str | None:
    home = os.path.abspath(pods_dir).rstrip("/") + "/"
    full = os.path.abspath(pattern)
    return full.removeprefix(home) if full.startswith(home) else None


def _narrowed(pattern: str, place: Place, pods_dir: str) -> str:
    """The pattern for one pod's directory, or empty where it is not about this pod."""
    below = _below(pattern, pods_dir)
    if below is None:
        return ""
    first, slash, rest = below.partition("/")
    home = escape(place.path)
    if first == "**":
        return f"{home}/**/{rest}"
    if not slash or not _matches(first, os.path.basename(place.path)):
        return ""
    return f"{home}/{rest}"


def _matches(pattern: str, name: str) -> bool:
    import fnmatch

    return fnmatch.fnmatchcase(name, pattern)


def escape(path: str) -> str:
    """A path as a pattern that matches nothing else."""
    return re.sub(r"([*?[])", r"[\1]", path)


def sizes_differ(before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    """Whether anything was written meanwhile; a rotation or a removal alone is nothing new."""
    return any(size > before.get(name, 0) and size not in before.values() for name, size in now.items())
