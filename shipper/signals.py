"""Stop signals, from the first moment on: one that comes while the program is still being loaded is kept, not deadly.

Loading takes a good part of a second. A host that is told to stop just after it was born still has last words to ship,
so the command line installs this before it imports the rest, and the sidecar takes over what was kept.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_kept: list[str] = []


def keep_stop_signals() -> None:
    """From now on note stop signals instead of ending."""

    def note(number: int, frame: FrameType | None) -> None:
        _kept.append(signal.Signals(number).name)

    for number in STOP_SIGNALS:
        signal.signal(number, note)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # whoever started us may have held them back until now


def take_over(loop: asyncio.AbstractEventLoop, stop: Callable[[str], None]) -> None:
    """Call ``stop`` with the name of every stop signal, those kept so far first."""
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop, number.name)
    for name in _kept:
        loop.call_soon(stop, name)
    _kept.clear()


def kept() -> list[int]:
    """The numbers of the stop signals kept so far, for who hands them on; they are kept no longer."""
    found = [signal.Signals[name].value for name in _kept]
    _kept.clear()
    return found
