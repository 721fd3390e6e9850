"""A sidecar of our own, where none is there: a child beside the program, begun again when it dies."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from shipper.clock import Clock
from shipper.signals import STOP_SIGNALS

_PR_SET_PDEATHSIG = 1
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
_STEADY = 60.0  # seconds of life after which a death is a new one
_libc = ctypes.CDLL(None, use_errno=True)


class Companion:
    """``shipper run`` with ``words``. Its end is told by `ended`, since whoever waits for children gets to know it."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], clock: Clock, say: Callable[[str], None]) -> None:
        self._command = [sys.executable, "-m", "shipper", "run", *words]
        self._env = dict(env)
        self._clock = clock
        self._say = say
        self.stopping = False
        self._wait = _FIRST_WAIT
        self._begun_at = 0.0
        self._again_at: float | None = None
        self.pid = 0
        self.status: int | None = None  # of the one that was told to stop
        self._begin()

    @property
    def running(self) -> bool:
        """Whether it is there now."""
        return self.pid > 0

    def _begin(self) -> None:
        self._begun_at, self._again_at = self._clock.monotonic(), None
        process = subprocess.Popen(
            self._command, env=self._env, stdin=subprocess.DEVNULL, stdout=2, process_group=0, preexec_fn=_as_a_child
        )
        process.returncode = 0  # it is waited for with all other children; this object has no further say
        self.pid = process.pid

    def look(self) -> None:
        """Begin again what died, after a while."""
        if self._again_at is not None and self._clock.monotonic() >= self._again_at:
            self._begin()

    def ended(self, status: int) -> None:
        """It is gone; ``status`` as a shell has it."""
        self.pid = 0
        if self.stopping:
            self.status = status
            return
        now = self._clock.monotonic()
        self._wait = _FIRST_WAIT if now - self._begun_at >= _STEADY else min(2 * self._wait, _LONGEST_WAIT)
        self._again_at = now + self._wait
        self._say(f"the sidecar ended with {status}; the program is not touched, another begins in {self._wait:g} s")

    def stop(self) -> None:
        """Have it ship what there is and end. One that is not there begins once more for it."""
        self.stopping = True
        if not self.pid:
            self._begin()
        os.kill(self.pid, signal.SIGTERM)


def _as_a_child() -> None:
    """In the new process: stops are held back until it can take them, and the end of who waits for it is told as one."""
    signal.pthread_sigmask(signal.SIG_SETMASK, STOP_SIGNALS)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
