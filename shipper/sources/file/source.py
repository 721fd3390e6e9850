"""Tailing: watches for changes, keeps the table of files, and makes the streams that come of it."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Iterable, Sequence

from shipper.clock import Clock
from shipper.contracts import Hub, Source
from shipper.errors import StateError
from shipper.events import Problem, Reporter
from shipper.ledger import Ledger, LedgerThread
from shipper.otlp.encode import scope
from shipper.sources.file.books import RETRY, Books
from shipper.sources.file.discover import Found, Patterns
from shipper.sources.file.handles import Descriptors, TailedFile
from shipper.sources.file.identity import remembered_id, stream_id
from shipper.sources.file.lease import has_writers
from shipper.sources.file.recovery import COPIES, SOURCE, STARTED, Recovery, Remembered, prepare, recall
from shipper.sources.file.settings import FileGroup, FileSettings
from shipper.sources.file.stream import Changed, FileStream
from shipper.sources.file.table import FileTable
from shipper.sources.file.watch import Changes, Watcher

SCOPE = "shipper.file"
WALK_SHARE = 10  # directories are not walked for more than one part in so many of the time
ROUNDS = 3  # walks in a row while new directories keep appearing


class FileSource(Source):
    """Tails the files of ``settings`` and announces a stream for each to ``hub``.

    ``resource``: content of the Resource message put on the records. ``destinations``: names whose cursors in the ledger
    tell, after a restart, what was read. ``remembered``: ids of streams of this life that a destination knows, so that
    files are recognised even when the ledger was lost.
    """

    name = SOURCE

    def __init__(
        self,
        settings: FileSettings,
        *,
        hub: Hub,
        ledger: LedgerThread,
        life: str,
        resource: bytes,
        clock: Clock,
        report: Reporter,
        destinations: Sequence[str] = (),
        remembered: Iterable[str] = (),
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._life = life
        self._resource = resource
        self._clock = clock
        self._report = report
        self._destinations = tuple(destinations)
        self._remembered = list(remembered)
        self._patterns = Patterns(settings.groups, report)
        self._pool = Descriptors(settings.max_open_files, report.metrics.open_files)
        self._table = FileTable(self._patterns, self._pool, self, clock, report)
        self._watcher = Watcher(self._changed, report)
        self._books = Books(hub, ledger, clock, report)
        self._ids: set[str] = set()  # every id given in this life, as far as known
        self._streams: dict[str, FileStream] = {}
        self._held: dict[FileStream, None] = {}  # unfinished last lines, in the order in which they become due
        self._wake_holds = asyncio.Event()
        self._watches: dict[int, TailedFile] = {}
        self._walk_after = -math.inf
        self._walk_timer: asyncio.TimerHandle | None = None
        self._begun = asyncio.Event()
        self._stop_wanted = False
        self._stopped = False
        self._closing = False

    # The life of the source --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """See `Source.run`."""
        await self._begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._books.run(), name="file-books")
            tasks.create_task(self._release_held(), name="file-holds")
            tasks.create_task(self._look_again(), name="file-looks")

    async def _begin(self) -> None:
        memory = await self._ledger.call(recall, self._destinations)
        self._ids.update(memory.ids)
        self._table.copies.known.update(memory.copies)
        if self._settings.notify:
            self._watcher.start()
        found = self._discover()
        self._table.first_scan = not memory.started
        recovery = Recovery(self._table, self._clock, found.files)
        for each in memory.streams:
            self._resume(each, recovery)
        for _ in self._table.scan(found.files):
            await asyncio.sleep(0)
        self._table.first_scan = False
        if not memory.started:
            await self._ledger.call(Ledger.put, STARTED, "1")
        self._begun.set()
        if self._stop_wanted:
            self.stop_reading()

    def _resume(self, known: Remembered, recovery: Recovery) -> None:
        row = known.row
        group = self._patterns.group_of(known.path) or self._patterns.group_of(row.name) or self._settings.groups[0]
        stream = self._stream(row.id, row.name, row.start, group)
        prepare(stream, known)
        self._books.join(stream)
        recovery.resume(stream, known)
        if row.finished:
            self._books.end(stream)
        self._hold(stream)

    async def settled(self) -> None:
        """See `Source.settled`."""
        await self._begun.wait()
        while self._books.pending and not await self._books.flush():
            await self._clock.sleep(RETRY)

    def stop_reading(self) -> None:
        """See `Source.stop_reading`. Streams found in the last look are in the hub once `settled` has returned."""
        self._stop_wanted = True
        if self._stopped or not self._begun.is_set():
            return
        self._table.copies.decide()
        self._walk()
        self._stopped = True
        for stream in list(self._streams.values()):
            stream.fix()
            self._books.ready(stream)

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`."""
        if not self._begun.is_set() or self._books.pending:
            return False
        self._watcher.read()
        if self._watcher.polled:
            self._walk()
        now = self._clock.monotonic()
        return all(self._is_silent(file, now - quiet_seconds) for file in self._table) and not self._books.pending

    def _is_silent(self, file: TailedFile, since: float) -> bool:
        stream = file.stream
        if stream is not None and stream.finished:
            return True
        writers = has_writers(file.fd) if file.fd >= 0 else None
        before = file.size
        self._table.look(file)
        grown_at = file.since if stream is None else stream.grown_at
        return file.size == before and not (grown_at > since if writers is None else writers)

    def close_events(self) -> None:
        """See `Source.close_events`."""
        self._closing = True
        for stream in list(self._streams.values()):
            stream.close_events()
            self._books.ready(stream)

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        if self._walk_timer is not None:
            self._walk_timer.cancel()
        self._watcher.close()
        if self._begun.is_set():
            await self._write_down()
        self._pool.close_all()

    # Looking -----------------------------------------------------------------------------------------------------------

    def _changed(self, changes: Changes) -> None:
        self._table.touched(changes.paths)
        for watch in changes.singles:
            file = self._watches.get(watch)
            if file is not None:
                self._table.look(file, force=True)
                self._table.review(file)
        if changes.everything:
            self._walk_soon()

    def _walk_soon(self) -> None:
        """Look at everything, at once if that was not done a moment ago."""
        loop = asyncio.get_running_loop()
        if self._walk_timer is None:
            self._walk_timer = loop.call_at(max(loop.time(), self._walk_after), self._walk_now)

    def _walk_now(self) -> None:
        self._walk_timer = None
        self._walk()

    def _walk(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in self._table.scan(self._discover().files):
            pass
        self._table.tick()
        now = loop.time()
        self._walk_after = now + WALK_SHARE * (now - began)

    def _discover(self) -> Found:
        """All matching files, with a watch on every directory that matters."""
        found = self._patterns.walk()
        for _ in range(ROUNDS):
            if not self._watcher.cover(found.directories):
                break
            found = self._patterns.walk()  # what appeared before a new watch was there
        return found

    async def _look_again(self) -> None:
        """The slow safety net: what no event tells."""
        rescan_at = self._clock.monotonic() + self._settings.rescan_interval
        while True:
            await self._clock.sleep(self._settings.poll_interval)
            self._table.tick()
            if self._watcher.polled or self._clock.monotonic() >= rescan_at:
                rescan_at = self._clock.monotonic() + self._settings.rescan_interval
                for _ in self._table.scan(self._discover().files):
                    await asyncio.sleep(0)
            await self._write_down()

    async def _write_down(self) -> None:
        await self._books.flush()
        copies = self._table.copies
        if copies.changed:
            copies.changed = False
            text = json.dumps([[*key, size, head.length, head.digest] for key, (size, head) in copies.known.items()])
            try:
                await self._ledger.call(Ledger.put, COPIES, text)
            except StateError as error:
                copies.changed = True
                self._report(Problem("ledger", f"what are copies cannot be written down: {error}", "copies"))

    async def _release_held(self) -> None:
        """Tell the pumps when an unfinished last line was held long enough."""
        while True:
            if not self._held:
                self._wake_holds.clear()
                await self._wake_holds.wait()
            stream = next(iter(self._held))
            wait = stream.due_at - self._clock.monotonic()
            if wait > 0:
                await self._clock.sleep(wait)
            elif self._held.pop(stream, True) is None:
                self._books.ready(stream)

    def _hold(self, stream: FileStream) -> None:
        self._held.pop(stream, None)
        if stream.unfinished:
            self._held[stream] = None
            self._wake_holds.set()

    # What the table finds (see `table.Announcer`) ----------------------------------------------------------------------

    def new_stream(self, file: TailedFile, size: int, head: bytes, start: int) -> FileStream | None:
        """See `table.Announcer`."""
        path = file.path if file.wanted else file.origin  # it may have lost its name before it had a byte
        group = self._patterns.group_of(path)
        if self._stopped or group is None:
            return None
        name = remembered_id(file.key, head, self._ids, self._remembered) or stream_id(file.key, head, self._ids)
        if self._table.first_scan and group.start_at == "end":
            start = size
        stream = self._stream(name, path, start, group)
        try:
            stream.begin(file, size, head, self._seen_since(file))
        except Changed:  # truncated in this very moment: the event of that has us look again
            del self._streams[name]
            return None
        self._books.join(stream)
        self._hold(stream)
        return stream

    def _stream(self, id: str, path: str, start: int, group: FileGroup) -> FileStream:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        attributes = {"log.file.path": shown, "log.file.name": os.path.basename(shown)}
        stream = FileStream(
            id,
            name=shown,
            start=start,
            life=self._life,
            resource=self._resource if group.resource is None else group.resource,
            scope=scope(SCOPE, attributes=attributes),
            line_limit=group.max_line_bytes,
            hold=group.hold,
            clock=self._clock,
            suspicious=self._suspicious,
            idle=self._idle,
        )
        stream.path = path
        if self._closing:
            stream.close_events()
        self._ids.add(id)
        self._streams[id] = stream
        return stream

    def _seen_since(self, file: TailedFile) -> float:
        """When what is in a file that is new to us was written, as far as its time stamp tells."""
        age = (self._clock.wall_ns() - file.status().st_mtime_ns) / 1e9
        return self._clock.monotonic() - max(0.0, age)

    def grew(self, stream: FileStream) -> None:
        """See `table.Announcer`."""
        if not self._stopped or stream.finished:
            self._books.grew(stream)
            self._hold(stream)

    def moved(self, stream: FileStream) -> None:
        """See `table.Announcer`."""
        if stream.file is not None and stream.file.path:
            stream.path = stream.file.path
        self._books.moved(stream)

    def ended(self, stream: FileStream) -> None:
        """See `table.Announcer`."""
        self._books.moved(stream)
        self._books.end(stream)

    def follow(self, file: TailedFile) -> None:
        """See `table.Announcer`."""
        if file.watch >= 0 or not _needs_own_watch(file):
            return
        file.watch = self._watcher.follow(file.fd)
        if file.watch >= 0:
            self._watches[file.watch] = file

    def room(self) -> None:
        """See `table.Announcer`."""
        asyncio.get_running_loop().call_soon(self._table.retry)

    def unfollow(self, file: TailedFile) -> None:
        """See `table.Announcer`."""
        if self._watches.pop(file.watch, None) is not None:
            self._watcher.unfollow(file.watch)
        file.watch = -1

    # What a stream finds -----------------------------------------------------------------------------------------------

    def _suspicious(self, stream: FileStream) -> None:
        self._table.suspect(stream)
        asyncio.get_running_loop().call_soon(self._books.ready, stream)

    def _idle(self, stream: FileStream) -> None:
        self._table.idle(stream)
        if not stream.finished:
            return
        self._held.pop(stream, None)
        self._streams.pop(stream.id, None)


def _needs_own_watch(file: TailedFile) -> bool:
    """A file without a name, or also reachable under another one, grows without its directory being told."""
    return not file.paths or os.fstat(file.fd).st_nlink > 1 or any(map(os.path.islink, file.paths))
