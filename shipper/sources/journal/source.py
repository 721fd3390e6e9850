"""Reads a journal: looks at its files, and makes a stream of each sequence that journald counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from shipper.clock import Clock
from shipper.contracts import Hub, Signal, Source, StreamKind
from shipper.events import MessagesDropped, Problem, Reporter, Unparsed
from shipper.ledger import Ledger, LedgerThread, StreamRow
from shipper.shape import Shaped
from shipper.sources.books import RETRY, Books
from shipper.sources.journal.files import JournalFiles, Known
from shipper.sources.journal.places import Places
from shipper.sources.journal.position import ENTRY, entry_of, start_of
from shipper.sources.journal.records import MISSED, SUPPRESSED, Gathered, Records
from shipper.sources.journal.settings import JournalSettings
from shipper.sources.journal.stream import JournalStream

SOURCE = "journal"
STARTED = "journal.started"
TAKEN = "journal.taken"
FILES = "journal.files"
SEQUENCE, BOOT, NAME = "sequence", "boot", "journal"
"""Keys in a stream's ``meta``: the sequence it is of, the only boot it is of (or none), and whose it is."""
_LIST_EVERY = 1.0  # seconds between looks for new files where nothing else tells
_WRITE_EVERY = 1.0  # seconds between notes in the ledger of how far they reach
_DROPPED = {
    SUPPRESSED: "journald did not take them, as a unit wrote more than RateLimitBurst= in journald.conf allows",
    MISSED: "journald did not read the kernel's messages as fast as it wrote them",
}
_ROUNDS = 3  # looks in a row while there is more


