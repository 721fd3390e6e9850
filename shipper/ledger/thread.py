"""The ledger off the event loop: one thread owns it, and calls that queue up meanwhile share one COMMIT.

A COMMIT costs a few system calls, and the odd one waits for a disk. Neither may hold up reading and sending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

from shipper.errors import StateError
from shipper.ledger.ledger import Ledger

P = ParamSpec("P")
T = TypeVar("T")

GROUP = 256  # calls in one transaction at most, so that the first does not wait for ever


class _Call:
    """A call under way: what to do, who waits, and what came of it."""

    __slots__ = ("error", "future", "loop", "result", "run")

    def __init__(self, run: Callable[[Ledger], Any]) -> None:
        self.run = run
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.result: Any = None
        self.error: Exception | None = None


class LedgerThread:
    """One worker thread that owns a ledger. Calls are carried out in the order they were made."""

    def __init__(self, ledger: Ledger) -> None:
        """Take the ledger over; nobody else may use it from now on."""
        self._ledger = ledger
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._closed = False
        # A daemon: a sidecar that dies of a bug must not hang on this thread; a transaction cut short is as if never begun.
        self._thread = threading.Thread(target=self._work, name="shipper-ledger", daemon=True)
        self._thread.start()

    async def call(self, fn: Callable[Concatenate[Ledger, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(ledger, ...)`` as one transaction, for example ``await thread.call(Ledger.get, "life")``.

        Returns after the COMMIT. Raises what ``fn`` raised (then it changed nothing), or `LedgerFull` when the transaction could
        not be written (then none of the calls in it happened). ``fn`` touches nothing but the ledger and its arguments. A caller
        that is cancelled does not stop its call. Raises RuntimeError after `aclose`.
        """
        if self._closed:
            raise RuntimeError("the ledger is closed")
        call = _Call(partial(_apply, fn, args, kwargs))
        self._queue.put(call)
        result: T = await call.future
        return result

    async def aclose(self) -> None:
        """Carry out what is queued, close the ledger, end the thread. May be called again."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        """The thread: take what is there, carry it out together, answer, until told to end."""
        closing = False
        while not closing:
            group: list[_Call] = []
            item = self._queue.get()
            while item is not None:
                group.append(item)
                if len(group) == GROUP:
                    break
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
            closing = item is None
            if group:
                self._carry_out(group)
                _answer(group)
        self._ledger.close()

    def _carry_out(self, group: list[_Call]) -> None:
        """One transaction for all; a call that fails is undone alone, a COMMIT that fails fails them all."""
        try:
            with self._ledger.transaction():
                for call in group:
                    self._carry_out_one(call)
        except Exception as error:  # whatever it is, those who wait must hear of it
            for call in group:
                call.error = error

    def _carry_out_one(self, call: _Call) -> None:
        """One call inside the group's transaction. Raises only what makes the whole group fail."""
        try:
            with self._ledger.transaction():
                call.result = call.run(self._ledger)
        except StateError:
            raise  # the file cannot be written, or is damaged: true for everyone
        except Exception as error:
            call.error = error


def _apply(fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], ledger: Ledger) -> T:
    return fn(ledger, *args, **kwargs)


def _answer(group: list[_Call]) -> None:
    """Hand the outcomes to the loops that wait, one wake-up for each loop."""
    for loop in {call.loop for call in group}:
        mine = [call for call in group if call.loop is loop]
        if not loop.is_closed():  # else nobody waits any more
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(calls: list[_Call]) -> None:
    for call in calls:
        if call.future.done():  # the caller was cancelled
            continue
        if call.error is not None:
            call.future.set_exception(call.error)
        else:
            call.future.set_result(call.result)
