"""What is decided, and which comparison decides it; and the simulation that shows how often that is wrong."""

from __future__ import annotations

import math
import statistics

import pytest

from bench.verdict import BASE, Story, cell, main
from shipper.fleet.verdict.judge import SAME_AGE, SAME_MINUTES, Sides, judge
from shipper.fleet.verdict.model import Cell, Count, Group, Host, Judgement, Kind, Past, Verdict
from shipper.fleet.verdict.words import lines, sentence, times


def group(name: str, per_minute: int, bad: int, minutes: range, *, hosts: int = 4, born: int | None = None) -> Group:
    """Hosts that all serve the same: ``bad`` of ``per_minute`` in each minute."""
    counts = {Cell(minute): Count(per_minute, bad) for minute in minutes}
    return Group(name, tuple(Host(f"{name}-{index}", counts, born) for index in range(hosts)))


def test_worse_beside_the_old_one() -> None:
    """Four times the errors in the same minutes are worse, in words that name what they stand on."""
    verdict = judge(Sides(group("42", 500, 20, range(1, 9)), group("41", 500, 5, range(-30, 9))))
    assert (verdict.kind, verdict.design, verdict.baseline) == (Kind.WORSE, SAME_MINUTES, "41")
    said = sentence(verdict)
    assert said.startswith("worse (×4.0, 95 % interval ")
    assert "640 of 16,000 requests failed against 160 of 16,000 of generation 41 in the same 8 minutes" in said
    assert said.endswith("would have been seen)")


def test_better_beside_the_old_one() -> None:
    """A quarter of the errors is better."""
    verdict = judge(Sides(group("42", 500, 5, range(1, 9)), group("41", 500, 20, range(1, 9))))
    assert (verdict.kind, verdict.factor) == (Kind.BETTER, pytest.approx(0.25))
    assert "×0.25" in sentence(verdict)


def test_no_difference_says_what_would_have_been_seen() -> None:
    """Equal ratios and enough of them: no difference, with the smallest factor."""
    verdict = judge(Sides(group("42", 500, 5, range(1, 21)), group("41", 500, 5, range(1, 21))))
    assert verdict.kind is Kind.NO_DIFFERENCE
    assert verdict.seen is not None
    assert 1.5 <= verdict.seen < 2
    assert f"a {times(verdict.seen)} would have been seen" in sentence(verdict)


def test_too_little_says_how_much_is_needed() -> None:
    """A handful of requests is not enough data, and about how many more are needed is said."""
    verdict = judge(Sides(group("42", 10, 0, range(1, 6)), group("41", 100, 1, range(1, 6))))
    assert verdict.kind is Kind.NOT_ENOUGH
    assert verdict.needed is not None
    assert 100 < verdict.needed < 10_000
    assert "not enough data (needs ~" in sentence(verdict)


def test_a_service_that_never_fails() -> None:
    """Without any errors no factor can be asked for: what counts is that so small a ratio would have been seen."""
    verdict = judge(Sides(group("42", 500, 0, range(1, 21)), group("41", 500, 0, range(1, 21))))
    assert (verdict.kind, verdict.factor, verdict.interval) == (Kind.NO_DIFFERENCE, None, None)
    assert "none of the old ones failed" in sentence(verdict)
    assert "0.06% would have been seen" in sentence(verdict)
    little = judge(Sides(group("42", 20, 0, range(1, 21)), group("41", 500, 0, range(1, 21))))
    assert "more requests to show 0.1%" in sentence(little)


def test_no_requests_at_all() -> None:
    """A candidate that served nothing, and one nobody can be compared with, cannot be told."""
    assert "has served anything yet" in sentence(judge(Sides(Group("42"), group("41", 5, 0, range(3)))))
    later = judge(Sides(group("42", 500, 5, range(10, 20)), group("41", 500, 5, range(5))))
    assert later.kind is Kind.CANNOT_TELL
    assert "it has not served in the same minutes as generation 41, and 0 earlier ones are known" in sentence(later)


PAST = tuple(Count(16_000, bad) for bad in (70, 85, 90, 75, 80, 95))


