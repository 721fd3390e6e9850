"""Many hosts drain at once into one destination that was down and now throttles; `bench.stampede` with 500 is the measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.stampede import stampede


@pytest.mark.parametrize("says_when", [True, False])
def test_a_stampede_empties_every_host_in_time(tmp_path: Path, says_when: bool) -> None:
    """All complete, nothing is left, and the destination has hardly more to refuse than to take."""
    fared = stampede(10, rate=5, says_when=says_when, directory=tmp_path)
    assert (fared.drained, fared.missing) == (10, 0)
    assert fared.requests <= 2 * fared.needed
