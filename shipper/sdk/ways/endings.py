"""What has to be done when a process ends, all of it within one deadline.

``atexit`` is not run in children of ``multiprocessing`` and of celery's ``billiard``, which leave by ``os._exit`` after
running their own finalizers; so there we are one of those.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable

from shipper.sdk import voice

EXIT_SECONDS = 1.0
"""How long the end of a process may be held up by us, all ways and signals together."""

_POOLS = ("multiprocessing", "billiard")
_endings: list[Callable[[float], None]] = []
_hooked = False


class _Token:
    """What ``register_after_fork`` holds on to, weakly."""


_token = _Token()


def at_end(ending: Callable[[float], None]) -> None:
    """Have ``ending(deadline)`` called when this process, or a forked child of it, ends. Monotonic seconds."""
    global _hooked
    _endings.append(ending)
    if not _hooked:
        _hooked = True
        atexit.register(_run)
        os.register_at_fork(after_in_child=_in_child)
        _in_worker()


def _run() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    for ending in reversed(_endings):
        try:
            ending(deadline)
        except Exception as error:
            voice.fault("the end of the hand-off", error)


def _in_child() -> None:
    """Ask the pool that forks us, if there is one, to be told when it has cleared what its parent had registered."""
    for pool in _POOLS:
        util = sys.modules.get(f"{pool}.util")
        if util is not None:
            util.register_after_fork(_token, lambda _, util=util: _finalize(util))


def _in_worker() -> None:
    """The same in a worker that is running already."""
    for pool in _POOLS:
        process, util = sys.modules.get(f"{pool}.process"), sys.modules.get(f"{pool}.util")
        parent = getattr(process, "parent_process", None)
        if util is not None and parent is not None and parent() is not None:
            _finalize(util)


def _finalize(util: object) -> None:
    util.Finalize(None, _run, exitpriority=-100)  # type: ignore[attr-defined]
