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
        self._unasked = 0  # records in the batch that nobody waits for
        self._tokens: list[str] = []  # digests of what is in the batch
        self._claimed: list[str] = []
        self._acks: list[bytes] = []

    async def keep(self, message: Message) -> None:
        """Take a message in; `flush` is what stores the end of it. Raises as `flush`, and `BrokenMessage`."""
        if self._batch.size >= PART:
            await self.flush()
        if message.chunk is None:
            await self._add(message, None)
            return
        whole = self._digest(message, -1)
        while whole not in self._claimed and (other := self._desk.others(whole)) is not None:
            await self.flush()  # whoever has it may be waiting for what we have
            await asyncio.wait([other])
        if whole in self._claimed or whole in self._desk.chunks:
            self._again(sum(1 for _ in message.entries))
        else:
            self._desk.claim(whole)
            self._claimed.append(whole)
            await self._add(message, message.chunk)
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

    async def _add(self, message: Message, chunk: bytes | None) -> None:
        """Encode a message into the batch, and store all parts of it but the last."""
        part, number, unreadable = Batch(), 0, 0
        while True:
            before = part.records
            unreadable += self._encode(message, part)
            if part.records == before:
                break
            if part.size >= PART:
                await self._part(part, "" if chunk is None else self._digest(message, number))
                part, number = Batch(), number + 1
        self._merge(part, asked=chunk is not None)
        if unreadable:
            tag = text_of(message.tag)[:80]
            self._desk.report(Unparsed(self._desk.name, "entry", unreadable, f"one tagged {tag}"))

    async def _part(self, part: Batch, token: str) -> None:
        if token and token in self._desk.chunks:
            self._again(part.records)
            return
        self._merge(part, asked=bool(token))
        if token:
            self._tokens.append(token)
        await self.flush()
        await asyncio.sleep(0)  # the others have their turn

    def _merge(self, part: Batch, *, asked: bool) -> None:
        if not asked:
            self._unasked += part.records
        self._batch.merge(part)

    def _encode(self, message: Message, part: Batch) -> int:
        """Encode the next few entries; how many of them were not what the protocol says."""
        entries: Iterator[Value] = islice(message.entries, _ENTRIES)
        now = self._desk.clock.wall_ns()
        if signal_of(message.tag) is not None:
            entries = iter([entry for entry in entries if not self._restored(message.tag, entry, now, part)])
        group = part.group(self._desk.envelope)
        return self._encoder.encode(entries, message.tag, message.metadata, now, group)

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
