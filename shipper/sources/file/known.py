"""The files of an earlier life, up to where they are its own: read to that border, and no file beside them.

Every stream has its end (`shipper.sources.file.borders` fixed it before anybody read on), so nothing is watched and nothing
is discovered. Only what destroys bytes before they are read has to be noticed: a truncation, a copy that took their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from shipper.clock import Clock
from shipper.contracts import Hub, Source
from shipper.events import Reporter
from shipper.ledger import LedgerThread
from shipper.sources.file.announce import Announcer
from shipper.sources.file.discover import Patterns
from shipper.sources.file.handles import Descriptors, Replaced, TailedFile
from shipper.sources.file.maker import make_stream
from shipper.sources.file.recovery import SOURCE, Recovery, Remembered, prepare, recall
from shipper.sources.file.rotation import agreement
from shipper.sources.file.settings import FileGroup, FileSettings
from shipper.sources.file.stream import FileStream
from shipper.sources.file.table import GONE, FileTable

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
        self.streams: dict[str, FileStream] = {}
        self._default = settings.groups[0] if settings.groups else FileGroup(())
        self._life = life
        self._resource = resource
        self._clock = clock
        self._ready = ready

    def group_of(self, known: Remembered) -> FileGroup:
        """The group that says how a stream is read; the first one where the configuration names its file no more."""
        return self.patterns.group_of(known.path) or self.patterns.group_of(known.row.name) or self._default

    def make(self, known: Remembered) -> FileStream:
        """A remembered stream, not yet on its file."""
        row = known.row
        stream = self.new(row.id, row.name, self.group_of(known), row.start)
        readable = row.meta.get(READABLE)
        if readable is None:
            prepare(stream, known)
        else:  # what was before positions behind that, nobody can compare any more
            prepare(stream, replace(known, cursors=tuple(each for each in known.cursors if each.reach <= readable)))
            stream.read_to = max([stream.read_to, *(cursor.reach for cursor in known.cursors)])
        if row.finished:  # whatever its file holds by now, or a copy of it: no further than to its end
            stream.sighted(known.size, -math.inf)
            stream.seal(known.size, "")
        self.streams[row.id] = stream
        return stream

    def new(self, id: str, path: str, group: FileGroup, start: int = 0) -> FileStream:
        """A stream that is not remembered, for its row."""
        return make_stream(
            id,
            path,
            start,
            group,
            life=self._life,
            resource=self._resource,
            clock=self._clock,
            suspicious=self.check,
            idle=self._idle,
        )

    def put_back(self, remembered: Iterable[Remembered], paths: Sequence[str] | None = None) -> None:
        """Find the files of these streams, wherever they are now."""
        recovery = Recovery(self.table, self._clock, self.patterns.walk().files if paths is None else paths)
        for known in remembered:
            stream = self.make(known)
            if known.low < known.size:  # else nothing is read of it any more
                recovery.resume(stream, known)
        recovery.finish()

    def check(self, stream: FileStream) -> None:
        """Look whether the file of a stream that has its end still holds it; else go on with a copy, if there is one."""
        file = stream.file
        if file is None:
            return
        try:
            size = min(file.status().st_size, stream.extent)
            same = size == stream.extent and agreement(file, size, stream) is not None
        except (FileNotFoundError, Replaced):
            same = False
        except OSError:  # not to be read now; the pumps say so, and try again
            return
        if not same:
            self.table.part(stream, self.table.copies.find(stream, file))

    def _idle(self, stream: FileStream) -> None:
        if stream.finished and stream.file is not None:
            self.pool.close(stream.file)
            self.streams.pop(stream.id, None)

    # As what a table of files tells ------------------------------------------------------------------------------------

    def new_stream(self, file: TailedFile, size: int, head: bytes, start: int) -> FileStream | None:
        """See `Announcer`: what is new is for the life that goes on."""
        return None

    def grew(self, stream: FileStream) -> None:
        """See `Announcer`."""
        self._ready(stream)

    def moved(self, stream: FileStream) -> None:
        """See `Announcer`: the ledger knows where it was, and it is looked for at every start."""

    def ended(self, stream: FileStream) -> None:
        """See `Announcer`: all have ended."""

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
            stream = self._resumed.streams.get(known.row.id)
            if stream is None:
                continue
            if (readable := known.row.meta.get(READABLE)) is not None:
                stream.seal(int(readable), GONE)
            self._announced.add(stream.id)
            self._hub.add(stream)

    def _ready(self, stream: FileStream) -> None:
        if stream.id in self._announced:
            self._hub.ready(stream)

    async def run(self) -> None:
        """See `Source.run`: notice what is destroyed, and what can be opened by now."""
        while True:
            await self._clock.sleep(self._poll_interval)
            self._resumed.table.retry()
            for stream in list(self._resumed.streams.values()):
                self._resumed.check(stream)

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
