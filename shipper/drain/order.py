"""What a drain is told, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from shipper.drain.state import State


@dataclass(frozen=True, slots=True)
class Order:
    """Why and how to drain.

    ``reason``: "SIGTERM", "shipper drain", a notice's source. ``ends_life``: whether the disk goes too, with the evidence
    for it in ``why``. ``stop``: somebody waits for the exit; False where only a notice began the drain, which may be taken back.
    ``guessed``: nobody stated the deadline, it is what the platform usually gives.
    """

    reason: str
    ends_life: bool
    why: str
    stop: bool = True
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a drain ended: ``DRAINED``, ``EXPIRED``; or the run goes on: ``RUNNING`` when it was taken back, ``NOTICED`` when
    nobody said stop and the host outlived a deadline that was a guess.

    ``fallback``: the destination that took over what the others could not, or empty. ``writing``: services were still
    writing; for a `DRAINED` outcome that is a farewell ahead of time, and another one may follow it.
    """

    state: State
    order: Order
    fallback: str = ""
    writing: bool = False

    @property
    def exit_code(self) -> int:
        """0 drained, 3 expired. A run that goes on has none, and 3 would be the truth if it ended here."""
        return 0 if self.state is State.DRAINED else 3