def test_alone_it_is_held_against_those_before() -> None:
    """Once it serves alone, earlier generations at the same age are the measure."""
    verdict = judge(Sides(group("42", 200, 4, range(1, 21)), None, Past(20, PAST, born=0)))
    assert (verdict.kind, verdict.design, verdict.baseline) == (Kind.WORSE, SAME_AGE, "6 earlier generations")
    assert "320 of 16,000 requests failed against 495 of 96,000 of 6 earlier generations in their first 20 minutes" in (
        sentence(verdict)
    )
    healthy = judge(Sides(group("42", 200, 1, range(1, 21)), None, Past(20, PAST, born=0)))
    assert healthy.kind is Kind.NO_DIFFERENCE


def test_what_was_recorded_stands_for_hosts_long_gone() -> None:
    """Where the hosts' counts do not reach back to its birth, its recorded first minutes are compared."""
    own = Past(30, PAST, own=Count(16_000, 400))
    verdict = judge(Sides(group("42", 200, 1, range(200, 220)), None, own))
    assert (verdict.kind, verdict.requests, verdict.errors) == (Kind.WORSE, 16_000, 400)


def cold(minute: int) -> int:
    return round(500 * 0.005 * (1 + 9 * math.exp(-(minute - 1) / 1.5)))


def test_a_cold_start_like_others_is_no_difference() -> None:
    """Hosts that fail more in their first minutes, as those of earlier generations did, are not worse."""
    counts = {Cell(minute): Count(500, cold(minute)) for minute in range(1, 7)}
    candidate = Group("42", tuple(Host(f"n{index}", counts, 0) for index in range(4)))
    baseline = group("41", 500, 2, range(1, 7))
    past = Past(6, tuple(Count(12_000, sum(map(cold, range(1, 7))) * 4 + n) for n in range(-3, 4)), born=0)
    usual = judge(Sides(candidate, baseline, past))
    assert (usual.kind, usual.requests, usual.seen) == (Kind.NOT_ENOUGH, 12_000, None)
    assert "with its first minutes it has 5.0 times the ratio of generation 41, as a cold start may" in sentence(usual)
    unknown = judge(Sides(candidate, baseline))
    assert unknown.kind is Kind.NOT_ENOUGH
    assert unknown.needed is not None
    assert 1000 < unknown.needed < 12_000  # none of those that there are counts
    assert "as fewer than 3 earlier starts are known, the first 8 minutes of each host are left out" in sentence(
        unknown
    )
    warm = Past(6, tuple(Count(12_000, 25 + n) for n in range(-3, 4)), born=0)
    assert judge(Sides(candidate, baseline, warm)).kind is Kind.WORSE


def test_one_bad_host_is_not_the_generation() -> None:
    """The host with the errors is named and left out; a generation that is bad without it stays worse."""
    healthy = group("42", 500, 2, range(1, 15), hosts=5)
    bad = Host("bad", {Cell(minute): Count(500, 60) for minute in range(1, 15)})
    baseline = group("41", 500, 2, range(1, 15), hosts=5)
    verdict = judge(Sides(Group("42", (*healthy.hosts, bad)), baseline))
    assert verdict.kind is Kind.NO_DIFFERENCE
    assert verdict.host is not None
    assert verdict.host.name == "bad"
    assert "host bad, not the generation: it has 840 of the 980 that failed" in sentence(verdict)
    worse = judge(Sides(Group("42", (*group("42", 500, 20, range(1, 15), hosts=5).hosts, bad)), baseline))
    assert worse.kind is Kind.WORSE
    assert worse.host is not None


