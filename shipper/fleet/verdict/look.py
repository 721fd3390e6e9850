"""One look at a candidate: two questions to Prometheus, and what follows from the answers."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shipper.errors import ConfigError
from shipper.fleet.questions import NoAnswer
from shipper.fleet.verdict.client import Client
from shipper.fleet.verdict.judge import Sides, judge
from shipper.fleet.verdict.model import Count, Group, Judgement, Kind, Measure, Past, Verdict
from shipper.fleet.verdict.queries import AHEAD, MINUTE, Asked, Series, about_generations, about_hosts
from shipper.fleet.verdict.reading import Generation, Known, Served, read_generations, read_hosts

WINDOW = 60
"""Minutes that are looked back on."""
FIRST = 30
"""Minutes that generations are compared by when they did not serve together."""
_LATE = 5
"""Seconds a full minute is given to arrive."""
_SILENT = 3


def look(client: Client, series: Series, asked: Asked, candidate: str, baseline: str = "") -> Judgement:
    """Judge ``candidate`` now; whatever Prometheus does, it ends in a judgement.

    Without ``baseline`` it is the generation that served most beside it. Raises `ConfigError` where the service has several
    environments and none was said.
    """
    try:
        known = read_generations(client.instant(about_generations(series, asked, candidate)))
        if len(known.envs) > 1 and asked.env is None:
            names = ", ".join(sorted(env or '""' for env in known.envs))
            raise ConfigError("--env", f"{asked.service} is in several environments, say which: {names}")
        if problem := _unknown(known, asked, candidate, baseline):
            return cannot_tell(problem, candidate, known.now)
        first, last = _window(known, candidate)
        answer = client.range(about_hosts(series, asked), first * MINUTE, (last + 1 + AHEAD) * MINUTE, MINUTE)
        served = read_hosts(answer, first, last, known.now)
    except NoAnswer as problem:
        return cannot_tell(str(problem), candidate, time.time())
    if served.newest < last - _SILENT:
        since = time.strftime("%H:%M", time.gmtime(served.newest * MINUTE)) if served.newest else ""
        heard = f"since {since} UTC" if since else f"in the last {last - first} minutes"
        return cannot_tell(f"nothing has been heard of {asked.service} {heard}", candidate, known.now)
    return _judged(known, served, series, candidate, baseline, first)


def _judged(known: Known, served: Served, series: Series, candidate: str, baseline: str, first: int) -> Judgement:
    against = baseline or _beside(served.errors, known.generations, candidate)
    past = _past(known, candidate, first, series.requests_first, series.errors_first)
    errors = judge(Sides(served.errors.get(candidate, Group(candidate)), _group(served.errors, against), past))
    notes = [*_notes(served, (candidate, against))]
    latency: Verdict | None = None
    if candidate in served.latency:
        without = [name for name in (candidate, against) if served.no_buckets.get(name)]
        if without:
            notes.append(
                f"latency is not compared: {served.no_buckets[without[0]]} hosts of generation {without[0]} have no bucket that "
                f"ends at {series.objective:g} s"
            )
        else:
            slow_past = _past(known, candidate, first, series.requests_first, series.slow_first)
            bad = f"took longer than {series.objective:g} s"
            sides = Sides(served.latency[candidate], _group(served.latency, against), slow_past, bad, Measure.LATENCY)
            latency = judge(sides)
    elif served.no_buckets.get(candidate) and any(served.latency.values()):
        notes.append(
            f"latency is not compared: no host of generation {candidate} has a bucket that ends at {series.objective:g} s"
        )
    return Judgement(errors, latency, known.now, tuple(notes))


def _unknown(known: Known, asked: Asked, candidate: str, baseline: str) -> str:
    """What is missing to ask on, in words; empty: nothing."""
    where = asked.service if asked.env is None else f"{asked.service} in {asked.env}"
    if not known.generations:
        return f"Prometheus knows no generation of {where}"
    for name in (candidate, *([baseline] if baseline else [])):
        if name not in known.generations or known.generations[name].started is None:
            newest = sorted(known.generations, key=lambda one: known.generations[one].started or 0.0, reverse=True)
            return f"Prometheus knows no generation {name} of {where}; it knows {', '.join(newest[:8])}"
    return ""


def _window(known: Known, candidate: str) -> tuple[int, int]:
    """The minutes looked at: since the candidate began; of a long time the last hour if others serve beside it, else its first."""
    started = known.generations[candidate].started
    assert started is not None
    last = int((known.now - _LATE) // MINUTE)
    first = min(int(started // MINUTE) - 1, last - 1)
    if last - first <= WINDOW:
        return first, last
    counted = any(about.hosts for about in known.generations.values())
    beside = any(about.hosts for name, about in known.generations.items() if name != candidate)
    return (last - WINDOW, last) if beside or not counted else (first, first + WINDOW)


def _past(known: Known, candidate: str, first: int, total: str, bad: str) -> Past | None:
    """Earlier generations at the candidate's age; None where the rules that record them do not run."""
    about = known.generations[candidate]
    if about.age is None or about.started is None:
        return None
    earlier = sorted(
        (
            (one.started, one)
            for name, one in known.generations.items()
            if name != candidate and one.started is not None and one.started < about.started
        ),
        key=lambda pair: -pair[0],
    )
    counts = tuple(_count(one, total, bad) for _, one in earlier if total in one.first)
    born = int(about.started // MINUTE)
    own = _count(about, total, bad) if total in about.first else None
    return Past(min(FIRST, int(about.age // MINUTE)), counts, own, born if first <= born else None)


def _count(about: Generation, total: str, bad: str) -> Count:
    return Count(round(about.first[total]), round(min(about.first.get(bad, 0.0), about.first[total])))


def _beside(groups: Mapping[str, Group], generations: Mapping[str, Generation], candidate: str) -> str:
    """Who served most in the candidate's minutes, of equals the oldest; empty: nobody did."""
    own = groups.get(candidate)
    if own is None:
        return ""
    minutes = {cell.minute for host in own.hosts for cell in host.counts}
    served = {
        name: sum(count.total for host in group.hosts for cell, count in host.counts.items() if cell.minute in minutes)
        for name, group in groups.items()
        if name not in (candidate, "")
    }
    since = {name: about.started for name, about in generations.items() if about.started is not None}
    most = max(served, key=lambda name: (served[name], -since.get(name, math.inf)), default="")
    return most if most and served[most] else ""


def _group(groups: Mapping[str, Group], name: str) -> Group | None:
    return groups.get(name, Group(name)) if name else None


def _notes(served: Served, names: Sequence[str]) -> list[str]:
    told = [
        f"counters of generation {name} began anew {served.resets[name]} times; what they had not yet told is not known"
        for name in names
        if served.resets.get(name)
    ]
    if served.fast:
        several = ", ".join(served.fast[:5]) + (f" and {len(served.fast) - 5} more" if len(served.fast) > 5 else "")
        told.append(f"the clock is more than a minute fast on {several}: left out")
    return told


def cannot_tell(reason: str, candidate: str, at: float) -> Judgement:
    """The judgement where nothing could be asked, or nothing was answered. ``at``: unix seconds."""
    return Judgement(replace(Verdict(Kind.CANNOT_TELL, candidate=candidate), reasons=(reason,)), at=at)
