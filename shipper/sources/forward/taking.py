"""Messages of one client to frames in the spool, each chunk once.

Small messages that came together share a frame. A large one is stored in parts, cut at the same records whenever it is sent,
each under a digest of its own: when a client sends a chunk again, because it never saw the acknowledgement or because we died
in the middle, the parts that are there are recognised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

from shipper.contracts import Signal
from shipper.errors import SpoolFull, StateError
from shipper.events import DuplicateRecords, MessagesDropped, Unparsed
from shipper.sources.batch import Batch
from shipper.sources.forward.chunks import digest
from shipper.sources.forward.desk import Desk
from shipper.sources.forward.messages import Message
from shipper.sources.forward.own import signal_of
from shipper.sources.forward.records import RecordEncoder
from shipper.sources.forward.values import Value, text_of

PART = 256 << 10
"""Bytes of records in a part, about. Digests of parts depend on it."""

_ENTRIES = 64  # encoded between two looks at the size
SPOOLS = (Signal.LOGS, Signal.TRACES)
"""What there are spools of; `Chunks` knows them by their number here."""


class Taker:
    """``peer``: who the client is, as far as can be told."""

    def __init__(self, desk: Desk, peer: str) -> None:
        self._desk = desk
        self._peer = peer
        self._encoder = RecordEncoder(desk.settings.body)
        self._batch = Batch()
        self._unreadable = 0  # entries of the message in hand that were not what the protocol says
        self._unasked = 0  # records in the batch that nobody waits for
        self._tokens: list[str] = []  # digests of what is in the batch
        self._claimed: list[str] = []
        self._acks: list[bytes] = []

    async def keep(self, message: Message) -> None:
        """Take a message in; `flush` is what stores the end of it. Raises as `flush`, and `BrokenMessage`."""
        if message.chunk is None:
            await self._add(message)
            return
        if self._batch.size >= PART:
            await self.flush()
        whole = self._digest(message, -1)
        while whole not in self._claimed and (other := self._desk.others(whole)) is not None:
            await self.flush()  # whoever has it may be waiting for what we have
            await asyncio.wait([other])
        if whole in self._claimed or whole in self._desk.chunks:
            self._again(sum(1 for _ in message.entries))
        else:
            self._desk.claim(whole)
            self._claimed.append(whole)
            await self._add(message)
            self._tokens.append(whole)
        self._acks.append(message.chunk)

    async def flush(self) -> None:
        """Store the batch. Raises `SpoolFull` and `StateError`: what is in it is not to be acknowledged then."""
        batch, self._batch = self._batch, Batch()
        tokens, self._tokens = tuple(self._tokens), []
        unasked, self._unasked = self._unasked, 0
        now = self._desk.clock.wall_ns()
        try:
            requests = list(batch.requests())
            for number, (signal, payload, records) in enumerate(requests, 1):
                # Digests stand in the last frame, when all that they tell of is there.
                kept = tokens if number == len(requests) else ()
                end = await self._desk.stores[signal].put(payload, records, now, kept)
                if kept:
                    self._desk.chunks.add(kept, end, SPOOLS.index(signal), now)
        except (SpoolFull, StateError) as error:
            if unasked:
                cause = "full" if isinstance(error, SpoolFull) else "disk"
                self._desk.report(MessagesDropped(self._desk.name, cause, unasked, str(error)))
            raise

    def acknowledged(self) -> list[bytes]:
        """The chunks that were stored since the last call; only to be asked after a `flush`."""
        for whole in self._claimed:
            self._desk.release(whole)
        self._claimed.clear()
        acks, self._acks = self._acks, []
        return acks

    def _digest(self, message: Message, part: int) -> str:
        return digest(self._peer, message.tag, message.chunk or b"", part)

    async def _add(self, message: Message) -> None:
        """Encode a message into the batch, and store all parts of a large one but the last."""
        if message.chunk is None:
            await self._add_unasked(message)
        else:
            part, number, taken = Batch(), 0, _ENTRIES
            while taken == _ENTRIES:
                taken = self._encode(message, part)
                if part.size >= PART:
                    await self._part(part, self._digest(message, number))
                    part, number = Batch(), number + 1
            self._batch.merge(part)
        if self._unreadable:
            unreadable, self._unreadable = self._unreadable, 0
            tag = text_of(message.tag)[:80]
            self._desk.report(Unparsed(self._desk.name, "entry", unreadable, f"one tagged {tag}"))

    async def _add_unasked(self, message: Message) -> None:
        """The same for a message that nobody waits for and that needs not be recognised."""
        taken = _ENTRIES
        while taken == _ENTRIES:
            taken = self._encode(message, self._batch)
            self._unasked += taken
            if self._batch.size >= PART:
                await self.flush()
                await asyncio.sleep(0)  # the others have their turn

    async def _part(self, part: Batch, token: str) -> None:
        if token in self._desk.chunks:
            self._again(part.records)
            return
        self._batch.merge(part)
        self._tokens.append(token)
        await self.flush()
        await asyncio.sleep(0)

    def _encode(self, message: Message, part: Batch) -> int:
        """Encode the next few entries; how many there were, which is less than `_ENTRIES` at the end."""
        entries: Iterator[Value] = islice(message.entries, _ENTRIES)
        now = self._desk.clock.wall_ns()
        group = part.group(self._desk.envelope)
        before = len(group.records)
        restored = 0
        if signal_of(message.tag) is not None:
            every = list(entries)
            left = [entry for entry in every if not self._restored(message.tag, entry, now, part)]
            restored, entries = len(every) - len(left), iter(left)
        self._unreadable += self._encoder.encode(entries, message.tag, message.metadata, now, group)
        return len(group.records) - before + restored

    def _restored(self, tag: bytes, entry: object, now: int, part: Batch) -> bool:
        """Whether an entry is a record of Shipper's SDK, which is put under its own identity then."""
        if not isinstance(entry, list) or len(entry) != 2:
            return False
        when = entry[0][0] if isinstance(entry[0], list) and entry[0] else entry[0]
        found = self._desk.own.restore(tag, when, entry[1], now)
        if found is None:
            return False
        part.group((found.signal, found.resource, found.scope)).add(found.content)
        return True

    def _again(self, records: int) -> None:
        self._desk.report(DuplicateRecords(self._desk.name, records, stored=False))
