"""``python -m bench verdict``: rolls that never happened, judged every minute by the code that judges real ones.

Each cell is a number of simulated rolls of 30 minutes: ten hosts a generation, 0.5 % of the requests fail, and bursts (where
there are any) are log-normal with AR(1) from minute to minute, phi 0.8, sigma 0.7, the same for all who serve in that minute.
A healthy roll that is called worse at any of its 30 looks is a false alarm. The seed is fixed, so the table is the same anywhere.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from shipper.fleet.verdict import history
from shipper.fleet.verdict.hosts import far, odd_host
from shipper.fleet.verdict.judge import SAME_MINUTES, Sides, judge
from shipper.fleet.verdict.mantel import ALPHA, MIN_ERRORS, MIN_FACTOR, Score, Stratum, evidence, score
from shipper.fleet.verdict.model import Cell, Count, Group, Host, Kind, Past, Verdict, added

MINUTES = 30
HOSTS = 10
BASE = 0.005
PHI, SIGMA = 0.8, 0.7
COLD, COOLING = 10.0, 1.5
PAST = 8
RATES = (20, 200, 2000, 20_000)
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Story:
    """One kind of roll. ``rate``: requests a minute of the whole service; ``leaves``: the minute the old generation is gone."""

    name: str
    rate: float
    bursts: bool = False
    cold: bool = False
    bad_host: float = 1.0
    leaves: int = 1000
    past: int = PAST
    factor: float = 1.0
    bad_from: int = 0
    minutes: int = MINUTES
    base: float = BASE


@dataclass
class Cellful:
    """What became of the runs of one story: the minute of each alarm, and how often the interval held the true factor."""

    alarms: list[int] = field(default_factory=list)
    runs: int = 0
    named: int = 0
    covered: int = 0
    compared: int = 0


class Side:
    """One generation of a roll: what its hosts have served so far, minute by minute and in all."""

    def __init__(self, name: str, born: int | None) -> None:
        self._counts: list[dict[Cell, Count]] = [{} for _ in range(HOSTS)]
        self._served = [Count()] * HOSTS
        self.group = Group(name, tuple(Host(f"{name}{at}", one, born) for at, one in enumerate(self._counts)))

    @property
    def total(self) -> Count:
        return added(iter(self._served))

    def serve(self, minute: int, rate: float, ratio: float, rng: random.Random, bad_host: float = 1.0) -> Count:
        """One more minute; its first host may be bad by itself."""
        before = self.total
        for at, counts in enumerate(self._counts):
            total = poisson(rate / HOSTS, rng)
            if total:
                one = Count(total, binomial(total, min(ratio * (1.0 if at else bad_host), 0.9), rng))
                counts[Cell(minute)] = one
                self._served[at] = self._served[at].plus(one)
        after = self.total
        return Count(after.total - before.total, after.bad - before.bad)

    def has_odd_host(self) -> bool:
        whole = self.total
        return any(far(one, whole) for one in self._served) and odd_host(self.group) is not None


class Roll:
    """Both sides of one."""

    def __init__(self) -> None:
        self.new, self.old = Side("new", born=0), Side("old", born=None)
        self._beside = 0
        self._scores: list[Score] = []

    def serve(self, story: Story, minute: int, level: float, rng: random.Random) -> None:
        """One more minute."""
        share = 0.5 if minute < story.leaves else 1.0
        worse = story.factor if minute > story.bad_from else 1.0
        ratio = story.base * level
        new = self.new.serve(
            minute, story.rate * share, ratio * worse * coldness(story, minute), rng, bad_host=story.bad_host
        )
        old = self.old.serve(minute, story.rate * (1 - share), ratio, rng) if share < 1.0 else Count()
        if new.total and old.total:
            self._beside += new.total
            self._scores.append(score([Stratum(new, old)]))

    def may_be_worse(self, past: Past) -> bool:
        """Whether `judge` could call it worse: all that is skipped is what its own parts rule out.

        Without odd hosts it does so only if its evidence is enough since some minute, as the weights of its spans are below 1,
        or, mostly alone, if the ratio is far enough over that of earlier generations.
        """
        own = self.new.total
        if own.bad < MIN_ERRORS:
            return False
        if self.new.has_odd_host() or self.old.has_odd_host():
            return True
        if self._beside < 0.5 * own.total or not self._beside:
            spread = history.spread_of(past.counts, past.minutes)
            if spread is not None and own.ratio >= MIN_FACTOR * spread.mean:
                return True
        u = v = new = old = 0.0
        for one in reversed(self._scores):
            u, v, new, old = u + one.u, v + one.v, new + one.weighted_new, old + one.weighted_old
            if new >= MIN_FACTOR * old - _ROUNDING and evidence(u, v) >= -math.log(ALPHA) - _ROUNDING:
                return True
        return False


def run(story: Story, rng: random.Random, result: Cellful, *, always: bool = False) -> None:
    """One roll, looked at every minute until it is called worse; ``always``: also where that cannot be."""
    level = bursts(story, rng) if story.bursts else [1.0] * (story.minutes + 1)
    earlier_ones = [earlier(story, rng) for _ in range(story.past)]
    roll = Roll()
    result.runs += 1
    verdict: Verdict | None = None
    for minute in range(1, story.minutes + 1):
        roll.serve(story, minute, level[minute], rng)
        age = min(minute, MINUTES)
        past = Past(age, tuple(one[age] for one in earlier_ones), born=0)
        if not (always or minute == story.minutes or roll.may_be_worse(past)):
            continue
        verdict = judge(Sides(roll.new.group, roll.old.group, past))
        if verdict.kind is Kind.WORSE:
            result.alarms.append(minute)
            break
    assert verdict is not None
    result.named += verdict.host is not None
    if verdict.interval is not None and verdict.design == SAME_MINUTES and not story.bad_from and not story.cold:
        low, high = verdict.interval
        result.compared += 1
        result.covered += low <= story.factor <= (math.inf if high is None else high)


def earlier(story: Story, rng: random.Random) -> list[Count]:
    """What a generation before had, by age; at another time, so with bursts of its own."""
    level = bursts(story, rng) if story.bursts else [1.0] * (story.minutes + 1)
    so_far = [Count()]
    for minute in range(1, story.minutes + 1):
        total = poisson(story.rate * (0.5 if minute < story.leaves else 1.0), rng)
        ratio = min(0.9, story.base * level[minute] * coldness(story, minute))
        so_far.append(so_far[-1].plus(Count(total, binomial(total, ratio, rng))))
    return so_far


def bursts(story: Story, rng: random.Random) -> list[float]:
    """By how much more the service fails in each minute; 1 on average."""
    x = rng.gauss(0, SIGMA)
    made = []
    for _ in range(story.minutes + 1):
        made.append(math.exp(x - SIGMA**2 / 2))
        x = PHI * x + math.sqrt(1 - PHI**2) * rng.gauss(0, SIGMA)
    return made


def coldness(story: Story, minute: int) -> float:
    """How many times as often a generation fails at this age."""
    return 1 + (COLD - 1) * math.exp(-(minute - 1) / COOLING) if story.cold else 1.0


def poisson(mean: float, rng: random.Random) -> int:
    """A draw; by the normal distribution where that is as good."""
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def binomial(total: int, ratio: float, rng: random.Random) -> int:
    """A draw; over the gaps between successes, or by the normal distribution where that is as good."""
    if ratio <= 0:
        return 0
    if total * ratio * (1 - ratio) > 50:
        mean = total * ratio
        return min(total, max(0, round(rng.gauss(mean, math.sqrt(mean * (1 - ratio))))))
    log_miss, at, count = math.log1p(-ratio), 0, 0
    while True:
        at += int(math.log(1.0 - rng.random()) / log_miss) + 1
        if at > total:
            return count
        count += 1


def healthy(rates: tuple[int, ...]) -> Iterator[Story]:
    """Rolls in which nothing is wrong with the release."""
    kinds: tuple[tuple[str, Callable[[Story], Story]], ...] = (
        ("independent", lambda one: one),
        ("bursts", lambda one: replace(one, bursts=True)),
        ("cold starts", lambda one: replace(one, cold=True)),
        ("cold starts and bursts", lambda one: replace(one, cold=True, bursts=True)),
        ("cold starts, no history", lambda one: replace(one, cold=True, past=0)),
        ("one bad host, x40", lambda one: replace(one, bad_host=40.0)),
        ("one bad host, x8", lambda one: replace(one, bad_host=8.0)),
        ("old one gone at 15, bursts", lambda one: replace(one, bursts=True, leaves=15)),
        ("alone from the start", lambda one: replace(one, leaves=0)),
        ("alone, bursts", lambda one: replace(one, leaves=0, bursts=True)),
        ("alone, bursts, cold starts", lambda one: replace(one, leaves=0, bursts=True, cold=True)),
        ("alone, one bad host, x8", lambda one: replace(one, leaves=0, bad_host=8.0)),
    )
    for name, change in kinds:
        for rate in rates:
            yield change(Story(name, rate))


def broken() -> Iterator[Story]:
    """Releases that are worse. ``expected``: the errors that a healthy one would have had in its first ``minutes``."""
    for expected, minutes in ((30, 10), (300, 10), (30, 30)):
        rate = 2 * expected / minutes / BASE
        told = f"{expected} expected errors in {minutes} min"
        for factor in (2.0, 4.0, 10.0):
            yield Story(f"x{factor:g}, {told}", rate, factor=factor)
        yield Story(f"x4, {told}, bursts", rate, factor=4.0, bursts=True)
        yield Story(f"x4, {told}, no history", rate, factor=4.0, past=0)
        for factor in (4.0, 10.0):
            yield Story(f"x{factor:g} from minute 20 on, {told}", rate, factor=factor, bad_from=20, minutes=50)
            yield Story(f"x{factor:g} alone, {told}", rate / 2, factor=factor, leaves=0)
            yield Story(f"x{factor:g} alone, {told}, bursts", rate / 2, factor=factor, leaves=0, bursts=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench verdict", description=__doc__)
    parser.add_argument("--runs", type=int, default=2000, help="rolls a cell (default 2000)")
    parser.add_argument("--rates", default=",".join(map(str, RATES)), help="requests a minute, in healthy rolls")
    parser.add_argument("--only", default="", help="cells whose name has this in it")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    rates = tuple(int(rate) for rate in chosen.rates.split(","))
    print(f"{chosen.runs} rolls a cell, looked at every minute for {MINUTES} minutes, seed {chosen.seed}\n")
    print("| roll | requests a minute | called worse | median minute | interval holds | bad host named |")
    print("|---|---|---|---|---|---|", flush=True)
    for story in (*healthy(rates), *broken()):
        if chosen.only in story.name:
            print(row(story, cell(story, chosen.runs, chosen.seed)), flush=True)
    return 0


def cell(story: Story, runs: int, seed: int = 1, *, always: bool = False) -> Cellful:
    """All runs of one story; ``always``: with looks that cannot come out as worse, too."""
    rng = random.Random(f"{seed} {story}")
    result = Cellful()
    for _ in range(runs):
        run(story, rng, result, always=always)
    return result


def row(story: Story, result: Cellful) -> str:
    """One line of the table. The minute is counted from when the release turned bad."""
    called = len(result.alarms) / result.runs
    median = statistics.median(result.alarms) - story.bad_from if result.alarms else math.nan
    held = f"{result.covered / result.compared:.1%}" if result.compared else ""
    when = "" if math.isnan(median) or story.factor == 1.0 else f"{median:g}"
    named = f"{result.named / result.runs:.1%}"
    return f"| {story.name} | {story.rate:,.0f} | {called:.2%} | {when} | {held} | {named} |"
