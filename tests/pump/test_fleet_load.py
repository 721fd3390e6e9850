"""Many hosts and one destination keep to what each exporter states; `bench.fleet_load` with 5,000 is the measurement."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from bench.fleet_load import OUTAGE, SETTLED, Seen, load, watched
from bench.paces import KINDS, NOT_SENDING, Pace, paces
from shipper.pump.load import DISTRIBUTION, load_exporters

HOSTS = 8


def keeps_to_what_is_stated(pace: Pace, seen: Seen) -> None:
    """In whatever seconds one looks, there are no more requests than pace and burst allow; and all that was written is there."""
    end = SETTLED + watched(seen.limits)
    for since, until in combinations(range(end + 1), 2):
        assert seen.requests(since, until) <= seen.allowed(since, until), f"{pace}, second {since} to {until}"
    assert seen.arrived == seen.written > 0, pace


def test_every_exporter_that_sends_is_among_them() -> None:
    """Each kind is named once, and one that is new has to be added, or it is said why not."""
    ours = {name for name, entry in load_exporters().items() if entry.dist and entry.dist.name == DISTRIBUTION}
    assert ours == {*KINDS, *NOT_SENDING}
    assert sorted(kind for pace in paces() for kind in pace.kinds) == sorted(KINDS)


def each_pace(directory: Path, outage: float) -> Iterator[tuple[Pace, Seen]]:
    """What becomes of a few hosts at each pace."""
    for number, pace in enumerate(paces()):
        place = directory / str(number)
        place.mkdir()
        yield pace, load(HOSTS, pace, place, outage)


def test_a_fleet_comes_back_after_an_outage_at_its_pace(tmp_path: Path) -> None:
    """Nobody sends what was saved up while nobody could send; soon all send as often as is stated, and not at the same moments."""
    for pace, seen in each_pace(tmp_path, OUTAGE):
        keeps_to_what_is_stated(pace, seen)
        assert 0 < seen.settled() <= HOSTS * pace.limits.requests_per_second, pace
        assert len(seen.first) == HOSTS, pace
        assert len({round(at, 2) for at in seen.first}) > HOSTS // 2, pace


def test_a_fleet_is_born_within_its_burst(tmp_path: Path) -> None:
    """First words go at once, as many as the burst allows, and then at the pace."""
    for pace, seen in each_pace(tmp_path, 0):
        keeps_to_what_is_stated(pace, seen)
        assert seen.requests(0, SETTLED) > 0 or pace.limits.linger > SETTLED, pace
