"""Running a deploy command between its start and its end being told, without getting in its way.

The command gets our standard input, output and error as they are, every signal that a pipeline may send, and begins at once:
what is told of it is told by another thread meanwhile.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

_TO_ALL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGWINCH)  # what a terminal tells every process in it
FORWARDED = (*_TO_ALL, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells have it


class Aside:
    """Work done by another thread, which is waited for only as long as one can bear."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as problem:
            self._problem = problem  # raised again where it is waited for

    def wait(self, seconds: float) -> bool:
        """True when it is done. Raises what it raised."""
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            return False
        if self._problem is not None:
            raise self._problem
        return True


def run(command: Sequence[str], env: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Run ``command`` to its end; its exit status, 128 and the number for a signal, as a shell reports it."""
    waiting: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def forward(number: int, _: FrameType | None) -> None:
        if number in told:
            return
        if child is None:
            waiting.append(number)  # it came before the command ran
        else:
            child.send_signal(number)

    told = _TO_ALL if _at_a_terminal() else ()  # the command has these from the terminal itself
    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        try:
            child = subprocess.Popen(command, env=dict(env))
        except FileNotFoundError:
            say(f"{command[0]}: not found")
            return NOT_FOUND
        except (OSError, ValueError) as problem:
            say(f"{command[0]}: cannot be run: {problem}")
            return NOT_EXECUTABLE
        for number in waiting:
            child.send_signal(number)
        status = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _at_a_terminal() -> bool:
    """Whether a terminal's keys are for us, and so for the command too."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
