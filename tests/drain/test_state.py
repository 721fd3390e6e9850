"""The drain's table: every cell is decided on purpose."""

from __future__ import annotations

import pytest

from shipper.drain.state import FINAL, TABLE, DrainState, Input, State


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("happened", Input)
def test_every_cell_of_the_table_is_decided(state: State, happened: Input) -> None:
    """No state meets an input that nobody thought of."""
    assert (state, happened) in TABLE


R, N, D, E, X = State.RUNNING, State.NOTICED, State.DRAINING, State.DRAINED, State.EXPIRED
CELLS = {  # one row for each state, one column for each input
    #    NOTICE WITHDRAWN STOP EMPTY DEADLINE ABORT OUTLIVED
    R: (N, R, D, R, R, X, R),
    N: (N, R, D, N, N, X, N),
    D: (D, R, D, E, X, X, N),
    E: (E, E, E, E, E, E, E),
    X: (X, X, X, X, X, X, X),
}


@pytest.mark.parametrize("state", State)
def test_every_cell_is_as_designed(state: State) -> None:
    """Each state answers each input as the design says, and not by chance."""
    assert tuple(TABLE[(state, happened)] for happened in Input) == CELLS[state]


@pytest.mark.parametrize("final", sorted(FINAL))
@pytest.mark.parametrize("happened", Input)
def test_what_is_over_stays_over(final: State, happened: Input) -> None:
    """A drained or expired run never comes back to life."""
    assert TABLE[(final, happened)] is final


@pytest.mark.parametrize(
    ("inputs", "end"),
    [
        ([Input.STOP, Input.EMPTY], State.DRAINED),
        ([Input.STOP, Input.DEADLINE], State.EXPIRED),
        ([Input.STOP, Input.ABORT], State.EXPIRED),
        ([Input.NOTICE, Input.WITHDRAWN], State.RUNNING),
        ([Input.NOTICE, Input.DEADLINE], State.NOTICED),
        ([Input.NOTICE, Input.STOP, Input.WITHDRAWN], State.RUNNING),
        ([Input.NOTICE, Input.STOP, Input.WITHDRAWN, Input.STOP, Input.EMPTY], State.DRAINED),
        ([Input.STOP, Input.STOP, Input.NOTICE], State.DRAINING),
        ([Input.EMPTY], State.RUNNING),
    ],
)
def test_a_story_ends_where_the_table_says(inputs: list[Input], end: State) -> None:
    """A drain, a lost one, an aborted one, a withdrawn notice, a drain taken back, and a stop that is said twice."""
    drain = DrainState()
    for happened in inputs:
        drain.on(happened)
    assert drain.state is end
