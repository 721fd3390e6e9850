"""Group commit: one thread makes what was written durable, and everyone who waited for it shares the one fsync."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from shipper.errors import StateError
from shipper.events import Problem, Reporter
from shipper.intervals import IntervalSet


@dataclass(frozen=True, slots=True)
class Unsynced:
    """What has to reach the disk so that everything below ``end`` is durable. The descriptors belong to the receiver."""

    end: int
    data: list[int]
    directory: int | None


class Syncer:
    """Runs fsync in a thread of its own, started with the first need.

    ``collect`` is called in that thread and says what is to be synced; ``interval`` None means that somebody waits for
    each sync (policy ``always``), a number that a sync follows this many seconds after a write.
    """

    def __init__(
        self, collect: Callable[[], Unsynced], interval: float | None, start: int, name: str, report: Reporter
    ) -> None:
        self._collect = collect
        self._interval = interval
        self._name = name
        self._report = report
        self._changed = threading.Condition()
        self._wanted = start
        self._failed = IntervalSet()
        self._waiters: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._thread: threading.Thread | None = None
        self._closing = False
        self.synced = start  # everything below is durable, or was said to have failed

    def want(self, position: int) -> None:
        """Have everything below ``position`` synced: soon (interval) or at once."""
        with self._changed:
            self._want(position)

    async def reached(self, position: int) -> None:
        """Return when everything below ``position`` is durable. Raises `StateError` when the disk refused that."""
        loop = asyncio.get_running_loop()
        with self._changed:
            if self._failed and self._failed.overlaps(position - 1, position):
                raise self._refused()
            if self.synced >= position:
                return
            future = loop.create_future()
            self._waiters.append((position, loop, future))
            self._want(position)
        await future

    def close(self) -> None:
        """Sync what is still wanted and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _want(self, position: int) -> None:
        if position <= self._wanted:
            return
        idle = self._wanted <= self.synced
        self._wanted = position
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"fsync {self._name}", daemon=True)
            self._thread.start()
        if idle:  # else it looks anyway when it is done, and waking a thread costs as much as writing a frame
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._wanted > self.synced)
                if self._wanted <= self.synced:
                    return
                if self._interval is not None:
                    self._changed.wait_for(lambda: self._closing, timeout=self._interval)
                wanted = self._wanted
            end, failure = self._sync_once(wanted)
            if failure is not None:
                message = (
                    f"spool {self._name}: the disk refused fsync ({failure.strerror}); senders are asked to send again"
                )
                self._report(Problem("spool_fsync", message, self._name))
            self._done(end, failure)

    def _sync_once(self, wanted: int) -> tuple[int, OSError | None]:
        try:
            unsynced = self._collect()
        except OSError as error:  # no descriptor left to sync with
            return wanted, error
        return unsynced.end, _sync(unsynced)

    def _done(self, end: int, failure: OSError | None) -> None:
        with self._changed:
            if failure is not None:
                # The kernel may have dropped the pages and call the next fsync a success; so this range never counts.
                self._failed.add(self.synced, end)
            self.synced = end
            self._wanted = max(self._wanted, end)
            due = [waiter for waiter in self._waiters if waiter[0] <= end]
            self._waiters = [waiter for waiter in self._waiters if waiter[0] > end]
        for _, loop, future in due:
            with contextlib.suppress(RuntimeError):  # its loop was closed meanwhile: nobody waits any more
                loop.call_soon_threadsafe(_answer, future, None if failure is None else self._refused())

    def _refused(self) -> StateError:
        return StateError(f"spool {self._name}: the disk refused to make the records durable; nothing was accepted")


def _answer(future: asyncio.Future[None], error: StateError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _sync(unsynced: Unsynced) -> OSError | None:
    """Sync and close all descriptors; the first error, if any."""
    failure: OSError | None = None
    for descriptor in unsynced.data:
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            failure = failure or error
        finally:
            os.close(descriptor)
    if unsynced.directory is not None:
        try:
            os.fsync(unsynced.directory)
        except OSError as error:
            failure = failure or error
    return failure
