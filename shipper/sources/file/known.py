"""The files of an earlier life, up to where they are its own: read to that border, and no file beside them.

Every stream has its end (`shipper.sources.file.borders` fixed it before anybody read on), so nothing is watched and nothing
is discovered. Only what destroys bytes before they are read has to be noticed: a truncation, a copy that took their place.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from shipper.clock import Clock
from shipper.contracts import Hub, Source
from shipper.events import Reporter
from shipper.ledger import LedgerThread
from shipper.sources.file.announce import Announcer
from shipper.sources.file.content import Content
from shipper.sources.file.discover import Patterns
from shipper.sources.file.handles import Descriptors, Replaced, TailedFile
from shipper.sources.file.kind import Kind, Surroundings, make_content
from shipper.sources.file.parting import GONE
from shipper.sources.file.readahead import adopt, reads_from
from shipper.sources.file.readahead_copy import Kept
from shipper.sources.file.recovery import SOURCE, Recovery, Remembered, prepare, recall
from shipper.sources.file.rotation import agreement
from shipper.sources.file.settings import FileGroup, FileSettings
from shipper.sources.file.stream import FileStream
from shipper.sources.file.table import FileTable

READABLE = "readable"
"""Key in a stream's ``meta``: what lies behind this position was destroyed before the border was drawn."""


class Resumed(Announcer):
    """Streams of an earlier life on their files; no others are ever made. ``ready`` is told of what can be read on."""

    def __init__(
        self,
        settings: FileSettings,
        *,
        life: str = "",
        resource: bytes = b"",
        clock: Clock,
        report: Reporter,
        ready: Callable[[FileStream], None] = lambda stream: None,
    ) -> None:
        self.patterns = Patterns(settings.groups, report)
        self.pool = Descriptors(settings.max_open_files, report.metrics.open_files)
        self.table = FileTable(self.patterns, self.pool, self, clock, report)
        self.contents: dict[str, Content] = {}
        self._held = settings.held.directory
        self._default = settings.groups[0] if settings.groups else FileGroup(())
        self._around = Surroundings(life, resource, clock, self.check, self._idle)
        self._clock = clock
        self._ready = ready

    def group_of(self, known: Remembered) -> FileGroup:
        """The group that says how a stream is read; the first one where the configuration names its file no more."""
        return self.patterns.group_of(known.path) or self.patterns.group_of(known.row.name) or self._default

    def make(self, known: Remembered) -> Content:
        """A remembered content with its streams, not yet on its file."""
        row = known.row
        content = self.new(known.names, row.name, self.group_of(known), known.kind, row.start)
        readable = row.meta.get(READABLE)
        if readable is None:
            prepare(content, known)
        else:  # what was before positions behind that, nobody can compare any more
            prepare(content, known.below(readable))
            for stream, each in zip(content.streams, known.streams, strict=True):
                stream.read_to = max([stream.read_to, *(cursor.reach for cursor in each.cursors)])
        if row.finished:  # whatever its file holds by now, or a copy of it: no further than to its end
            content.sighted(known.size, -math.inf)
            content.seal(known.size, "")
        self.contents[row.id] = content
        return content

    def new(self, names: Mapping[str, str], path: str, group: FileGroup, kind: Kind, start: int = 0) -> Content:
        """A content that is not remembered, for the rows of its streams."""
        return make_content(names, path, start, group, kind, self._around)

    def put_back(self, remembered: Iterable[Remembered], paths: Sequence[str] | None = None) -> None:
        """Find the files of these streams, wherever they are now."""
        recovery = Recovery(self.table, self._clock, self.patterns.walk().files if paths is None else paths)
        for known in remembered:
            content = self.make(known)
            if known.low < known.size:  # else nothing is read of it any more
                recovery.resume(content, known)
        recovery.finish()
        for content in self.contents.values():
            kept = self._kept(content)
            if kept is not None and reads_from(content, kept):
                content.give_up(kept.gaps)

    def check(self, content: Content) -> None:
        """Look whether the file of a content that has its end still holds it; else go on with a copy, if there is one."""
        file = content.file
        if file is None:
            return
        try:
            size = min(file.length(), content.extent)
            same = size == content.extent and agreement(file, size, content) is not None
        except (FileNotFoundError, Replaced):
            same = False
        except OSError:  # not to be read now; the pumps say so, and try again
            return
        if not same:
            self.table.partings.separate(content, file)

    def _idle(self, content: Content) -> None:
        if content.finished and content.file is not None:
            self.pool.close(content.file)
            for stream in content.streams:
                self.contents.pop(stream.id, None)

    # As what a table of files tells ------------------------------------------------------------------------------------

    def new_stream(self, file: TailedFile, size: int, head: bytes, start: int) -> Content | None:
        """See `Announcer`: what is new is for the life that goes on."""
        return None

    def missed(self, file: TailedFile, size: int) -> None:
        """See `Announcer`: it is for the life that goes on."""

    def grew(self, content: Content) -> None:
        """See `Announcer`."""
        for stream in content.streams:
            self._ready(stream)

    def moved(self, content: Content) -> None:
        """See `Announcer`: the ledger knows where it was, and it is looked for at every start."""

    def ended(self, content: Content) -> None:
        """See `Announcer`: all have ended."""

    def endangered(self, content: Content) -> None:
        """See `Announcer`: what the earlier life read ahead is there; nothing is added to that."""

    def kept(self, content: Content, beyond: int) -> TailedFile | None:
        """See `Announcer`."""
        kept = self._kept(content)
        try:
            return None if kept is None or kept.end <= beyond else adopt(self.table, content, kept)
        except OSError:  # it cannot be read: then it is lost, and counted
            return None

    def _kept(self, content: Content) -> Kept | None:
        try:
            return Kept.found(os.path.join(self._held, content.id)) if self._held else None
        except (OSError, ValueError):  # damaged: then what only it held is lost, and counted
            return None

    def follow(self, file: TailedFile) -> None:
        """See `Announcer`: nothing is watched."""

    def room(self) -> None:
        """See `Announcer`: `KnownFiles` tries again by itself."""

    def unfollow(self, file: TailedFile) -> None:
        """See `Announcer`."""


