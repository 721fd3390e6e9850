"""A look at a real Prometheus: what is counted is what was served, and what cannot be told is said."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from shipper.cli.verdict import SERIES
from shipper.errors import ConfigError
from shipper.fleet.verdict.client import Client, Found
from shipper.fleet.verdict.look import look
from shipper.fleet.verdict.model import Judgement, Kind
from shipper.fleet.verdict.queries import Asked
from shipper.fleet.verdict.words import lines, sentence
from shipper.testing import prometheus
from shipper.testing.prometheus import Prometheus
from tests.fleet.verdict_series import Life, recorded, write

pytestmark = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Prometheus]:
    window = "storage: {tsdb: {out_of_order_time_window: 30d}}\n"
    with Prometheus(tmp_path, config=window) as running:
        yield running


def minutes_ago(minutes: float) -> int:
    """On a full minute, so that a story is the same whenever it is told."""
    return int(time.time() // 60 * 60 - minutes * 60)


def hosts(generation: str, count: int, born: int, *, ends: int | None = None, **about: int) -> list[Life]:
    return [
        Life(f"{generation}-{index}", generation, born, ends if ends is not None else int(time.time()), **about)
        for index in range(count)
    ]


def judged(server: Prometheus, lives: list[Life], candidate: str = "2", baseline: str = "", **asked: str) -> Judgement:
    write(server.write_url, *(life.written() for life in lives))
    return look(Client(server.url), SERIES, Asked("shop", asked.get("env")), candidate, baseline)


def test_a_bad_generation_is_worse(server: Prometheus) -> None:
    """Errors four times as frequent in the same minutes are worse, with the exact counts, though no rules run."""
    old = hosts("1", 4, minutes_ago(90), fails=200)
    new = hosts("2", 4, minutes_ago(20), fails=50)
    found = judged(server, [*old, *new])
    verdict = found.errors
    assert (found.kind, verdict.kind, verdict.baseline) == (Kind.WORSE, Kind.WORSE, "1")
    assert verdict.requests == verdict.baseline_requests
    assert verdict.requests % 1600 == 0
    assert verdict.errors == verdict.requests // 50
    assert verdict.factor == pytest.approx(4, rel=0.02)
    assert found.latency is not None
    assert found.latency.kind in (Kind.NO_DIFFERENCE, Kind.NOT_ENOUGH)
    assert "worse (×4.0" in sentence(verdict)


def test_births_count_from_zero(server: Prometheus) -> None:
    """A host born within the window is counted from its first request on, one born before it only within."""
    past = [recorded(str(n), minutes_ago(600 - 50 * n), minutes_ago(560 - 50 * n), 24_000, 120) for n in range(3, 8)]
    born = minutes_ago(10)
    write(server.write_url, *past, recorded("2", born, int(time.time()), 24_000, 120, hosts=2))
    old = hosts("1", 2, minutes_ago(90), fails=200)
    new = hosts("2", 2, born, fails=200)
    verdict = judged(server, [*old, *new]).errors
    minutes = verdict.minutes
    assert minutes in (9, 10)
    assert verdict.requests == verdict.baseline_requests == minutes * 2 * 400
    assert verdict.errors == verdict.baseline_errors == verdict.requests // 200


def test_slow_is_worse(server: Prometheus) -> None:
    """A generation that fails no more but exceeds the objective more often is worse in latency."""
    old = hosts("1", 3, minutes_ago(70), fails=200, slows=100)
    new = hosts("2", 3, minutes_ago(25), fails=200, slows=10)
    found = judged(server, [*old, *new])
    assert found.latency is not None
    assert (found.kind, found.errors.kind, found.latency.kind) == (Kind.WORSE, Kind.NO_DIFFERENCE, Kind.WORSE)
    assert "requests took longer than 0.5 s against" in sentence(found.latency)


def test_other_buckets_are_not_compared(server: Prometheus) -> None:
    """Where one generation has no bucket at the objective, latency is not compared, and that is said."""
    old = hosts("1", 3, minutes_ago(70), fails=200)
    new = hosts("2", 3, minutes_ago(25), fails=200)
    new[1].edge = "0.7"
    found = judged(server, [*old, *new])
    assert found.latency is None
    assert "1 hosts of generation 2 have no bucket that ends at 0.5 s" in found.notes[0]
    assert found.errors.kind is Kind.NO_DIFFERENCE


def test_one_host_with_all_errors(server: Prometheus) -> None:
    """One host that fails is named and left out; the generation is not worse."""
    old = hosts("1", 5, minutes_ago(70), fails=200)
    new = hosts("2", 5, minutes_ago(25))
    new[2].fails = 5
    verdict = judged(server, [*old, *new]).errors
    assert verdict.kind is not Kind.WORSE
    assert verdict.host is not None
    assert (verdict.host.name, verdict.host.share) == ("2-2", 1.0)
    assert "host 2-2, not the generation" in sentence(verdict)


def test_resets_gaps_and_fast_clocks(server: Prometheus) -> None:
    """Counters that began anew are counted and told; a gap's requests and a fast clock's host are left out and told."""
    old = hosts("1", 8, minutes_ago(70), fails=200)
    new = hosts("2", 8, minutes_ago(25), fails=200)
    new[0].resets = frozenset({41})
    new[1].silent = frozenset(range(40, 54))
    new[2].ahead = 240
    new[2].ends -= 30
    old[0].ahead = 200
    found = judged(server, [*old, *new])
    assert found.errors.kind is Kind.NO_DIFFERENCE
    assert found.errors.baseline_requests < 7 * 25 * 400
    told = "\n".join(lines(found))
    assert "counters of generation 2 began anew" in told
    assert "the clock is more than a minute fast on 1-0, 2-2: left out" in told
    assert "requests of generation 2 are left out: in no minute that can be named" in told


def test_a_long_gap_is_no_verdict(server: Prometheus) -> None:
    """When a tenth of the requests fell into minutes nobody reported, it cannot be told."""
    old = hosts("1", 3, minutes_ago(70), fails=200)
    new = hosts("2", 3, minutes_ago(25), fails=20)
    for life in new:
        life.silent = frozenset(range(20, 60))
    verdict = judged(server, [*old, *new]).errors
    assert verdict.kind is Kind.CANNOT_TELL
    assert "in no minute that can be named" in sentence(verdict)


def test_alone_it_is_held_against_earlier_generations(server: Prometheus) -> None:
    """With the old one gone, first minutes are held against those of earlier generations at the same age."""
    past = [
        recorded(f"g{n}", minutes_ago(50 + 45 * n), minutes_ago(10 + 45 * n), 24_000, 110 + 5 * n) for n in range(6)
    ]
    born = minutes_ago(20)
    write(server.write_url, *past, recorded("2", born, int(time.time()), 24_000, 480, hosts=2))
    verdict = judged(server, hosts("2", 4, born, fails=50)).errors
    assert (verdict.kind, verdict.baseline) == (Kind.WORSE, "6 earlier generations"), sentence(verdict)
    assert "in their first" in sentence(verdict)
    assert verdict.baseline_requests < 6 * 17_000


def test_of_several_beside_it_the_one_that_served_most(server: Prometheus) -> None:
    """Who serves most in its minutes is the baseline; of equals, the oldest, whatever its name is."""
    lives = [*hosts("a", 2, minutes_ago(40)), *hosts("b", 2, minutes_ago(50)), *hosts("d", 2, minutes_ago(10))]
    assert judged(server, lives, "d").errors.baseline == "b"
    assert judged(server, hosts("c", 3, minutes_ago(20)), "d").errors.baseline == "c"


def test_what_is_not_known_is_said(server: Prometheus) -> None:
    """No such generation, service or baseline, several environments, and silence are each a sentence."""
    lives = [*hosts("1", 2, minutes_ago(50), ends=minutes_ago(8)), *hosts("2", 2, minutes_ago(30), ends=minutes_ago(8))]
    found = judged(server, lives, "7", env="prod")
    assert "knows no generation 7 of shop in prod; it knows 2, 1" in sentence(found.errors)
    found = judged(server, [], "2", "9")
    assert "knows no generation 9 of shop; it knows 2, 1" in sentence(found.errors)
    assert found.kind is Kind.CANNOT_TELL
    found = look(Client(server.url), SERIES, Asked("other"), "2")
    assert "knows no generation of other" in sentence(found.errors)
    assert "nothing has been heard of shop since" in sentence(judged(server, [], "2").errors)
    staging = hosts("2", 1, minutes_ago(10))
    staging[0].env = "staging"
    with pytest.raises(ConfigError, match="several environments, say which: prod, staging"):
        judged(server, staging, "2")


def test_without_any_baseline_it_cannot_be_told(server: Prometheus) -> None:
    """A first deploy has nothing to be compared with."""
    found = judged(server, hosts("2", 2, minutes_ago(20), fails=20))
    assert found.kind is Kind.CANNOT_TELL
    assert "no other generation serves in the same minutes, and 0 earlier ones are known" in sentence(found.errors)


def earlier(count: int, before: int) -> list[dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]]:
    """Healthy generations that were recorded, each 45 minutes after the one before, all ``before`` so many minutes ago."""
    begun = [before + 50 + 45 * n for n in range(count)]
    return [recorded(f"g{n}", minutes_ago(at), minutes_ago(at - 40), 24_000, 120) for n, at in enumerate(begun)]


def test_hours_later_its_first_hour_is_judged(server: Prometheus) -> None:
    """A candidate that has long served alone is judged by its first minutes, not by any of today's."""
    born = minutes_ago(180)
    write(server.write_url, *earlier(5, 180), recorded("2", born, int(time.time()), 24_000, 0, hosts=2))
    lives = hosts("2", 2, born, fails=20)
    for life in lives:
        life.turns_bad, life.after = minutes_ago(120), 0
    verdict = judged(server, lives).errors
    assert (verdict.kind, verdict.requests, verdict.errors) == (Kind.WORSE, 24_000, 1200), sentence(verdict)


