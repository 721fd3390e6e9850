"""Tailing: watches for changes, keeps the table of files, and makes the streams that come of it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterable, Sequence

from shipper.clock import Clock
from shipper.contracts import Hub, Source
from shipper.events import Reporter, Said
from shipper.ledger import Ledger, LedgerThread
from shipper.sources.books import RETRY, Books
from shipper.sources.file.consumer import TextConsumer
from shipper.sources.file.discover import Found, Patterns
from shipper.sources.file.ended import recall_ended
from shipper.sources.file.handles import Descriptors, TailedFile
from shipper.sources.file.held import Held
from shipper.sources.file.kind import base_ids
from shipper.sources.file.lease import has_writers
from shipper.sources.file.maker import Maker
from shipper.sources.file.recovery import COPIES, SOURCE, STARTED, Recovery, Remembered, prepare, recall, row_of
from shipper.sources.file.settings import FileSettings
from shipper.sources.file.stream import FileStream
from shipper.sources.file.survivors import DescriptorStore
from shipper.sources.file.watch import Changes, Watcher

WALK_SHARE = 10  # directories are not walked for more than one part in so many of the time
RESCAN_SHARE = 200  # nor is all looked at again, for what no event told, for more than one part in so many
ROUNDS = 3  # walks in a row while new directories keep appearing


class FileSource(Source):
    """Tails the files of ``settings`` and announces a stream for each to ``hub``.

    ``resource``: content of the Resource message put on the records. ``destinations``: names whose cursors in the ledger
    tell, after a restart, what was read. ``remembered``: ids of streams of this life that a destination knows, so that
    files are recognised even when the ledger was lost. ``seen`` gets the path and the payload of each batch that is cut.
    ``consumer`` reads the text of the streams it wants, by itself. ``store`` keeps descriptors while we do not run.
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
        seen: Callable[[str, bytes], None] | None = None,
        consumer: TextConsumer | None = None,
        store: DescriptorStore | None = None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._report = report
        self._destinations = tuple(destinations)
        self._patterns = Patterns(settings.groups, report)
        self._pool = Descriptors(settings.max_open_files, report.metrics.open_files, self._patterns.admits)
        self._watcher = Watcher(self._changed, report)
        self._books = Books(hub, ledger, clock, report, row_of, self._notes)
        self._held = Held([group.shortest_hold for group in settings.groups], clock, self._books.ready)
        self._maker = Maker(
            self._patterns,
            self._pool,
            self._watcher,
            self._books,
            self._held,
            settings.held,
            life=life,
            resource=resource,
            remembered=remembered,
            clock=clock,
            report=report,
            seen=seen,
            consumer=consumer,
            store=store,
        )
        self._table = self._maker.table
        self._walk_after = -math.inf
        self._walk_timer: asyncio.TimerHandle | None = None
        self._begun = asyncio.Event()
        self._stop_wanted = False
        self._met_writers = False

    # The life of the source --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """See `Source.run`."""
        await self._begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._books.run(), name="file-books")
            tasks.create_task(self._held.run(), name="file-holds")
            tasks.create_task(self._look_again(), name="file-looks")
            tasks.create_task(self._table.packed.run(), name="file-packed")
            tasks.create_task(self._maker.ahead.run(), name="file-read-ahead")
            tasks.create_task(self._maker.survivors.run(), name="file-survivors")

    async def _begin(self) -> None:
        memory = await self._ledger.call(recall, self._destinations)
        known = base_ids(memory.ids)
        self._maker.ids |= known
        self._table.copies.known.update(memory.copies)
        self._table.copies.taken = memory.taken
        for ended in await self._ledger.call(recall_ended, SOURCE, self._destinations):
            self._table.packed.ended.add(ended.head, ended.size, ended.guards)
        if self._settings.notify:
            self._watcher.start()
        found = self._discover()
        self._table.first_scan = not memory.started
        self._maker.survivors.take_over()
        recovery = Recovery(self._table, self._clock, found.files)
        for each in memory.streams:
            self._resume(each, recovery)
        recovery.finish()
        self._maker.ahead.recalled()
        self._maker.survivors.recalled(known)
        for _ in self._table.scan(found.files):
            await asyncio.sleep(0)
        self._table.first_scan = False
        if not memory.started:
            await self._ledger.call(Ledger.put, STARTED, "1")
        self._begun.set()
        if self._stop_wanted:
            self.stop_reading()

    def _resume(self, known: Remembered, recovery: Recovery) -> None:
        row, maker = known.row, self._maker
        group = self._patterns.group_of(known.path) or self._patterns.group_of(row.name) or self._settings.groups[0]
        content = maker.make(known.names, row.name, row.start, group, known.kind)
        prepare(content, known)
        maker.ahead.recall(content)
        for stream in content.streams:
            self._books.join(stream)
        recovery.resume(content, known)
        for stream in content.streams:
            maker.consumer.add(stream)
            if row.finished:
                self._books.end(stream)
            self._held.note(stream)

    async def settled(self) -> None:
        """See `Source.settled`."""
        await self._begun.wait()
        while self._books.pending and not await self._books.flush():
            await self._clock.sleep(RETRY)

    def stop_reading(self) -> None:
        """See `Source.stop_reading`. Streams found in the last look are in the hub once `settled` has returned."""
        self._stop_wanted = True
        if self._maker.stopped or not self._begun.is_set():
            return
        self._table.copies.decide()
        self._decide_kinds(at_once=True)
        self._walk()
        self._maker.stopped = True
        if waiting := self._table.packed.waiting:
            self._report(Said(f"{len(waiting)} compressed files are left unread, the first of them {waiting[0]}"))
        for stream in list(self._maker.streams.values()):
            stream.content.fix()
            self._books.ready(stream)

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`."""
        self._table.packed.hurry = True
        if not self._begun.is_set() or self._books.pending or self._table.packed.waiting:
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
        # Quiet is wanted also where no writer is left: between two files of a rotation, and between two lines of a
        # script that opens its log for each of them, nobody has anything open.
        return file.size == before and not writers and grown_at <= since

    def writers(self) -> bool | None:
        """See `Source.writers`: asked of the kernel (`lease`). That nobody has a file open says something only where somebody had."""
        answers = [
            has_writers(file.fd) if file.fd >= 0 else None
            for file in self._table
            if file.stream is None or not file.stream.finished
        ]
        if True in answers:
            self._met_writers = True
            return True
        return False if self._met_writers and None not in answers else None

    def reopen(self) -> None:
        """See `Source.reopen`."""
        self._maker.closing = False
        for stream in list(self._maker.streams.values()):
            stream.reopen()

    def stream_at(self, path: str) -> FileStream | None:
        """Who reads the plain file that has this name now; None where there is none (it is empty, or not yet looked at)."""
        file = self._table.at(path)
        return None if file is None or file.stream is None else file.stream.streams[0]

    def caught_up(self, path: str) -> bool:
        """Whether all that the file of this name holds now was acknowledged everywhere, and counted where it is."""
        file = self._table.at(path)
        if file is None or file.status().st_size != max(file.size, 0):
            return False
        return file.size <= 0 if file.stream is None else file.stream.idle

    def close_events(self) -> None:
        """See `Source.close_events`."""
        self._maker.closing = True
        for stream in list(self._maker.streams.values()):
            stream.close_events()
            self._books.ready(stream)
            self._maker.consumer.ready(stream)

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        if self._walk_timer is not None:
            self._walk_timer.cancel()
        self._watcher.close()
        if self._begun.is_set():
            await self._maker.ahead.look(at_once=True)  # with the descriptors goes what only they hold
            await self._maker.survivors.stop()
            await self._write_down()
        self._pool.close_all()

    # Looking -----------------------------------------------------------------------------------------------------------

    def _changed(self, changes: Changes) -> None:
        self._table.touched(changes.paths)
        for watch in changes.singles:
            file = self._maker.watches.get(watch)
            if file is not None:
                self._table.look(file, force=True)
                self._table.strays.review(file)
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

    def _decide_kinds(self, *, at_once: bool = False) -> None:
        """Look again at files whose first line was not finished, so that nobody could tell what wrote it."""
        for file in self._maker.recogniser.waiting(at_once=at_once):
            self._table.look(file, force=True)

    async def _look_again(self) -> None:
        """The slow safety net: what no event tells."""
        poll_at = -math.inf
        rescan_at = self._clock.monotonic() + self._settings.rescan_interval
        while True:
            await self._clock.sleep(self._settings.poll_interval)
            self._table.tick()
            self._decide_kinds()
            now = self._clock.monotonic()
            if now >= (poll_at if self._watcher.polled else rescan_at):
                took = await self._rescan()
                poll_at = now + WALK_SHARE * took
                rescan_at = now + max(self._settings.rescan_interval, RESCAN_SHARE * took)
            await self._write_down()

    async def _rescan(self) -> float:
        """Look at everything, a few files at a time; how many seconds that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in self._table.scan(self._discover().files):
            await asyncio.sleep(0)
        return loop.time() - began

    async def _write_down(self) -> None:
        await self._books.flush()

    def _notes(self) -> dict[str, str]:
        """What are copies, if that changed."""
        copies = self._table.copies
        if not copies.changed:
            return {}
        copies.changed = False
        return {
            COPIES: json.dumps([[*key, size, head.length, head.digest] for key, (size, head) in copies.known.items()])
        }
