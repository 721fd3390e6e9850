"""One connection of the forward protocol: the handshake, then messages, acknowledged when they are stored."""

from __future__ import annotations

import asyncio
from contextlib import closing

import msgpack

from shipper.errors import SpoolFull, StateError
from shipper.events import ConnectionEnded
from shipper.sources.forward.desk import Desk
from shipper.sources.forward.framing import BrokenMessage, Framer
from shipper.sources.forward.handshake import MOST_PING, Handshake, Secrets
from shipper.sources.forward.messages import open_message
from shipper.sources.forward.taking import Taker
from shipper.sources.wire import Wire


class Connection:
    """Serves one client."""

    def __init__(self, desk: Desk, wire: Wire) -> None:
        self._desk = desk
        self._wire = wire
        self._framer = Framer(desk.settings.max_message)
        self._taker = Taker(desk, wire.peer)

    async def serve(self) -> None:
        """Until the client goes, or does something that it must not do."""
        desk = self._desk
        try:
            if desk.settings.secrets is not None:
                await self._let_in(desk.settings.secrets)
            while data := await self._read():
                await self._take(data)
        except BrokenMessage as error:
            self._end(error.cause, str(error))
        except TimeoutError:
            self._end("idle", f"nothing came for {desk.settings.idle:g} s")
        except (SpoolFull, StateError) as error:
            self._end("full" if isinstance(error, SpoolFull) else "disk", str(error))
        finally:
            desk.held -= self._framer.held
            self._taker.acknowledged()

    def _end(self, cause: str, message: str) -> None:
        who = self._wire.peer or "a client on the unix socket"
        self._desk.report(ConnectionEnded(self._desk.name, cause, f"{who}: {message}"))

    async def _read(self) -> bytes:
        async with asyncio.timeout(self._desk.settings.idle or None):
            return await self._wire.read()

    async def _let_in(self, secrets: Secrets) -> None:
        """The handshake. Raises `BrokenMessage` for a client that does not get in."""
        handshake = Handshake(secrets)
        try:
            async with asyncio.timeout(self._desk.settings.handshake):
                self._wire.write(handshake.helo())
                answer, reason = handshake.pong(await self._ping())
                self._wire.write(answer)
                await self._wire.drain()
        except TimeoutError:
            raise BrokenMessage("handshake", "no PING came in time") from None
        if reason:
            raise BrokenMessage("handshake", reason)

    async def _ping(self) -> bytes:
        """The first message; a client sends nothing behind it before it has its answer."""
        framer = Framer(MOST_PING)
        while data := await self._wire.read():
            framer.feed(data)
            with closing(framer.messages()) as messages:
                found = next(messages, None)
            if found is not None:
                if framer.held:
                    raise BrokenMessage("handshake", "a client sent more before it had the answer to its PING")
                return found
        raise BrokenMessage("handshake", "a client left without a PING")

    async def _take(self, data: bytes) -> None:
        """Store all messages that are complete now, also those in front of a broken one, then acknowledge them."""
        desk, held = self._desk, self._framer.held
        desk.last = desk.clock.monotonic()
        desk.busy += 1
        try:
            self._framer.feed(data)
            with closing(self._framer.messages()) as messages:
                for message in messages:
                    opened = open_message(message, desk.settings.max_message)
                    if opened is not None:
                        await self._taker.keep(opened)
            await self._store()
        except BrokenMessage:
            await self._store()
            raise
        finally:
            desk.busy -= 1
            desk.held += self._framer.held - held
        if desk.held > desk.settings.in_flight and self._framer.held > desk.settings.in_flight // _SHARE:
            raise BrokenMessage("busy", f"{desk.held} bytes of unfinished messages are held")

    async def _store(self) -> None:
        await self._taker.flush()
        acks = self._taker.acknowledged()
        if acks:
            self._wire.write(b"".join(map(_ack, acks)))
            await self._wire.drain()


_SHARE = 16  # of what all may hold, one connection may always hold this part


def _ack(chunk: bytes) -> bytes:
    """The answer to a chunk: its id as it came, text where it was text."""
    try:
        return bytes(msgpack.packb({"ack": chunk.decode()}))
    except UnicodeDecodeError:
        return bytes(msgpack.packb({"ack": chunk}))
