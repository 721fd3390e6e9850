"""What can be set about tailing, as plain values: the configuration file is somebody else's business."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from shipper.shape import PLAIN, Multiline, Shape

MIN_LINE_BYTES = 16


def _default_max_open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if soft == resource.RLIM_INFINITY else max(8, min(1024, soft // 2))


@dataclass(frozen=True, slots=True)
class FileGroup:
    """Files that are read alike. Patterns know ``*``, ``?``, ``[...]`` and ``**`` (any number of directories).

    ``exclude``: a pattern without a slash is held against the name alone. ``start_at``: where to begin in a file that is
    there at the very first start; files that appear later are always read from their beginning. ``max_line_bytes``: a
    longer line is split and its parts are marked. ``hold``: seconds that an unfinished last line waits for its end.
    ``resource``: content of the Resource message for these files, where it differs from the host's; ``resource_of`` the same
    for the file of a path, None where it is not its own. ``admits``: whether a file that was opened at a path may be read.
    ``output``: which output of a program the files are, if they are one.
    ``encoding``: of the text; ``auto`` is UTF-8, or UTF-16 where a file begins with its byte order mark. ``ignore_older``: of a
    file that was not written to for so many seconds when it is first seen, only what is appended is read; 0: all files are.
    ``format``: what container runtimes write is read as what the container wrote; ``auto``: where a file is recognised as such.
    ``multiline``: how lines are joined to events; then its limits hold instead of ``max_line_bytes``. ``shape``: how events
    become records. ``when_full``: what happens to what is held of deleted and truncated files when there is no more room for
    it: the oldest is given up, or nothing is, and no more is read ahead.
    """

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    start_at: Literal["beginning", "end"] = "beginning"
    max_line_bytes: int = 1 << 20
    hold: float = 0.5
    format: Literal["auto", "plain", "cri", "docker"] = "auto"
    encoding: Literal["auto", "utf-8", "utf-16le", "utf-16be", "latin-1", "windows-1252"] = "auto"
    ignore_older: float = 0.0
    resource: bytes | None = None
    resource_of: Callable[[str], bytes | None] | None = None
    admits: Callable[[str, os.stat_result], bool] | None = None
    output: Literal["", "stdout", "stderr"] = ""
    multiline: Multiline | None = None
    shape: Shape = PLAIN
    when_full: Literal["drop_oldest", "block"] = "drop_oldest"

    def __post_init__(self) -> None:
        if self.max_line_bytes < MIN_LINE_BYTES:
            raise ValueError(f"max_line_bytes must be at least {MIN_LINE_BYTES}, not {self.max_line_bytes}")
        object.__setattr__(self, "include", tuple(map(os.path.abspath, self.include)))
        object.__setattr__(self, "exclude", tuple(os.path.abspath(p) if "/" in p else p for p in self.exclude))

    @property
    def shortest_hold(self) -> float:
        """The least time, in seconds, for which something is held at the end of a file."""
        return self.hold if self.multiline is None else min(self.hold, self.multiline.timeout)


@dataclass(frozen=True, slots=True)
class HeldSpace:
    """Where what is unread of deleted and truncated files is read ahead to, and how much of it.

    ``directory``: of one life; none: nothing is read ahead. ``max_bytes`` of all together, and never into the last
    ``keep_free`` (a share) of the file system.
    """

    directory: str = ""
    max_bytes: int = 1 << 30
    keep_free: float = 0.1


@dataclass(frozen=True, slots=True)
class FileSettings:
    """Everything `FileSource` needs to know. A file belongs to the first group that matches it.

    ``poll_interval``: seconds between looks where the kernel does not notify. ``rescan_interval``: seconds between looks
    at everything, for what no notification tells (network file systems, hard links elsewhere). ``notify``: use inotify.
    ``max_open_files``: descriptors held at most; only files that are read and acknowledged to their end are closed for it.
    ``held``: room for what is unread of files that are going.
    """

    groups: tuple[FileGroup, ...]
    poll_interval: float = 1.0
    rescan_interval: float = 15.0
    notify: bool = True
    max_open_files: int = field(default_factory=_default_max_open_files)
    held: HeldSpace = HeldSpace()
