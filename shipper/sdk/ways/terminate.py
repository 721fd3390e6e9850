"""SIGTERM where records wait in memory: they are flushed before the process goes, and whoever handled the signal still does.

Only for the ways that queue (``otlp``, ``forward``). The handler itself does next to nothing: it wakes a thread and returns, and
the thread, when all is flushed or the time is over, sends the signal again. So the service goes on for that moment, and no
lock that it holds is waited for. Where the service (or its server) handles the signal itself, its handler is called at
once, and the thread flushes again and again while it shuts down: uvicorn ends by the signal's default action, which runs
nothing any more. Limits: a handler installed later replaces ours, and if that one leaves by ``os._exit``, what is queued
is lost; handlers can only be installed from the main thread.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType
from typing import Any

from shipper.sdk import voice
from shipper.sdk.emit.seam import forget_in_children

_PAUSE = 0.05
_STOPPING = 60.0  # how long a service that handles the signal may take to stop


class Termination:
    """Ours in the chain of SIGTERM handlers. ``flush()`` returns within its own deadline; it is called in a thread.

    ``last_word()`` is called where nothing of the process will run any more.
    """

    def __init__(self, flush: Callable[[], object], last_word: Callable[[], object]) -> None:
        self._flush = flush
        self._last_word = last_word
        self._before: Any = signal.SIG_DFL
        self._flushed = False
        self._pending = 0  # a signal whose default action is still to come
        self._asked: SimpleQueue[int] = SimpleQueue()

    def install(self) -> None:
        """Take our place; the handler that is there now comes after us."""
        if threading.current_thread() is not threading.main_thread():
            voice.say("shipper.init was called outside of the main thread: nothing is flushed on SIGTERM")
            return
        self._before = signal.getsignal(signal.SIGTERM)
        if self._before is signal.SIG_IGN or self._before is None:
            return  # ignored, or handled by something that is not Python and cannot be chained
        self._start()
        forget_in_children(self, Termination._start)
        signal.signal(signal.SIGTERM, self._handle)

    def _start(self) -> None:
        self._asked = SimpleQueue()
        self._flushed = False
        self._pending = 0
        threading.Thread(target=self._loop, args=(self._asked,), name="shipper-sigterm", daemon=True).start()

    def _loop(self, asked: SimpleQueue[int]) -> None:
        number = asked.get()
        try:
            self._flush()
        except Exception as error:
            voice.fault("flushing on SIGTERM", error)
        self._flushed = True
        if callable(self._before):
            self._keep_flushing()
        else:
            self._last_word()
            self._signal_again(number)

    def _signal_again(self, number: int) -> None:
        """Until the process is gone: a signal that meets the main thread on its way into a sleep is not seen there."""
        until = time.monotonic() + _STOPPING
        while time.monotonic() < until:
            os.kill(os.getpid(), number)
            time.sleep(_PAUSE)

    def _keep_flushing(self) -> None:
        until = time.monotonic() + _STOPPING
        while time.monotonic() < until:
            time.sleep(_PAUSE)
            self._flush()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if callable(self._before):
            self._asked.put(number)
            self._before(number, frame)
        elif self._flushed:
            self._die(number)
        else:
            self._pending = number
            self._asked.put(number)

    def at_end(self) -> None:
        """The process ends by itself while its death by a signal was put off: it still dies of the signal."""
        if self._pending and threading.current_thread() is threading.main_thread():
            self._die(self._pending)

    def _die(self, number: int) -> None:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
