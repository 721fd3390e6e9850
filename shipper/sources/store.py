"""From a receiver that makes its own records to the spool: what it does when there is no room, in one place.

A sender that waits for an acknowledgement, or that can be made to wait by not reading from it, is made to wait. A sender
that cannot (a datagram's) has its message dropped, and counted by the caller.
"""

from __future__ import annotations

from shipper.clock import Clock
from shipper.contracts import Hub
from shipper.errors import SpoolFull
from shipper.events import Problem, Received, Reporter
from shipper.spool import FrameHeader, Spool, SpoolStream

RETRY = 0.5  # seconds until room is looked for again
_AROUND = 4096  # bytes of a frame besides its payload, at most


class RecordStore:
    """One spool of a receiver, and the stream that it is. The spool stays the caller's to close."""

    def __init__(
        self,
        receiver: str,
        spool: Spool,
        stream: SpoolStream,
        *,
        most: int,
        hub: Hub,
        clock: Clock,
        report: Reporter,
    ) -> None:
        """``most``: bytes that the spool may hold; a larger request is never waited with."""
        self.spool = spool
        self._most = most
        self._receiver = receiver
        self._stream = stream
        self._hub = hub
        self._clock = clock
        self._report = report
        self.stopping = False
        self.waiting = 0  # callers that wait for room

    def announce(self) -> None:
        """Tell the hub of the stream."""
        self._hub.add(self._stream)

    def stop(self) -> None:
        """From now on nobody waits for room."""
        self.stopping = True

    def offer(self, payload: bytes, records: int, observed_ns: int, tokens: tuple[str, ...] = ()) -> int:
        """Append a request of so many records; the position behind it. Raises `SpoolFull`: nothing was accepted."""
        header = FrameHeader(records, records, observed_ns, tokens=tokens)
        _, end = self.spool.append(header.encode(), payload)
        self._report(Received(self._receiver, self._stream.signal.value, records))
        self._hub.ready(self._stream)
        return end

    async def put(self, payload: bytes, records: int, observed_ns: int, tokens: tuple[str, ...] = ()) -> int:
        """Append, waiting for room as long as it takes; return the position behind it when it is durable.

        Raises `SpoolFull` when there is no room and the receiver is stopping, `StateError` when the disk refused: in
        either case the sender must not be told that it was taken.
        """
        while True:
            try:
                end = self.offer(payload, records, observed_ns, tokens)
                break
            except SpoolFull as error:
                if self.stopping or len(payload) + _AROUND > self._most:
                    raise
                self._report(Problem("receiver_full", f"{self._receiver}: senders wait: {error}", self._receiver))
            self.waiting += 1
            try:
                await self._clock.sleep(RETRY)
            finally:
                self.waiting -= 1
        await self.spool.durable(end)
        return end
