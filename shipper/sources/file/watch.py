"""Learning at once that something happened, without being eaten by it when much happens.

A lone event is handed on in the very moment. Under load the queue is read at most every few milliseconds, so the kernel
merges what repeats, and each path is told once per reading. Where the kernel will not notify, the caller is told to poll.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shipper.events import Problem, Reporter
from shipper.sources.file import inotify as ino

GAP = 0.002  # seconds between readings of the queue under load
MAX_GAP = 0.05
_STRUCTURE = ino.CREATE | ino.MOVED_FROM | ino.MOVED_TO | ino.DELETE | ino.DELETE_SELF | ino.MOVE_SELF | ino.ATTRIB
LEAF = _STRUCTURE | ino.MODIFY | ino.CLOSE_WRITE | ino.ONLYDIR
INNER = _STRUCTURE | ino.ONLYDIR
SINGLE = ino.MODIFY | ino.ATTRIB | ino.CLOSE_WRITE | ino.DELETE_SELF | ino.MOVE_SELF
CONTENT_ONLY = ino.MODIFY | ino.CLOSE_WRITE


@dataclass(slots=True)
class Changes:
    """What happened since the last reading. ``everything``: events were lost or directories changed, so look at it all."""

    paths: dict[str, int] = field(default_factory=dict)  # path -> mask of what happened to it
    singles: set[int] = field(default_factory=set)  # watches of single files
    everything: bool = False


class Watcher:
    """Watches directories, and single files by descriptor, while the event loop runs."""

    def __init__(self, on_changes: Callable[[Changes], None], report: Reporter) -> None:
        self._on_changes = on_changes
        self._report = report
        self._inotify: ino.Inotify | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0  # loop time before which the queue is not read again
        self._directories: dict[str, int] = {}
        self._paths: dict[int, set[str]] = {}
        self.polled: set[str] = set()  # directories the kernel does not watch for us

    def start(self) -> bool:
        """Begin; False when there is no inotify to be had (said), then everything has to be polled."""
        try:
            self._inotify = ino.Inotify()
        except OSError as error:
            self._report(Problem("watch", f"files are polled, for the kernel cannot notify: {error.strerror}"))
            return False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._inotify.fd, self._readable)
        return True

    def close(self) -> None:
        """Watch nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._inotify is not None and self._loop is not None:
            self._loop.remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None

    def cover(self, directories: Mapping[str, bool]) -> bool:
        """Watch exactly these directories (True: also the content of the files in them); what cannot be is in ``polled``.

        Returns whether one was not watched before: things may have happened in it in the meantime.
        """
        if self._inotify is None:
            self.polled = set(directories)
            return False
        before, self._directories, self._paths = self._directories, {}, {}
        self.polled.clear()
        for path, leaf in directories.items():
            self._cover_one(self._inotify, path, LEAF if leaf else INNER)
        for watch in set(before.values()) - set(self._paths):
            self._remove(watch)
        return not set(before.values()).issuperset(self._paths)

    def _cover_one(self, inotify: ino.Inotify, path: str, mask: int) -> None:
        try:
            watch = inotify.add(path, mask)  # again and again: it also tells a directory that was replaced
        except FileNotFoundError:
            return
        except OSError as error:
            self.polled.add(path)
            hint = "; raise fs.inotify.max_user_watches" if error.errno == errno.ENOSPC else ""
            self._report(
                Problem("watch", f"{path} is polled, for it cannot be watched: {error.strerror}{hint}", "watch")
            )
            return
        self._directories[path] = watch
        self._paths.setdefault(watch, set()).add(path)

    def follow(self, fd: int) -> int:
        """Watch one open file wherever it is, a deleted one, too; its watch, or -1 when it has to be polled."""
        if self._inotify is None:
            return -1
        try:
            return self._inotify.add(f"/proc/self/fd/{fd}", SINGLE)
        except (
            OSError
        ):  # no /proc, or no watches left, which is said where a directory fails: polling finds it all the same
            return -1

    def unfollow(self, watch: int) -> None:
        """End a watch that `follow` gave."""
        if watch >= 0:
            self._remove(watch)

    def _remove(self, watch: int) -> None:
        if self._inotify is None:
            return
        try:
            self._inotify.remove(watch)
        except OSError as error:
            if error.errno != errno.EINVAL:  # the kernel removed it already, with what it watched
                raise

    def _readable(self) -> None:
        """The queue is not empty: read it, or wait a little for more to come."""
        if self._loop is None or self._inotify is None:
            return
        wait = self._next - self._loop.time()
        if wait <= 0:
            self.read()
            return
        self._loop.remove_reader(self._inotify.fd)
        self._timer = self._loop.call_later(wait, self._resume)

    def _resume(self) -> None:
        self._timer = None
        if self._loop is not None and self._inotify is not None:
            self._loop.add_reader(self._inotify.fd, self._readable)
            self.read()

    def read(self) -> None:
        """Hand on what is queued now."""
        if self._inotify is None or self._loop is None:
            return
        began = self._loop.time()
        changes = self._collect(self._inotify)
        if changes.paths or changes.singles or changes.everything:
            self._on_changes(changes)
        now = self._loop.time()
        self._next = now + min(MAX_GAP, max(GAP, 3 * (now - began)))

    def _collect(self, inotify: ino.Inotify) -> Changes:
        changes = Changes()
        paths = changes.paths
        for watch, mask, name in inotify.read():
            directories = self._paths.get(watch)
            if mask & ino.Q_OVERFLOW:
                changes.everything = True
                self._report(Problem("overflow", "the kernel dropped file events; looking at every file", "overflow"))
            elif directories is None:
                if not mask & ino.IGNORED:
                    changes.singles.add(watch)
            elif not name:
                changes.everything = True  # the directory itself
            else:
                if mask & ino.ISDIR:
                    changes.everything = True
                for directory in directories:
                    path = f"{directory}/{name}" if directory != "/" else f"/{name}"
                    paths[path] = paths.get(path, 0) | mask
        return changes
