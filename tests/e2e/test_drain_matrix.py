"""A few small cells of `bench.drain_matrix`, always: what was written arrived or is named as left, and the audit says the same."""

from __future__ import annotations

import asyncio

import pytest

from bench.drains.cell import run_cell

MB = 1_000_000


@pytest.mark.parametrize(
    ("platform", "sink", "status"),
    [
        ("kubernetes", "healthy", 0),
        ("asg", "healthy", 0),
        ("docker", "flapping", 0),
        ("nomad", "down", 3),
        ("lambda", "fallback", 0),
    ],
)
def test_everything_written_arrived_or_is_named(platform: str, sink: str, status: int) -> None:
    """The exit status tells the outcome, each line is at the sink, in the fallback or in a range that the farewell names, and
    the audit finds what the farewell says."""
    result = asyncio.run(run_cell(platform, 2 * MB, sink))
    assert not result.wrong, result.said
    assert (result.ending.status, result.outcome) == (status, "expired" if status else "drained"), result.said
    assert result.written >= 10_000
    if status:
        assert result.left > 10_000  # the sink went before the backlog came
    else:
        assert result.left == 0
        assert result.arrived + result.in_fallback >= result.written
        assert result.errors == (1, 1)
        assert result.last[0] == result.last[1]
    if platform == "asg":
        assert result.ending.released is not None, result.said
