"""Whether a directory lies on a volume of its own: a mounted file system with which it outlives the container it is in.

What came with an image lies in the image's layers or on the root file system, and what lies in memory outlives nothing.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from shipper.labels.finding import Surroundings

MOUNTS_FILE = "/proc/self/mountinfo"
PASSING = frozenset(
    {"aufs", "devtmpfs", "erofs", "fuse.fuse-overlayfs", "iso9660", "overlay", "ramfs", "rootfs", "squashfs", "tmpfs"}
)
"""File systems made of an image's layers, or of memory."""

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class _Mount:
    device: str
    point: str
    kind: str


def own_volume(around: Surroundings, path: str) -> bool:
    """Whether ``path`` is, or lies below, a mount point that is neither the root file system nor an image's nor in memory.

    False where that cannot be told. ``/proc/self/mountinfo`` is described in proc_pid_mountinfo(5).
    """
    mounts = _mounts(around.read_or_empty(MOUNTS_FILE))
    real = os.path.realpath(path)
    above = [mount for mount in mounts if real == mount.point or real.startswith(mount.point.rstrip("/") + "/")]
    if not above:
        return False
    mine = max(reversed(above), key=lambda mount: len(mount.point))  # of two on one point the later covers the other
    roots = {mount.device for mount in above if mount.point == "/"}
    return mine.point != "/" and mine.kind not in PASSING and mine.device not in roots


def _mounts(text: str) -> list[_Mount]:
    found = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if separator and len(fields) >= 6:
            point = _ESCAPE.sub(lambda code: chr(int(code[1], 8)), fields[4])
            found.append(_Mount(fields[2], point, kinds[0]))
    return found
