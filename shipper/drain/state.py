"""The states of a drain, as one table. Everything about state is in this file, and this file knows nothing else.

::

    RUNNING ──notice──> NOTICED ──stop──> DRAINING ──empty────> DRAINED
       ^                   │                │ │ └──deadline───> EXPIRED
       ├────withdrawn──────┘                │ └────abort──────> EXPIRED
       └────withdrawn (no stop was said)────┘
                           ^                │
                           └──outlived──────┘  (no stop was said, and the deadline was a guess)
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a run stands between birth and farewell."""

    RUNNING = "running"
    NOTICED = "noticed"  # word came that the host will die; shipping harder, not stopping
    DRAINING = "draining"  # told to stop, or that the end is imminent; everything left is being sent
    DRAINED = "drained"  # nothing is left
    EXPIRED = "expired"  # the deadline came, or somebody lost patience; the farewell names what is left


class Input(StrEnum):
    """What can happen to a run."""

    NOTICE = "notice"
    WITHDRAWN = "withdrawn"
    STOP = "stop"  # a drain begins: somebody said stop, or an imminent notice stands
    EMPTY = "empty"
    DEADLINE = "deadline"
    ABORT = "abort"
    OUTLIVED = "outlived"  # the deadline was only what the platform usually gives, and it passed without a stop


FINAL = frozenset({State.DRAINED, State.EXPIRED})

TABLE: dict[tuple[State, Input], State] = {
    (State.RUNNING, Input.NOTICE): State.NOTICED,
    (State.RUNNING, Input.WITHDRAWN): State.RUNNING,
    (State.RUNNING, Input.STOP): State.DRAINING,
    (State.RUNNING, Input.EMPTY): State.RUNNING,
    (State.RUNNING, Input.DEADLINE): State.RUNNING,
    (State.RUNNING, Input.ABORT): State.EXPIRED,
    (State.NOTICED, Input.NOTICE): State.NOTICED,
    (State.NOTICED, Input.WITHDRAWN): State.RUNNING,
    (State.NOTICED, Input.STOP): State.DRAINING,
    (State.NOTICED, Input.EMPTY): State.NOTICED,
    # A notice's deadline that passes without a stop: the platform did not do what it said. Shipping goes on.
    (State.NOTICED, Input.DEADLINE): State.NOTICED,
    (State.NOTICED, Input.ABORT): State.EXPIRED,
    # Further notices move the deadline of a drain under way.
    (State.DRAINING, Input.NOTICE): State.DRAINING,
    # Only said where a notice alone began the drain: after a stop somebody waits for the exit, and nothing takes it back.
    (State.DRAINING, Input.WITHDRAWN): State.RUNNING,
    (State.DRAINING, Input.STOP): State.DRAINING,
    (State.DRAINING, Input.EMPTY): State.DRAINED,
    (State.DRAINING, Input.DEADLINE): State.EXPIRED,
    (State.DRAINING, Input.ABORT): State.EXPIRED,
    # The platform did not do what it usually does by then: the run goes on, as noticed as before.
    (State.DRAINING, Input.OUTLIVED): State.NOTICED,
    (State.RUNNING, Input.OUTLIVED): State.RUNNING,
    (State.NOTICED, Input.OUTLIVED): State.NOTICED,
    **{(final, happened): final for final in FINAL for happened in Input},
}


class DrainState:
    """The one holder of the state; ``on`` is the only way it changes."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = State.RUNNING

    @property
    def state(self) -> State:
        """Where the run stands now."""
        return self._state

    def on(self, happened: Input) -> State:
        """Move by the table and return the new state."""
        self._state = TABLE[(self._state, happened)]
        return self._state
