"""All files that are followed: which inode has which name, which stream reads it, and what became of it.

Events only say that something happened at a path. What it was is found out here by looking: the path leads to a known inode
(renamed), to another than before (replaced), to nothing (deleted); the inode grew, or holds other content (truncated).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence

from shipper.clock import Clock
from shipper.events import Problem, Reporter
from shipper.sources.file.announce import Announcer
from shipper.sources.file.content import Content
from shipper.sources.file.contents import Contents
from shipper.sources.file.copies import Copies
from shipper.sources.file.discover import Patterns
from shipper.sources.file.handles import NO_DESCRIPTORS, Descriptors, NotAFile, Replaced, TailedFile, regular
from shipper.sources.file.identity import Key
from shipper.sources.file.packed import Packed
from shipper.sources.file.parting import Partings
from shipper.sources.file.strays import Strays
from shipper.sources.file.watch import CONTENT_ONLY

SLICE = 100  # files looked at before others get a turn


class FileTable:
    """The files that are followed. All methods are synchronous and survive what the file system does meanwhile."""

    def __init__(
        self, patterns: Patterns, pool: Descriptors, announce: Announcer, clock: Clock, report: Reporter
    ) -> None:
        self.copies = Copies(self, clock)
        self.packed = Packed(self, clock, report)
        self.partings = Partings(self, patterns, pool, announce, clock, report)
        self.strays = Strays(self, pool, announce, clock)
        self.contents = Contents(self, pool, announce, clock, report)
        self.first_scan = False  # during the first scan of a life
        self._patterns = patterns
        self._pool = pool
        self._announce = announce
        self._clock = clock
        self._report = report
        self._paths: dict[str, TailedFile] = {}
        self._keys: dict[Key, TailedFile] = {}
        self._nameless: set[TailedFile] = set()
        self._real: dict[str, str] = {}  # where directories lie, links followed, as of this batch of events
        self._retry: dict[str, int] = {}  # paths that could not be opened, and the errno that was said

    def __iter__(self) -> Iterator[TailedFile]:
        return iter(list(self._keys.values()))

    def at(self, path: str) -> TailedFile | None:
        """The file that has this name, as far as known."""
        return self._paths.get(path)

    def of(self, key: Key) -> TailedFile | None:
        """The followed file with this identity."""
        return self._keys.get(key)

    # Names -------------------------------------------------------------------------------------------------------------

    def touched(self, changes: Mapping[str, int]) -> None:
        """Something happened at these paths (path -> inotify mask)."""
        # What was truncated claims its copy first; else that could be taken for new when both were renamed since.
        for path in changes:
            file = self._paths.get(path)
            if file is not None and file.fd >= 0:
                self.look(file, force=True)
        moved = []
        for path, mask in changes.items():
            file = self._paths.get(path)
            if file is None or file.fd < 0 or mask & ~CONTENT_ONLY:
                moved.append(path)
        for path in sorted(moved, key=self._newness):
            self.check(path)
        self._settle()

    def scan(self, paths: Sequence[str]) -> Iterator[None]:
        """These are all paths that match now: take new ones up, look at the known, miss those that are gone.

        Goes on as it is iterated over, in small steps, so that thousands of files hold nobody up.
        """
        present = set(paths)
        new = sorted((path for path in paths if path not in self._paths), key=self._newness)
        for number, file in enumerate(list(self._keys.values()), 1):  # before new ones, as in `touched`
            if file.fd >= 0:
                self.look(file)
            if number % SLICE == 0:
                yield
        known = [path for path in paths if path in self._paths]
        gone = [path for path in self._paths if path not in present]
        for number, path in enumerate([*new, *known, *gone], 1):
            self.check(path)
            if number % SLICE == 0:
                yield
        self._settle()

    def _newness(self, path: str) -> tuple[bool, int]:
        """What is known comes first, for a new name of it may be that of the original of what is new; then the oldest."""
        try:
            status = os.stat(path)
        except OSError:  # as will be found out when it is opened
            return True, 0
        return (status.st_dev, status.st_ino) not in self._keys, status.st_mtime_ns

    def check(self, path: str) -> None:
        """Find out what is at ``path`` now."""
        try:
            status = regular(path)
        except (FileNotFoundError, NotADirectoryError):
            waits, file = self._retry.pop(path, None), self._paths.get(path)
            self._drop_name(path)
            if waits is not None and file is not None and file.paths:
                self._retry.setdefault(file.path, waits)
            return
        except OSError as error:
            self.refused(path, error)
            if isinstance(error, NotAFile):
                self._drop_name(path)
            return
        key = (status.st_dev, status.st_ino)
        file = self._paths.get(path)
        if file is not None and file.key != key:
            self._drop_name(path)
            file = None
        if file is None:
            file = self._named(path, key)
        if file is not None:
            self.look(file, status)

    def _named(self, path: str, key: Key) -> TailedFile | None:
        """The inode ``key`` has the name ``path`` now; None when that is of no interest, or it cannot be opened."""
        wanted = self._patterns.group_of(path) is not None
        file = self._keys.get(key)
        if file is None:
            return self.take_up(path, key) if wanted else None
        file.paths[path] = wanted
        self._name(path, file)
        if not wanted and not file.wanted:
            self.strays.add(file)
        if file.fd >= 0:
            self._announce.follow(file)
        if file.stream is not None:
            self._announce.moved(file.stream)
        return file

    def _name(self, path: str, file: TailedFile) -> None:
        """``path`` leads to ``file`` now, and to no other that is known."""
        if self._paths.get(path) is not file:
            self._drop_name(path)
            self._paths[path] = file

    def take_up(self, path: str, key: Key) -> TailedFile | None:
        """Begin to follow an inode; None when it cannot be opened (said; tried again)."""
        wanted = self._patterns.group_of(path) is not None
        file = TailedFile(self._pool, key, path)
        file.paths[path] = wanted
        file.since = self._clock.monotonic()
        try:
            self._pool.open(file)
        except OSError as error:
            self.refused(path, error)
            if wanted and error.errno in NO_DESCRIPTORS:
                self._wait_unopened(file, path)
            return None
        self._retry.pop(path, None)
        self._keys[key] = file
        self._name(path, file)
        if not wanted:
            self.strays.add(file)
        self._announce.follow(file)
        return file

    def _wait_unopened(self, file: TailedFile, path: str) -> None:
        """Follow a file that no descriptor can be had for: where it lies is known, whatever its names lead to by then."""
        directory, name = os.path.split(path)
        real = self._real.get(directory)
        if real is None:
            real = self._real[directory] = os.path.realpath(directory)
        real = os.path.realpath(path) if os.path.islink(path) else os.path.join(real, name)
        try:
            status = regular(real)
        except OSError:  # gone already
            return
        if (status.st_dev, status.st_ino) == file.key:
            file.real, file.unopened = real, status.st_size
            self._keys[file.key] = file
            self._name(path, file)

    def hold(self, key: Key, path: str, fd: int) -> TailedFile:
        """Follow a file by a descriptor that is open already; ``path``: the name that it had."""
        file = TailedFile(self._pool, key, path)
        file.paths.clear()
        file.since = self._clock.monotonic()
        self._pool.hold(file, fd)
        self._keys[key] = file
        self.strays.add(file)
        self._announce.follow(file)
        return file

    def refused(self, path: str, error: OSError) -> None:
        """A file cannot be opened or read: said, where it is one that is wanted, and tried again."""
        if self._patterns.group_of(path) is None or isinstance(error, FileNotFoundError):
            return
        number = 0 if isinstance(error, Replaced) else error.errno or 0
        before, self._retry[path] = self._retry.get(path, 0), number
        if number in (0, before):
            return  # nothing to say, or said
        why = error.strerror or str(error)
        if number in (errno.EMFILE, errno.ENFILE):
            self._report(Problem("descriptors", f"{path} waits to be read: {why}", "descriptors"))
        else:
            self._report(Problem("unreadable", f"{path} is not read: {why}", path))

    def _drop_name(self, path: str) -> None:
        file = self._paths.pop(path, None)
        if file is None:
            return
        del file.paths[path]
        if not file.paths:
            self._nameless.add(file)
        elif not file.wanted:
            self.strays.add(file)

    def _settle(self) -> None:
        """Files that lost their last name, and got no other in the same batch of events, are strays now."""
        self._real.clear()
        while self._nameless:
            file = self._nameless.pop()
            if not file.paths and (path := self._name_now(file)):
                self._named(path, file.key)
            if file.paths:
                continue
            self.strays.add(file)
            if file.fd >= 0:
                self._announce.follow(file)
            self.strays.review(file)

    def _name_now(self, file: TailedFile) -> str:
        """The wanted name that an open file has by now, if any: the event that tells of it may still be under way."""
        try:
            path = os.readlink(f"/proc/self/fd/{file.fd}") if file.fd >= 0 else ""
            status = regular(path)
        except OSError:
            return ""
        same = (status.st_dev, status.st_ino) == file.key
        return path if same and self._patterns.group_of(path) is not None else ""

    # Content -----------------------------------------------------------------------------------------------------------

    def look(self, file: TailedFile, status: os.stat_result | None = None, *, force: bool = False) -> None:
        """Compare a file with what was seen of it, and act on the difference; ``force``: also when its times say nothing.

        ``status``: its status, where that was just asked for.
        """
        if file.fd < 0 and not file.paths and not file.real:
            return
        try:
            status = file.status() if status is None else status
            unchanged = file.size == status.st_size and file.changed_ns == status.st_mtime_ns
            if unchanged and not force and file.copy_of is None:
                return
            length = file.length(status)
            if self.packed.settled(file, status):
                self.contents.look(file, length)
            file.size, file.changed_ns = status.st_size, status.st_mtime_ns
        except Replaced:
            self._retry.setdefault(file.path, 0)
        except FileNotFoundError:
            self._drop_name(file.path)
        except OSError as error:
            self.refused(file.path, error)

    # Letting go --------------------------------------------------------------------------------------------------------

    def idle(self, stream: Content) -> None:
        """Every destination has all that was seen of a stream."""
        if self._pool.exhausted:
            self._announce.room()
        if stream.file is not None:
            self._pool.idle(stream.file)
        self.packed.done(stream)
        if stream.finished:
            self.packed.ended.add(stream.head, stream.size, stream.known_guards())
        file = stream.file
        if not stream.finished or file is None or file.stream is not stream:
            return
        if file.wanted:
            self._pool.close(file)  # still known, so that it is not read again
        elif file not in self.strays and file not in self._nameless:  # it may be on its way to another name
            self.forget(file)

    def forget(self, file: TailedFile) -> None:
        """Know nothing of this inode any more."""
        if file.stream is not None and file.stream.finished:
            self.packed.ended.add(file.stream.head, file.stream.size, file.stream.known_guards())
        self._announce.unfollow(file)
        self._pool.close(file)
        self.copies.forget(file)
        self.packed.forget(file)
        self.strays.discard(file)
        if self._keys.get(file.key) is file:
            del self._keys[file.key]
        for path in file.paths:
            if self._paths.get(path) is file:
                del self._paths[path]

    def retry(self) -> None:
        """Try what could not be opened again, as far as there are descriptors."""
        for path in list(self._retry):
            self.check(path)
            file = self._paths.get(path)
            if file is not None and file.fd >= 0 and file.watch < 0:
                self._announce.follow(file)
            if self._pool.exhausted:
                return
        self.partings.retry()

    def tick(self) -> None:
        """What no event tells: writers that went away, descriptors and permissions that came, doubts that ended."""
        self.strays.tick()
        self.retry()
        for file in self.copies.doubtful():
            self.look(file)
        self.packed.tick()
        self._settle()