class KnownFiles(Source):
    """Announces the streams of an earlier life that a destination still waits for. See the module."""

    name = SOURCE

    def __init__(
        self,
        settings: FileSettings,
        *,
        hub: Hub,
        ledger: LedgerThread,
        life: str,
        resource: bytes,
        destinations: Sequence[str],
        clock: Clock,
        report: Reporter,
    ) -> None:
        self._hub = hub
        self._announced: set[str] = set()
        self._ledger = ledger
        self._destinations = tuple(destinations)
        self._clock = clock
        self._poll_interval = settings.poll_interval
        self._resumed = Resumed(settings, life=life, resource=resource, clock=clock, report=report, ready=self._ready)

    async def open(self) -> None:
        """Put the streams on their files and announce them."""
        memory = await self._ledger.call(recall, self._destinations)
        self._resumed.table.copies.known.update(memory.copies)
        self._resumed.put_back(memory.streams)
        for known in memory.streams:
            content = self._resumed.contents.get(known.row.id)
            if content is None:
                continue
            if (readable := known.row.meta.get(READABLE)) is not None:
                content.seal(int(readable), GONE)
            for stream in content.streams:
                self._announced.add(stream.id)
                self._hub.add(stream)

    def _ready(self, stream: FileStream) -> None:
        if stream.id in self._announced:
            self._hub.ready(stream)

    async def run(self) -> None:
        """See `Source.run`: notice what is destroyed, and what can be opened by now."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._resumed.table.packed.run(), name="file-packed")
            tasks.create_task(self._look_again(), name="file-looks")

    async def _look_again(self) -> None:
        while True:
            await self._clock.sleep(self._poll_interval)
            self._resumed.table.retry()
            self._resumed.table.packed.tick()
            for content in list(self._resumed.contents.values()):
                self._resumed.check(content)

    def stop_reading(self) -> None:
        """See `Source.stop_reading`: every stream has its end."""

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`."""
        return True

    def close_events(self) -> None:
        """See `Source.close_events`: what has its end holds nothing."""

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        self._resumed.pool.close_all()
