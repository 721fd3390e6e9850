"""The stream that numbers leave by: a small spool of OTLP metrics requests, shipped as any other stream is.

It is opened with the first numbers, so that a host without any has no stream, and again at the next start while a
destination may still be owed something.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from shipper.contracts import Hub, Signal, StreamKind
from shipper.events import Reporter
from shipper.ledger import Ledger, LedgerThread, StreamRow
from shipper.measure.samples import Samples
from shipper.spool import FrameHeader, Fsync, Spool, SpoolStream

NAME = "metrics"
LIFE = "metrics-life"
"""The name of the stream that the end of a life's series leaves by: no account counts it, so it may be written last."""

SOURCE = "measure"
SEGMENT_BYTES = 1 << 20


class MetricsStream:
    """Appends samples. Older ones are superseded by newer ones, so at its limit the oldest are given up, and counted."""

    def __init__(
        self,
        directory: str,
        *,
        life: str,
        hub: Hub,
        ledger: LedgerThread,
        destinations: Sequence[str],
        max_bytes: int,
        report: Reporter,
        name: str = NAME,
        kind: StreamKind = StreamKind.DATA,
    ) -> None:
        self._name = name
        self._kind = kind
        self._directory = directory
        self._life = life
        self._hub = hub
        self._ledger = ledger
        self._destinations = tuple(destinations)
        self._max_bytes = max_bytes
        self._report = report
        self._spool: Spool | None = None
        self._stream: SpoolStream | None = None
        self._opening = asyncio.Lock()

    async def reopen(self) -> None:
        """Announce the stream if an earlier run had one. Raises `StateError`."""
        if os.path.isdir(self._directory):
            await self._open()

    @property
    def exists(self) -> bool:
        """Whether something was ever written to it."""
        return self._stream is not None

    async def write(self, samples: Samples, time_ns: int) -> None:
        """Append one request. Raises `SpoolFull` and `StateError`: then nothing was written."""
        if not samples.points:
            return
        stream, spool = await self._open()
        spool.append(FrameHeader(samples.points, samples.metrics, time_ns).encode(), samples.payload)
        self._hub.ready(stream)

    def close(self) -> None:
        """Close the spool."""
        if self._spool is not None:
            self._spool.close()

    async def _open(self) -> tuple[SpoolStream, Spool]:
        async with self._opening:
            if self._spool is None or self._stream is None:
                self._spool, self._stream = await self._announce()
            return self._stream, self._spool

    async def _announce(self) -> tuple[Spool, SpoolStream]:
        spool = self._spool or Spool.open(
            self._directory,
            name=self._name,
            fsync=Fsync.NEVER,  # a sample survives the process; when the host dies the disk goes too
            segment_bytes=SEGMENT_BYTES,
            max_bytes=self._max_bytes,
            policy="drop_oldest",
            report=self._report,
        )
        self._spool = spool  # held from here on, whatever the ledger says
        stream = SpoolStream(
            spool, id=self._name, signal=Signal.METRICS, kind=self._kind, life=self._life, name=self._name
        )
        row = StreamRow(stream.id, stream.kind, stream.signal, SOURCE, stream.name, stream.start)
        stream.start, used = await self._ledger.call(_known, row, self._destinations)
        spool.skip_to(
            used
        )  # what a power cut took from the spool was perhaps sent: its positions are not given away again
        self._hub.add(stream)
        return spool, stream


def _known(ledger: Ledger, row: StreamRow, destinations: Sequence[str]) -> tuple[int, int]:
    """Make the stream known; where it began, and the position up to which it was ever cut."""
    start = ledger.put_shrinking(row).start
    return start, max((ledger.cursor(name, row.id).reach for name in destinations), default=start)
