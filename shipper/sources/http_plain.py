"""One connection of an HTTP listener: plain requests are read and answered here, all others are given to a whole server.

asyncio hands over what came in a buffer that all connections share, so a body is copied once on its way from the kernel,
and memory is taken only for bytes that have arrived. What is not plain (`shipper.sources.http_head`) goes to aiohttp with
its whole connection, from the first byte of that request on.
"""

from __future__ import annotations

import asyncio
import math
import socket
from typing import Protocol

from shipper.sources.body import Held
from shipper.sources.http_head import LONGEST, Head, read_head
from shipper.sources.refusal import Refusal, bad, later

BUFFER = 256 << 10  # bytes read at once: they stay in the processor's cache until they are copied
_AHEAD = 64 << 10  # bytes of further requests that are read while one is being answered
_LINGER = 10.0  # seconds in which the rest of a body may come that nobody wants any more
_POST = b"POST /"
_END = b"\r\n\r\n"


class Place(Protocol):
    """Where the connections of one listener belong."""

    idle_seconds: float
    body_seconds: float
    buffer: memoryview
    connections: set[Plain]

    def admit(self, head: Head) -> Held | None:
        """What a request holds, to be given back to `leave`; None: somebody else has to judge it."""

    def leave(self, held: Held) -> None:
        """A request was answered."""

    async def answer(self, head: Head, held: Held, body: Body) -> bytes:
        """The whole answer to a request that was admitted, whatever becomes of it."""

    def other(self) -> asyncio.Protocol:
        """A server of everything else, for one connection."""


class Body:
    """A body on its way in."""

    def __init__(self, length: int, held: Held) -> None:
        self._missing = length
        self._held = held
        self._pieces: list[bytes] = []
        self._error: Refusal | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def missing(self) -> int:
        """Bytes still to come."""
        return self._missing

    def add(self, data: bytes) -> None:
        """More of it; after a refusal it is only counted."""
        self._missing -= len(data)
        if self._error is None:
            try:
                self._held.take(len(data))
            except Refusal as refusal:
                self.fail(refusal)
                return
            self._pieces.append(data)
            if not self._missing:
                self._wake()

    def fail(self, refusal: Refusal) -> None:
        """It will not be whole."""
        self._error = self._error or refusal
        self._pieces.clear()
        self._wake()

    async def read(self, seconds: float) -> bytes:
        """All of it, once, when it is there. Raises a `Refusal`: broken off, slow, or too much under way."""
        if self._missing and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(seconds):
                    await self._waiter
            except TimeoutError:
                self.fail(later("slow", f"the body did not arrive within {seconds:g} s"))
        if self._error is not None:
            raise self._error
        pieces, self._pieces = self._pieces, []  # or they would be kept until the answer
        return b"".join(pieces)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Plain(asyncio.BufferedProtocol):
    """See the module. A connection is idle, or serves one request; what comes of the next one meanwhile waits."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._ahead = bytearray()  # came, and nobody has looked at it
        self._body: Body | None = None  # the rest of it is what comes next
        self._task: asyncio.Task[None] | None = None
        self._closing = self._choked = self._paused = False
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The request being served."""
        return self._task

    def close(self) -> None:
        """End the connection, after the request that is being served."""
        self._closing = True
        if self._task is None:
            self._transport.close()

    def abort(self) -> None:
        """End it now."""
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    # Called by asyncio -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._place.connections.add(self)
        self._wait(self._place.idle_seconds)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`; what is in it is taken out before anybody else asks for it."""
        return self._place.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        came = self._place.buffer[:nbytes]
        if self._body is not None:
            wanted = min(nbytes, self._body.missing)
            self._receive(bytes(came[:wanted]))
            came = came[wanted:]
        if not came:
            return
        if self._task is not None or self._body is not None or self._choked:
            self._ahead += came
            if len(self._ahead) > _AHEAD and not self._paused:
                self._paused = True
                self._transport.pause_reading()
        elif self._ahead:
            self._ahead += came
            self._look_at_ahead()
        else:
            self._begin(came)

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`: who closes his half may still wait for an answer; TLS knows no halves."""
        self._closing = True
        if self._body is not None:
            self._body.fail(bad("broken_off", "the body broke off: the sender closed the connection"))
        if self._task is None:
            return False
        return self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._closing = True
        self._place.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._body is not None:
            self._body.fail(bad("broken_off", f"the body broke off: {exc or 'the sender closed the connection'}"))

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`: who does not read answers gets no more of them."""
        self._choked = True

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._choked = False
        self._next()

    # One request after the other -------------------------------------------------------------------------------------

    def _begin(self, came: memoryview) -> None:
        """Look at the beginning of a request; the buffer is taken out of use when this returns."""
        beginning = bytes(came[:LONGEST])
        end = beginning.find(_END)
        if end < 0 and len(came) < LONGEST and beginning.startswith(_POST[: len(came)]):
            self._ahead += came
            return
        head = read_head(beginning[: end + 2]) if end >= 0 else None
        held = None if head is None else self._place.admit(head)
        if head is None or held is None:
            self._hand_over(bytes(came))
            return
        self._due = math.inf
        self._body = Body(head.length, held)
        self._task = self._loop.create_task(self._serve(head, held, self._body))
        rest = end + len(_END)
        self._receive(bytes(came[rest : rest + head.length]))
        self._ahead += came[rest + head.length :]

    def _receive(self, data: bytes) -> None:
        body = self._body
        assert body is not None
        if data:
            body.add(data)
        if not body.missing:
            self._body = None
            self._next()

    async def _serve(self, head: Head, held: Held, body: Body) -> None:
        try:
            answer = await self._place.answer(head, held, body)
        finally:
            self._place.leave(held)
            self._task = None
        if not self._transport.is_closing():
            self._transport.write(answer)
        self._next()

    def _next(self) -> None:
        """Go on with what comes behind a request, if it is answered and all of it is here."""
        if self._task is not None or self._transport.is_closing():
            return
        if self._closing:
            self._transport.close()
            return
        if self._body is not None:
            self._wait(_LINGER)
            return
        self._wait(self._place.idle_seconds)
        if self._choked:
            return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._ahead:
            self._look_at_ahead()

    def _look_at_ahead(self) -> None:
        came, self._ahead = self._ahead, bytearray()
        self._begin(memoryview(came))

    def _hand_over(self, data: bytes) -> None:
        """Somebody else serves this connection from now on."""
        if self._timer is not None:
            self._timer.cancel()
        self._place.connections.discard(self)
        other = self._place.other()
        self._transport.set_protocol(other)
        other.connection_made(self._transport)
        other.data_received(data)

    # Time ------------------------------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        """Close the connection unless something is whole by then."""
        self._due = self._loop.time() + seconds
        if self._timer is None or self._due < self._timer.when():
            self._arm(self._due)

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        """A timer is not moved with every request, which costs more than looking now and then."""
        self._timer = None
        now = self._loop.time()
        if now < self._due:
            self._arm(min(self._due, now + self._place.idle_seconds))
        else:
            self._transport.close()
