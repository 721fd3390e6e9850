"""Making streams out of files, and passing on what is found out about them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping

from shipper.clock import Clock
from shipper.events import Reporter, Skipped, Unparsed
from shipper.sources.books import Books
from shipper.sources.file.announce import Announcer
from shipper.sources.file.consumer import Nobody, TextConsumer
from shipper.sources.file.content import Changed, Content
from shipper.sources.file.discover import Patterns
from shipper.sources.file.handles import Descriptors, TailedFile
from shipper.sources.file.held import Held
from shipper.sources.file.identity import remembered_id, stream_id
from shipper.sources.file.kind import PLAIN_TEXT, Kind, Surroundings, base_id, base_ids, ids_of, make_content
from shipper.sources.file.readahead import ReadAhead
from shipper.sources.file.recognise import Recogniser
from shipper.sources.file.settings import FileGroup, HeldSpace
from shipper.sources.file.stream import FileStream
from shipper.sources.file.survivors import DescriptorStore, Survivors
from shipper.sources.file.table import FileTable
from shipper.sources.file.watch import Watcher

UNOPENED = "the file was deleted before a descriptor could be had for it"


class Maker(Announcer):
    """All streams of a `FileSource`, and the table of files they are made of."""

    def __init__(
        self,
        patterns: Patterns,
        pool: Descriptors,
        watcher: Watcher,
        books: Books[FileStream],
        held: Held,
        space: HeldSpace,
        *,
        life: str,
        resource: bytes,
        remembered: Iterable[str],
        clock: Clock,
        report: Reporter,
        seen: Callable[[str, bytes], None] | None = None,
        consumer: TextConsumer | None = None,
        store: DescriptorStore | None = None,
    ) -> None:
        self.consumer: TextConsumer = consumer or Nobody()
        self._uncounted: set[FileStream] = set()  # they have ended, but not all of them is counted
        self.books = books
        self.held = held
        self.table = FileTable(patterns, pool, self, clock, report)
        self.ahead = ReadAhead(space, self.table, moved=self.moved, ready=self._ready, clock=clock, report=report)
        self.ids: set[str] = set()  # every id given in this life, as far as known
        self.streams: dict[str, FileStream] = {}
        self.watches: dict[int, TailedFile] = {}  # of single files
        self.stopped = False  # what comes now is not of this run any more
        self.closing = False  # unfinished lines are not held
        self.survivors = Survivors(store, self.table, clock, report)
        self._patterns = patterns
        self._watcher = watcher
        self.recogniser = Recogniser(clock, report)
        self._around = Surroundings(life, resource, clock, self._suspicious, self._idle, seen, *_telling(report))
        self._remembered = list({base_id(id): None for id in remembered})
        self._clock = clock

    def new_stream(self, file: TailedFile, size: int, head: bytes, start: int) -> Content | None:
        """See `Announcer`."""
        path = file.path if file.wanted else file.origin  # it may have lost its name before it had a byte
        group = self._patterns.group_of(path)
        if self.stopped or group is None:
            return None
        kind = self.recogniser.kind_of(file, group)
        if kind is None:
            return None
        name = remembered_id(file.key, head, self.ids, self._remembered) or stream_id(file.key, head, self.ids)
        if self.table.first_scan and group.start_at == "end":
            start = size
        if group.ignore_older and self._clock.monotonic() - self._seen_since(file) > group.ignore_older:
            start = size
        content = self.make(ids_of(name, kind), path, start, group, kind)
        content.rewritten = file.rewritten
        try:
            content.begin(file, size, head, self._seen_since(file))
        except Changed:  # truncated in this very moment: the event of that has us look again
            for stream in content.streams:
                del self.streams[stream.id]
            return None
        for stream in content.streams:
            self.books.join(stream)
            self.held.note(stream)
            self.consumer.add(stream)
        return content

    def missed(self, file: TailedFile, size: int) -> None:
        """See `Announcer`: it is a stream of which everything is lost, so that it is counted as every loss is."""
        group = self._patterns.group_of(file.origin)
        if self.stopped or group is None:
            return
        name = stream_id(file.key, b"", self.ids)
        content = self.make(ids_of(name, PLAIN_TEXT), file.origin, 0, group, PLAIN_TEXT)
        content.sighted(size, self._clock.monotonic())
        for stream in content.streams:
            self.books.join(stream)
        self.table.partings.part(content, None, UNOPENED)

    def make(self, names: Mapping[str, str], path: str, start: int, group: FileGroup, kind: Kind) -> Content:
        """A content with everything that its group says; not yet on any file, and its streams not yet known to anybody.

        ``names``: the id of each of its streams, by output.
        """
        content = make_content(names, path, start, group, kind, self._around)
        content.closing = self.closing
        content.blocks = group.when_full == "block"
        self.ids |= base_ids(names.values())
        for stream in content.streams:
            if self.consumer.wants(path):
                stream.wait_for_counts(self._counted)
            self.streams[stream.id] = stream
        return content

    def _seen_since(self, file: TailedFile) -> float:
        """When what is in a file that is new to us was written, as far as its time stamp tells."""
        age = (self._clock.wall_ns() - file.status().st_mtime_ns) / 1e9
        return self._clock.monotonic() - max(0.0, age)

    def grew(self, content: Content) -> None:
        """See `Announcer`."""
        if self.stopped and not content.finished:
            return
        self.ahead.note(content)
        self.survivors.note(content)
        for stream in content.streams:
            self.books.grew(stream)
            self.held.note(stream)
            self.consumer.ready(stream)

    def moved(self, content: Content) -> None:
        """See `Announcer`."""
        if content.file is not None and content.file.path:
            content.path = content.file.path
        for stream in content.streams:
            self.books.moved(stream)

    def ended(self, content: Content) -> None:
        """See `Announcer`."""
        for stream in content.streams:
            self.books.moved(stream)
            self.consumer.finished(stream)
            if stream.measured_to >= stream.size:
                self.books.end(stream)
            else:  # once it has ended in the ledger, and is sent, it is not read again by the next run
                self._uncounted.add(stream)

    def endangered(self, content: Content) -> None:
        """See `Announcer`."""
        self.ahead.endangered(content)

    def kept(self, content: Content, beyond: int) -> TailedFile | None:
        """See `Announcer`."""
        try:
            return self.ahead.claim(content, beyond)
        except OSError:  # it cannot be read: then it is lost, and counted
            return None

    def follow(self, file: TailedFile) -> None:
        """See `Announcer`."""
        if file.stream is not None:
            self.ahead.note(file.stream)
            self.survivors.note(file.stream)
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
        self.survivors.forget(file)
        if self.watches.pop(file.watch, None) is not None:
            self._watcher.unfollow(file.watch)
        file.watch = -1

    def _ready(self, content: Content) -> None:
        for stream in content.streams:
            self.books.ready(stream)

    # What a stream finds -----------------------------------------------------------------------------------------------

    def _suspicious(self, content: Content) -> None:
        self.table.contents.suspect(content)
        for stream in content.streams:
            asyncio.get_running_loop().call_soon(self.books.ready, stream)

    def _counted(self, stream: FileStream) -> None:
        if stream in self._uncounted and stream.measured_to >= stream.size:
            self._uncounted.discard(stream)
            self.books.end(stream)

    def _idle(self, content: Content) -> None:
        self.table.idle(content)
        if not content.finished:
            return
        for stream in content.streams:
            self.held.forget(stream)
            self.streams.pop(stream.id, None)
        self.ahead.forget(content)


def _telling(
    report: Reporter,
) -> tuple[Callable[[FileStream, int, int], None], Callable[[FileStream, Mapping[str, int]], None]]:
    """What is said of ranges that nobody wrote, and of lines that could not be understood."""

    def skipped(stream: FileStream, start: int, end: int) -> None:
        report(Skipped(stream.id, stream.name, start, end, "gap"))

    def unparsed(stream: FileStream, causes: Mapping[str, int]) -> None:
        for cause, count in causes.items():
            report(Unparsed("file", cause, count, stream.name))

    return skipped, unparsed


def _needs_own_watch(file: TailedFile) -> bool:
    """A file without a name, or also reachable under another one, grows without its directory being told."""
    return not file.paths or os.fstat(file.fd).st_nlink > 1 or any(map(os.path.islink, file.paths))
