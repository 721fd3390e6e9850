"""Making streams out of files, and passing on what is found out about them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable

from shipper.clock import Clock
from shipper.events import Reporter
from shipper.otlp.encode import scope
from shipper.sources.books import Books
from shipper.sources.file.announce import Announcer
from shipper.sources.file.consumer import Nobody, TextConsumer
from shipper.sources.file.discover import Patterns
from shipper.sources.file.handles import Descriptors, TailedFile
from shipper.sources.file.held import Held
from shipper.sources.file.identity import remembered_id, stream_id
from shipper.sources.file.settings import FileGroup
from shipper.sources.file.stream import Changed, FileStream
from shipper.sources.file.table import FileTable
from shipper.sources.file.watch import Watcher

SCOPE = "shipper.file"


class Maker(Announcer):
    """All streams of a `FileSource`, and the table of files they are made of."""

    def __init__(
        self,
        patterns: Patterns,
        pool: Descriptors,
        watcher: Watcher,
        books: Books[FileStream],
        held: Held,
        *,
        life: str,
        resource: bytes,
        remembered: Iterable[str],
        clock: Clock,
        report: Reporter,
        seen: Callable[[str, bytes], None] | None = None,
        consumer: TextConsumer | None = None,
    ) -> None:
        self.consumer: TextConsumer = consumer or Nobody()
        self._uncounted: set[FileStream] = set()  # they have ended, but not all of them is counted
        self.books = books
        self.held = held
        self.table = FileTable(patterns, pool, self, clock, report)
        self.ids: set[str] = set()  # every id given in this life, as far as known
        self.streams: dict[str, FileStream] = {}
        self.watches: dict[int, TailedFile] = {}  # of single files
        self.stopped = False  # what comes now is not of this run any more
        self.closing = False  # unfinished lines are not held
        self._patterns = patterns
        self._watcher = watcher
        self._life = life
        self._resource = resource
        self._remembered = list(remembered)
        self._clock = clock
        self._seen = seen

    def new_stream(self, file: TailedFile, size: int, head: bytes, start: int) -> FileStream | None:
        """See `Announcer`."""
        path = file.path if file.wanted else file.origin  # it may have lost its name before it had a byte
        group = self._patterns.group_of(path)
        if self.stopped or group is None:
            return None
        name = remembered_id(file.key, head, self.ids, self._remembered) or stream_id(file.key, head, self.ids)
        if self.table.first_scan and group.start_at == "end":
            start = size
        stream = self.make(name, path, start, group)
        try:
            stream.begin(file, size, head, self._seen_since(file))
        except Changed:  # truncated in this very moment: the event of that has us look again
            del self.streams[name]
            return None
        self.books.join(stream)
        self.held.note(stream)
        self.consumer.add(stream)
        return stream

    def make(self, id: str, path: str, start: int, group: FileGroup) -> FileStream:
        """A stream with everything that its group says; not yet on any file, and not yet known to anybody."""
        stream = make_stream(
            id,
            path,
            start,
            group,
            life=self._life,
            resource=self._resource,
            clock=self._clock,
            suspicious=self._suspicious,
            idle=self._idle,
            seen=self._seen,
        )
        if self.consumer.wants(path):
            stream.wait_for_counts(self._counted)
        if self.closing:
            stream.close_events()
        self.ids.add(id)
        self.streams[id] = stream
        return stream

    def _seen_since(self, file: TailedFile) -> float:
        """When what is in a file that is new to us was written, as far as its time stamp tells."""
        age = (self._clock.wall_ns() - file.status().st_mtime_ns) / 1e9
        return self._clock.monotonic() - max(0.0, age)

    def grew(self, stream: FileStream) -> None:
        """See `Announcer`."""
        if not self.stopped or stream.finished:
            self.books.grew(stream)
            self.held.note(stream)
            self.consumer.ready(stream)

    def moved(self, stream: FileStream) -> None:
        """See `Announcer`."""
        if stream.file is not None and stream.file.path:
            stream.path = stream.file.path
        self.books.moved(stream)

    def ended(self, stream: FileStream) -> None:
        """See `Announcer`."""
        self.books.moved(stream)
        self.consumer.finished(stream)
        if stream.measured_to >= stream.size:
            self.books.end(stream)
        else:  # once it has ended in the ledger, and is sent, it is not read again by the next run
            self._uncounted.add(stream)

    def follow(self, file: TailedFile) -> None:
        """See `Announcer`."""
        if file.watch >= 0 or not _needs_own_watch(file):
            return
        file.watch = self._watcher.follow(file.fd)
        if file.watch >= 0:
            self.watches[file.watch] = file

    def room(self) -> None:
        """See `Announcer`."""
        asyncio.get_running_loop().call_soon(self.table.retry)

    def unfollow(self, file: TailedFile) -> None:
        """See `Announcer`."""
        if self.watches.pop(file.watch, None) is not None:
            self._watcher.unfollow(file.watch)
        file.watch = -1

    # What a stream finds -----------------------------------------------------------------------------------------------

    def _suspicious(self, stream: FileStream) -> None:
        self.table.suspect(stream)
        asyncio.get_running_loop().call_soon(self.books.ready, stream)

    def _counted(self, stream: FileStream) -> None:
        if stream in self._uncounted and stream.measured_to >= stream.size:
            self._uncounted.discard(stream)
            self.books.end(stream)

    def _idle(self, stream: FileStream) -> None:
        self.table.idle(stream)
        if not stream.finished:
            return
        self.held.forget(stream)
        self.streams.pop(stream.id, None)


def make_stream(
    id: str,
    path: str,
    start: int,
    group: FileGroup,
    *,
    life: str,
    resource: bytes,
    clock: Clock,
    suspicious: Callable[[FileStream], None],
    idle: Callable[[FileStream], None],
    seen: Callable[[str, bytes], None] | None = None,
) -> FileStream:
    """A stream with everything that its group says, not yet on any file. See `FileStream`."""
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    attributes = {"log.file.path": shown, "log.file.name": os.path.basename(shown)}
    stream = FileStream(
        id,
        name=shown,
        start=start,
        life=life,
        resource=_resource(path, group, resource),
        scope=scope(SCOPE, attributes=attributes),
        line_limit=group.max_line_bytes,
        hold=group.hold,
        clock=clock,
        suspicious=suspicious,
        idle=idle,
        multiline=group.multiline,
        shape=group.shape,
        seen=seen,
    )
    stream.path = path
    return stream


def _resource(path: str, group: FileGroup, of_host: bytes) -> bytes:
    own = group.resource_of(path) if group.resource_of is not None else None
    if own is not None:
        return own
    return of_host if group.resource is None else group.resource


def _needs_own_watch(file: TailedFile) -> bool:
    """A file without a name, or also reachable under another one, grows without its directory being told."""
    return not file.paths or os.fstat(file.fd).st_nlink > 1 or any(map(os.path.islink, file.paths))