def test_a_canary_that_turns_bad_after_hours(server: Prometheus) -> None:
    """While both serve the last hour counts, and a change within it is seen though the hour as a whole is hardly worse."""
    write(
        server.write_url,
        *earlier(5, 180),
        recorded("2", minutes_ago(180), int(time.time()), 24_000, 120, hosts=4),
        recorded("1", minutes_ago(220), int(time.time()), 24_000, 120, hosts=4),
    )
    old, new = hosts("1", 4, minutes_ago(200), fails=200), hosts("2", 4, minutes_ago(180), fails=200)
    for life in new:
        life.turns_bad, life.after = minutes_ago(6), 20
    verdict = judged(server, [*old, *new]).errors
    assert (verdict.kind, verdict.baseline) == (Kind.WORSE, "1"), sentence(verdict)
    assert verdict.minutes <= 60


def test_a_look_is_two_queries(server: Prometheus) -> None:
    """Whatever is found, a look asks twice at most."""
    asked: list[str] = []

    class Counting(Client):
        def _ask(self, what: str, fields: Mapping[str, object], kind: str) -> list[Found]:
            asked.append(what)
            return super()._ask(what, fields, kind)

    write(server.write_url, *earlier(3, 30), *(life.written() for life in hosts("2", 2, minutes_ago(20), fails=200)))
    for candidate in ("2", "none"):
        look(Counting(server.url), SERIES, Asked("shop"), candidate)
    assert asked == ["query", "query_range", "query"]
