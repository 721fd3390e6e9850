"""Calls a request back that waits for its next attempt, so that another may take its place.

Only while it waits, or is being prepared: what is on the wire, in the books or answered is left to come to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class GaveWay(Exception):
    """A request was called back. It is open, and nothing of it is under way."""


class Recall:
    """One delivery's. ``asked``: it shall give way as soon as it waits."""

    __slots__ = ("_scope", "asked")

    def __init__(self) -> None:
        self.asked = False
        self._scope: asyncio.Timeout | None = None

    def ask(self) -> None:
        """Call it back: at once if it waits, else when its attempt under way has failed."""
        if self.asked:
            return
        self.asked = True
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Around a wait. Raises `GaveWay` when the request is, or was, called back."""
        if self.asked:
            raise GaveWay
        scope = asyncio.timeout(None)  # never by itself: `ask` ends it
        try:
            async with scope:
                self._scope = scope
                yield
        except TimeoutError:
            if scope.expired():
                raise GaveWay from None
            raise
        finally:
            self._scope = None
