"""Many hosts and one destination keep to what each exporter states; `bench.fleet_load` with 5,000 is the measurement."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from bench.fleet_load import SETTLED, Seen, load, watched
from bench.paces import KINDS, NOT_SENDING, Pace, paces
from shipper.pump.load import DISTRIBUTION, load_exporters

HOSTS = 8


def keeps_to_what_is_stated(seen: Seen) -> None:
    """In whatever seconds one looks, there are no more requests than pace and burst allow; and all that was written is there."""
    end = SETTLED + watched(seen.limits)
    for since, until in combinations(range(end + 1), 2):
        assert seen.requests(since, until) <= seen.allowed(since, until), f"second {since} to {until}"
    assert seen.arrived == seen.written > 0


def test_every_exporter_that_sends_is_among_them() -> None:
    """Each kind is named once, and one that is new has to be added, or it is said why not."""
    ours = {name for name, entry in load_exporters().items() if entry.dist and entry.dist.name == DISTRIBUTION}
    assert ours == {*KINDS, *NOT_SENDING}
    assert sorted(kind for pace in paces() for kind in pace.kinds) == sorted(KINDS)


@pytest.mark.parametrize("pace", paces(), ids=str)
def test_a_fleet_comes_back_after_an_outage_at_its_pace(pace: Pace, tmp_path: Path) -> None:
    """Nobody sends what was saved up while nobody could send; soon all send as often as is stated, and not at the same moments."""
    seen = load(HOSTS, pace, tmp_path)
    keeps_to_what_is_stated(seen)
    assert 0 < seen.settled() <= HOSTS * pace.limits.requests_per_second
    assert len(seen.first) == HOSTS
    assert len({round(at, 2) for at in seen.first}) > HOSTS // 2


@pytest.mark.parametrize("pace", paces(), ids=str)
def test_a_fleet_is_born_within_its_burst(pace: Pace, tmp_path: Path) -> None:
    """First words go at once, as many as the burst allows, and then at the pace."""
    seen = load(HOSTS, pace, tmp_path, outage=0)
    keeps_to_what_is_stated(seen)
    assert seen.requests(0, SETTLED) > 0 or pace.limits.linger > SETTLED
