"""Flushing with a deadline that holds: what may block for ever is done in a thread of its own, which can be left behind.

OpenTelemetry's ``force_flush`` ignores its time-out and exports on the thread that calls it, under a lock; called in a signal
handler while the same thread is in it, it waits for itself. The thread is started early, because a handler must not start
one, and since Python 3.12 nobody can while the interpreter ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Protocol

from shipper.sdk import voice
from shipper.sdk.emit.seam import forget_in_children


class Asked(Protocol):
    """Something that flushes when it is asked."""

    def ask(self) -> threading.Event:
        """Begin; the event is set when that is done."""


class Flusher:
    """Calls ``flush()`` on a daemon thread when asked to. Fork-safe: a child has a thread of its own."""

    def __init__(self, name: str, flush: Callable[[], object]) -> None:
        self._name = name
        self._flush = flush
        self._start()
        forget_in_children(self, Flusher._start)

    def _start(self) -> None:
        # SimpleQueue, because its put may be called by a signal handler that interrupted it
        self._asked: SimpleQueue[threading.Event] = SimpleQueue()
        self._thread = threading.Thread(target=self._loop, args=(self._asked,), name=self._name, daemon=True)
        self._thread.start()

    def _loop(self, asked: SimpleQueue[threading.Event]) -> None:
        while True:
            done = asked.get()
            try:
                self._flush()
            except Exception as error:
                voice.fault(self._name, error)
            done.set()

    def ask(self) -> threading.Event:
        """Begin to flush; the event is set when that is done. Safe in a signal handler."""
        done = threading.Event()
        self._asked.put(done)
        return done


def flush_all(flushers: Sequence[Asked], deadline: float) -> bool:
    """Flush all at the same time; whether all were done by ``deadline`` (monotonic seconds)."""
    asked = [flusher.ask() for flusher in flushers]
    return all(done.wait(max(0.0, deadline - time.monotonic())) for done in asked)
