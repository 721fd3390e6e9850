"""Places for requests in hand: cut or read again, and not yet in the exporter's own form. The destinations of a process share them.

A request weighs most then: its bytes before compression, and whatever an exporter builds of them before it is compressed. What
was cut has to be somewhere, so a place is taken before cutting, and as there are few places, memory does not grow with the
number of destinations (`python -m bench export-together`). It costs no speed: Python does one such thing at a time anyway.
"""

from __future__ import annotations

import asyncio

from shipper.pump.gather import Contents

PLACES = 3
EACH = 2  # fewer than there are: an exporter that never comes back from its work holds up nobody but itself


class Workbench:
    """One for all pumps of a process."""

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(PLACES)

    def desk(self) -> Desk:
        """One destination's part of it."""
        return Desk(self)


class Desk:
    """Where one destination takes places."""

    def __init__(self, bench: Workbench) -> None:
        self._every = bench.places
        self._own = asyncio.Semaphore(EACH)

    async def place(self) -> Place:
        """A place, when one is free: who asked first is first."""
        place = Place(self._own, self._every)
        await place.enter()
        return place


class Place:
    """One request's. It is left when the request's bytes are let go, and may be left more often than that."""

    __slots__ = ("_every", "_own", "_taken")

    def __init__(self, own: asyncio.Semaphore, every: asyncio.Semaphore) -> None:
        self._own = own
        self._every = every
        self._taken = False

    async def enter(self) -> None:
        """Take it (again), when one is free; at once where it was not left."""
        if self._taken:
            return
        await self._own.acquire()
        try:
            await self._every.acquire()
        except BaseException:
            self._own.release()
            raise
        self._taken = True

    def leave(self) -> None:
        """Let somebody else have it."""
        if self._taken:
            self._taken = False
            self._every.release()
            self._own.release()


class InHand:
    """The bytes of one request, as long as they are needed, and the place that they take. Without any they have to be read."""

    __slots__ = ("contents", "place")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.contents: Contents | None = None

    def let_go(self) -> None:
        """They are not needed now."""
        self.contents = None
        self.place.leave()
