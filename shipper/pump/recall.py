"""Calls a request back that waits for its next attempt, so that another may take its place.

Only while it waits, or is being prepared: what is on the wire, in the books or answered is left to come to its end.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class GaveWay(Exception):
    """A request was called back. It is open, and nothing of it is under way."""


class Recall:
    """One delivery's. ``asked``: it shall give way as soon as it waits."""

    __slots__ = ("_wait", "asked")

    def __init__(self) -> None:
        self.asked = False
        self._wait: _Wait | None = None

    def ask(self) -> None:
        """Call it back: at once if it waits, else when its attempt under way has failed."""
        if self.asked:
            return
        self.asked = True
        if self._wait is not None:  # in the next turn: whoever is woken in this one does not wait any more
            asyncio.get_running_loop().call_soon(self._end, self._wait)

    def waiting(self) -> _Wait:
        """Around a wait. Raises `GaveWay` when the request is, or was, called back."""
        return _Wait(self)

    def _waits(self, wait: _Wait | None) -> None:
        self._wait = wait

    def _end(self, wait: _Wait) -> None:
        if self._wait is wait:
            wait.end()


class _Wait:
    """A wait that can be ended from outside, as `asyncio.timeout` does it: there are several to each request."""

    __slots__ = ("_cancelling", "_ended", "_recall", "_task")

    def __init__(self, recall: Recall) -> None:
        self._recall = recall
        self._ended = False

    def end(self) -> None:
        """Break it off."""
        self._ended = True
        self._task.cancel()

    async def __aenter__(self) -> None:
        if self._recall.asked:
            raise GaveWay
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._recall._waits(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._recall._waits(None)
        # Somebody else may have cancelled the task in the same moment, and that goes before.
        if self._ended and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise GaveWay from None