def test_routes_are_compared_with_their_like() -> None:
    """A generation that gets more of a route that always fails more is not worse for that."""

    def mixed(name: str, many: str, few: str) -> Group:
        counts = {}
        for minute in range(1, 15):
            for route, total in ((many, 900), (few, 100)):
                counts[Cell(minute, route)] = Count(total, total // (10 if route == "/pay" else 100))
        return Group(name, tuple(Host(f"{name}-{index}", counts) for index in range(4)))

    verdict = judge(Sides(mixed("42", "/pay", "/home"), mixed("41", "/home", "/pay")))
    assert verdict.kind is Kind.NO_DIFFERENCE
    assert verdict.factor == pytest.approx(1.0)


def test_what_falls_into_no_minute() -> None:
    """A few such requests are said; with more than a tenth it cannot be told."""
    baseline = group("41", 500, 2, range(1, 15))
    some = judge(Sides(Group("42", group("42", 500, 2, range(1, 15)).hosts, left_out=1000), baseline))
    assert some.kind is Kind.NO_DIFFERENCE
    assert "1,000 requests of generation 42 are left out" in sentence(some)
    many = judge(Sides(Group("42", group("42", 500, 2, range(1, 15)).hosts, left_out=10_000), baseline))
    assert many.kind is Kind.CANNOT_TELL


def test_two_hosts_that_are_worse_are_doubted() -> None:
    """With two hosts a bad one and a bad generation look the same, and the verdict says so."""
    verdict = judge(Sides(group("42", 500, 20, range(1, 15), hosts=2), group("41", 500, 2, range(1, 15))))
    assert verdict.kind is Kind.WORSE
    assert "one bad host and a bad generation look the same" in sentence(verdict)


def test_worse_in_latency_alone_is_worse() -> None:
    """Either measure being worse makes the judgement; otherwise it is as with errors. JSON holds both, without NaN."""
    fine, slow = Verdict(Kind.NO_DIFFERENCE), Verdict(Kind.WORSE, bad="took longer than 0.5 s")
    assert Judgement(fine, slow).kind is Kind.WORSE
    assert Judgement(fine, Verdict(Kind.CANNOT_TELL)).kind is Kind.NO_DIFFERENCE
    assert Judgement(fine, slow, notes=("x",)).as_dict()["verdict"] == "worse"
    assert lines(Judgement(fine, None, notes=("x",)))[-1] == "note: x"


@pytest.mark.parametrize(
    "story",
    [
        Story("independent", 2000),
        Story("bursts", 2000, bursts=True),
        Story("cold", 2000, cold=True),
        Story("cold without history", 2000, cold=True, past=0),
        Story("bad host", 2000, bad_host=40),
        Story("bad host", 200, bad_host=8),
        Story("little", 20, bursts=True),
    ],
    ids=str,
)
def test_healthy_rolls_are_hardly_ever_worse(story: Story) -> None:
    """Of thirty healthy rolls of each kind, looked at every minute, at most one is called worse."""
    assert len(cell(story, 30).alarms) <= 1


def test_bad_rolls_are_seen_in_time() -> None:
    """Of 30 expected errors in ten minutes four times as many are seen in ten, ten times in four, and a late one still is."""
    rate = (
        2 * 30 / 10 / BASE
    )  # of both sides together: the candidate serves half, and would fail 30 times if it were healthy
    four = sorted(cell(Story("x4", rate, factor=4.0), 30).alarms)
    ten = sorted(cell(Story("x10", rate, factor=10.0), 30).alarms)
    late = cell(Story("late", rate, factor=10.0, bad_from=20, minutes=40), 15).alarms
    assert (len(four), len(ten), len(late)) == (30, 30, 15)
    assert statistics.median(four) <= 10
    assert statistics.median(ten) <= 4
    assert min(late) > 20


@pytest.mark.parametrize(
    "story",
    [
        Story("bursts", 400, bursts=True, cold=True),
        Story("bad host", 400, bad_host=8),
        Story("x4, late", 400, factor=4.0, bad_from=8),
        Story("left at 10", 400, factor=2.0, bursts=True, leaves=10),
        Story("alone", 200, factor=3.0, leaves=0),
    ],
    ids=str,
)
def test_looks_that_are_skipped_change_nothing(story: Story) -> None:
    """The simulation leaves out looks that cannot come out as worse; with all of them it says the same."""
    assert cell(story, 12) == cell(story, 12, always=True)


def test_the_simulation_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Each cell is a line with how often it was called worse."""
    assert main(["--runs", "3", "--rates", "200", "--only", "one bad host, x40"]) == 0
    assert "| one bad host, x40 | 200 | 0.00% |" in capsys.readouterr().out