class JournalSource(Source):
    """Announces a stream for each sequence of the journal of ``settings``.

    ``closed``: of an earlier life, all of whose streams have their end (`shipper.sources.journal.borders`); none is new.
    """

    name = SOURCE

    def __init__(
        self,
        settings: JournalSettings,
        *,
        hub: Hub,
        ledger: LedgerThread,
        life: str,
        clock: Clock,
        report: Reporter,
        closed: bool = False,
    ) -> None:
        self.streams: dict[bytes, JournalStream] = {}
        self._settings = settings
        self._ledger = ledger
        self._life = life
        self._clock = clock
        self._report = report
        self._records = Records(settings)
        places = Places(settings.directories, settings.files, nested=settings.nested)
        self._files = JournalFiles(places, self._records.understanding, report)
        self._books: Books[JournalStream] = Books(hub, ledger, clock, report, self._row, self._notes)
        self._noted: Known = {}
        self._begun = asyncio.Event()
        self._stop_wanted = False
        self._stopped = closed
        self._closing = False
        self._first = False  # nothing of this journal was ever read in this life
        self._taken: dict[str, int] = {}
        self._listed_at = -_LIST_EVERY

    # The life of the source --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """See `Source.run`."""
        await self._begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._books.run(), name="journal-books")
            tasks.create_task(self._watch(), name="journal-looks")

    async def _begin(self) -> None:
        name = self._settings.name
        rows, started, taken = await self._ledger.call(recall, name)
        known = await self._ledger.call(files_of, name)
        self._first = not started
        self._taken = taken
        for row in rows:
            stream = self._make(bytes.fromhex(row.meta[SEQUENCE]), row.start)
            stream.sighted(-(-row.size // ENTRY))
            if row.finished:
                stream.end(row.size)
            self._books.join(stream)
        self.look()
        self._files.recall(known)
        self._first = False
        if not started and not self._stopped:
            await self._ledger.call(Ledger.put, f"{STARTED}.{name}", "1")
        self._begun.set()
        if self._stop_wanted:
            self.stop_reading()

    async def _watch(self) -> None:
        """journald tells of changes a quarter of a second late, so the headers are read instead: two reads a round."""
        written_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._settings.poll_interval)
            now = self._clock.monotonic()
            if now - self._listed_at >= _LIST_EVERY or self._files.grown():
                self.look()
            if now - written_at >= _WRITE_EVERY:
                written_at = now
                await self._books.flush()
            for stream in self.streams.values():
                if stream.frontier() > stream.read_to:  # parts of a message may have waited long enough
                    self._books.ready(stream)

    def look(self) -> None:
        """Look at all files, and tell what is new."""
        self._listed_at = self._clock.monotonic()
        for _ in range(_ROUNDS):
            more = self._files.look()
            for id, chain in self._files.chains.items():
                stream = self.streams.get(id)
                if stream is None:
                    self._announce(id)
                elif not self._stopped and stream.sighted(chain.frontier):
                    self._books.grew(stream)
            if not more:
                break
        for id, stream in self.streams.items():
            self._files.release(id, entry_of(stream.released_to))

    def _announce(self, sequence: bytes) -> None:
        chain = self._files.chains[sequence]
        if self._stopped or not chain.frontier:
            return
        stream = self._make(sequence, start_of(self._begins(sequence)))
        stream.closing = self._closing
        stream.sighted(chain.frontier)
        self._books.join(stream)

    def _begins(self, sequence: bytes) -> int:
        """The first entry that is this life's."""
        chain = self._files.chains[sequence]
        if sequence.hex() in self._taken:
            return self._taken[sequence.hex()]
        if self._first and not self._settings.from_beginning:
            return chain.frontier
        boot = self._settings.choice.boot
        try:
            span = chain.boot_span(boot) if boot else (chain.lowest or chain.frontier, 0)
        except OSError as problem:
            self._report(Problem("journal", f"where this boot begins cannot be read: {problem}", sequence.hex()))
            span = (chain.lowest or chain.frontier, 0)
        return chain.frontier if span is None else min(span[0], chain.frontier)

    def _make(self, sequence: bytes, start: int) -> JournalStream:
        stream = JournalStream(
            row_of(self._settings, sequence.hex(), start, start).id,
            self._settings.name,
            self._files.chain(sequence),
            self._records,
            start=start,
            life=self._life,
            hold=self._settings.hold,
            clock=self._clock,
            shipped=self._shipped,
        )
        self.streams[sequence] = stream
        return stream

    async def settled(self) -> None:
        """See `Source.settled`."""
        await self._begun.wait()
        while self._books.pending and not await self._books.flush():
            await self._clock.sleep(RETRY)

    def stop_reading(self) -> None:
        """See `Source.stop_reading`."""
        self._stop_wanted = True
        if self._stopped or not self._begun.is_set():
            return
        self.look()
        self._stopped = True
        for stream in self.streams.values():
            stream.fix()
            self._books.ready(stream)

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`."""
        if not self._begun.is_set() or self._books.pending:
            return False
        self.look()
        since = self._clock.monotonic() - quiet_seconds
        return all(stream.grown_at <= since for stream in self.streams.values()) and not self._books.pending

    def close_events(self) -> None:
        """See `Source.close_events`."""
        self._closing = True
        for stream in self.streams.values():
            stream.closing = True
            self._books.ready(stream)

    def reopen(self) -> None:
        """See `Source.reopen`."""
        self._closing = False
        for stream in self.streams.values():
            stream.closing = False

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        if self._begun.is_set():
            await self._books.flush()
        self._files.close()

    # What is told ------------------------------------------------------------------------------------------------------

    def _notes(self) -> dict[str, str]:
        """What files there are, where that changed: what is gone of them at the next start was deleted."""
        known = self._files.known()
        if known == self._noted:
            return {}
        self._noted = known
        return {f"{FILES}.{self._settings.name}": json.dumps(known)}

    def _row(self, stream: JournalStream) -> StreamRow:
        return row_of(self._settings, stream.chain.id.hex(), stream.start, stream.size)

    def _shipped(self, stream: JournalStream, gathered: Gathered, shaped: Shaped) -> None:
        for cause, count in gathered.dropped.items():
            self._report(MessagesDropped(stream.name, cause, count, _DROPPED[cause]))
        for cause, count in shaped.failures.items():
            self._report(Unparsed(SOURCE, cause, count, stream.id))
        if gathered.damaged:
            self._report(Unparsed(SOURCE, "damaged", gathered.damaged, stream.id))


def row_of(settings: JournalSettings, sequence: str, start: int, size: int) -> StreamRow:
    """What the ledger keeps of the stream of a sequence."""
    name = settings.name
    meta: dict[str, Any] = {SEQUENCE: sequence, BOOT: settings.choice.boot.hex(), NAME: name}
    return StreamRow(f"{name}-{sequence}", StreamKind.DATA, Signal.LOGS, SOURCE, name, start, meta, size)


def recall(ledger: Ledger, name: str) -> tuple[Sequence[StreamRow], bool, dict[str, int]]:
    """The streams of a journal, whether it was ever read, and where it goes on behind an earlier life. On the ledger's thread."""
    rows = [row for row in ledger.streams() if row.source == SOURCE and row.meta.get(NAME) == name]
    return rows, ledger.get(f"{STARTED}.{name}") is not None, taken_of(ledger, name)


def files_of(ledger: Ledger, name: str) -> Known:
    """The files of a journal as earlier runs left them."""
    found: Known = json.loads(ledger.get(f"{FILES}.{name}") or "{}")
    return found


def taken_of(ledger: Ledger, name: str) -> dict[str, int]:
    """By sequence, the first entry that no earlier life has."""
    found = json.loads(ledger.get(TAKEN) or "{}")
    return {sequence: int(seq) for sequence, seq in found.get(name, {}).items()}
