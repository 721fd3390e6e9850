"""Runs a program to its end: hands signals on, reaps what is left behind, says how it ended.

One thread waits for signals (which are blocked and taken one by one, so none is lost and none interrupts anything); the end
of a child is one of them. As process 1 it gets everybody's orphans.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shipper.clock import Clock
from shipper.handoff.jobs import Ended, Outcome, write_end
from shipper.runner.companion import Companion
from shipper.runner.copy import Copy
from shipper.runner.place import Place
from shipper.runner.space import Space

TICK = 0.25
COPY_SECONDS = 2.0  # for whoever reads our output, once the program has ended
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells have it
_OWN_FAULTS = {
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGSEGV,
    signal.SIGSYS,
}
_BY_TERMINALS = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
WATCHED = signal.valid_signals() - _OWN_FAULTS - _BY_TERMINALS - {signal.SIGKILL, signal.SIGSTOP}
_FROM_TERMINALS = {
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGWINCH,
}  # every process of a terminal gets them


@dataclass(frozen=True, slots=True)
class Manner:
    """How to run it. ``max_bytes``: its output on disk; ``wait``: seconds it may be stopped for before the oldest goes.

    ``to_group``: signals go to the program's whole process group. ``copy``: show its output as well.
    """

    max_bytes: int
    wait: float = 0.0
    to_group: bool = False
    copy: bool = True


class Supervisor:
    """One program. ``companion`` makes a sidecar of our own where none is there (None: one is).

    ``kept`` gives the signals that came before anything could be done with them."""

    def __init__(
        self,
        place: Place,
        manner: Manner,
        clock: Clock,
        say: Callable[[str], None],
        companion: Callable[[], Companion | None],
        kept: Callable[[], Sequence[int]],
    ) -> None:
        self._place = place
        self._manner = manner
        self._clock = clock
        self._say = say
        self._make_companion = companion
        self._companion: Companion | None = None
        self._kept = kept
        self._child = 0
        self._status: int | None = None
        self._terminal = _at_a_terminal()

    def run(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        """Run ``command`` to its end; its status, 128 and the number for a signal, as shells have it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        begun = self._clock.monotonic()
        try:
            self._child = self._spawn(command, env)
        except (OSError, ValueError) as problem:
            self._fail(f"{command[0]} cannot be run: {getattr(problem, 'strerror', None) or problem}")
            self._status = NOT_FOUND if isinstance(problem, FileNotFoundError) else NOT_EXECUTABLE
        self._place.let_go()
        outputs = self._place.outputs
        shown = self._manner.copy and self._child
        copies = [Copy(outputs["stdout"], 1), Copy(outputs["stderr"], 2)] if shown else []
        self._companion = self._make_companion()
        space = Space(
            self._place.directory,
            outputs,
            self._manner.max_bytes,
            self._manner.wait,
            self._pause,
            self._say,
            self._clock,
        )
        for number in self._kept():
            self._forward(number)
        while self._status is None:
            self._next_signal()
            self._look(space)
        status = self._status
        self._end(status, self._clock.monotonic() - begun)
        for copy in copies:
            copy.finish(COPY_SECONDS)
        self._finish_companion()
        return status

    def _fail(self, why: str) -> None:
        """The program never ran. That is a run that failed: who looks for it looks where its output would be."""
        self._say(why)
        os.write(self._place.outputs["stderr"], f"shipper exec: {why}\n".encode())

    def _spawn(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        outputs = self._place.outputs
        actions = [(os.POSIX_SPAWN_DUP2, outputs["stdout"], 1), (os.POSIX_SPAWN_DUP2, outputs["stderr"], 2)]
        group: dict[str, Any] = {} if self._terminal else {"setpgroup": 0}  # at a terminal, keys are for it too
        return os.posix_spawnp(
            command[0], list(command), dict(env), file_actions=actions, setsigmask=(), setsigdef=WATCHED, **group
        )

    def _next_signal(self) -> None:
        info = signal.sigtimedwait(WATCHED, TICK)
        if info is None:
            return
        if info.si_signo == signal.SIGCHLD:
            self._reap()
        else:
            self._forward(info.si_signo)

    def _reap(self) -> None:
        """Wait for every child that ended: the program, the sidecar, and as process 1 anybody's orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code
            if pid == self._child:
                self._status = code
            elif self._companion is not None and pid == self._companion.pid:
                self._companion.ended(code)

    def _forward(self, number: int) -> None:
        if self._status is not None or (self._terminal and number in _FROM_TERMINALS):
            return
        self._kill(number)
        if os.getpid() == 1 and number == signal.SIGTERM and self._companion is not None and self._companion.running:
            # The container ends, and the time it has left runs for the sidecar too. It reads on until the program is gone.
            self._companion.stop()

    def _kill(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if self._manner.to_group and not self._terminal:
                os.killpg(self._child, number)
            else:
                os.kill(self._child, number)

    def _pause(self, stop: bool) -> None:
        with suppress(ProcessLookupError):
            if self._terminal:
                os.kill(self._child, signal.SIGSTOP if stop else signal.SIGCONT)
            else:
                os.killpg(self._child, signal.SIGSTOP if stop else signal.SIGCONT)

    def _look(self, space: Space) -> None:
        try:
            space.look()
        except OSError as problem:
            self._say(f"its output cannot be bounded: {problem.strerror}")
        if self._companion is not None:
            self._companion.look()

    def _end(self, status: int, seconds: float) -> None:
        outcome: Outcome = "failure" if status else "success"
        try:
            write_end(self._place.directory, self._place.job, Ended(outcome, status, seconds, time.time_ns()))
        except OSError as problem:
            self._say(f"its end cannot be noted in {self._place.path}: {problem.strerror}")

    def _finish_companion(self) -> None:
        """Have our own sidecar ship the rest; stop signals that come meanwhile are for it."""
        companion = self._companion or self._make_companion()  # the one that was there may have gone meanwhile
        if companion is None:
            return
        self._companion = companion
        if not companion.stopping:
            companion.stop()
        while companion.status is None:
            info = signal.sigtimedwait(WATCHED, TICK)
            if info is None:
                continue
            if info.si_signo == signal.SIGCHLD:
                self._reap()
            elif info.si_signo in (signal.SIGTERM, signal.SIGINT) and companion.running:
                os.kill(companion.pid, info.si_signo)
        if companion.status:
            self._say(
                f"the sidecar ended with {companion.status}: not all was shipped; what is left stays in {self._place.path}"
            )


def _at_a_terminal() -> bool:
    """Whether a terminal's keys are for us, and so for the program too."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
