"""From counts to a verdict: which comparison is honest for what there is, and what it says.

Two comparisons. *Same minutes*: both generations serve, any burst hits both (`mantel`). *Same age*: the candidate serves
alone, and is held against several earlier generations (`history`). Hosts are cold at first: their first minutes count only
where earlier generations tell what a cold start looks like, and only if the candidate's is worse than that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from shipper.fleet.verdict import history, mantel
from shipper.fleet.verdict.hosts import MIN_HOSTS, odd_host, without
from shipper.fleet.verdict.mantel import Score, Stratum, evidence, score
from shipper.fleet.verdict.model import Cell, Count, Group, Host, Kind, Measure, OddHost, Past, Verdict, added

WARM = 8
"""Minutes after which a host counts as warm: of a start that fails ten times as often and halves that each minute, nothing
is left then that much traffic could mistake for a bad release."""
BLOCK = 10
"""Minutes from one possible beginning of a change to the next: a release may turn bad after twenty good minutes."""
LATER = 5
"""How many later beginnings are considered."""
ENOUGH = 4.0
"""What does not show a factor like this is not enough to say there is no difference..."""
FLOOR = 0.001
"""...unless it shows so small a ratio: of a service that hardly ever fails, no factor can be asked for."""
CONFIRM = 0.001
"""A start is worse than a usual cold one if so few of earlier generations' starts would be as bad."""
SAME_MINUTES, SAME_AGE = "same minutes", "same age"
_TOO_MUCH_LEFT_OUT = 0.1
_COMMON = 0.5
_ALL, _WARM, _REST = 0.7, 0.15, 0.15
_LEFT_OUT = f"the first {WARM} minutes of each host are left out"
_PROVEN = -math.log(mantel.ALPHA)


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared for one measure."""

    candidate: Group
    baseline: Group | None = None
    past: Past | None = None
    bad: str = "failed"
    measure: Measure = Measure.ERRORS


def judge(sides: Sides) -> Verdict:
    """Decide. Never raises for odd counts: what cannot be compared is `Kind.CANNOT_TELL`, with the reason."""
    blank = _blank(sides)
    if reason := _unusable(sides):
        return replace(blank, reasons=(reason,))
    odd = [found for group in (sides.candidate, sides.baseline) if group and (found := odd_host(group))]
    by_group = {found.generation: found for found in odd}
    candidate = without(sides.candidate, by_group.get(sides.candidate.generation))
    baseline = without(sides.baseline, by_group.get(sides.baseline.generation)) if sides.baseline else None
    blank = replace(blank, hosts=tuple(odd))
    own, spread = _same_age(candidate, sides.past)
    common = _strata(candidate.hosts, baseline.hosts, cold=True) if baseline else {}
    verdict = _in_same_minutes(blank, candidate, baseline, common, own, spread)
    if verdict.kind is not Kind.WORSE and not _mostly_common(candidate, common):
        verdict = _at_same_age(blank, own, spread, sides.past, verdict)
    return replace(verdict, reasons=(*verdict.reasons, *_remarks(verdict, sides, odd)))


def _blank(sides: Sides) -> Verdict:
    total = sides.candidate.total
    return Verdict(
        Kind.CANNOT_TELL,
        sides.measure,
        sides.candidate.generation,
        requests=total.total,
        errors=total.bad,
        bad=sides.bad,
    )


def _unusable(sides: Sides) -> str:
    """Why these counts cannot be compared at all."""
    if not sides.candidate.hosts:
        return f"no host of generation {sides.candidate.generation} has served anything yet"
    for group in (sides.candidate, sides.baseline):
        if group and group.left_out and group.left_out > _TOO_MUCH_LEFT_OUT * (group.left_out + group.total.total):
            return (
                f"{group.left_out:,} requests of generation {group.generation} are in no minute that can be named "
                "(a gap in what its hosts reported, or wrong clocks)"
            )
    return ""


def _same_age(candidate: Group, past: Past | None) -> tuple[Count | None, history.Spread | None]:
    """The candidate's count at the age that earlier generations are known at, and what is expected of it."""
    if past is None:
        return None, None
    own = past.own
    if past.born is not None:
        last = past.born + past.minutes
        own = added(
            count for host in candidate.hosts for cell, count in host.counts.items() if past.born < cell.minute <= last
        )
    return own, history.spread_of(past.counts, past.minutes)


def _in_same_minutes(
    blank: Verdict,
    candidate: Group,
    baseline: Group | None,
    everything: Mapping[Cell, Stratum],
    own: Count | None,
    spread: history.Spread | None,
) -> Verdict:
    if baseline is None:
        return blank
    blank = replace(blank, baseline=baseline.generation, design=SAME_MINUTES)
    if not everything:
        return replace(blank, reasons=(f"it has not served in the same minutes as generation {baseline.generation}",))
    whole = score(everything.values())
    known = own is not None and spread is not None
    warm = _strata(candidate.hosts, baseline.hosts, cold=False)
    spans = _spans(warm, first=_WARM if known else _WARM + _ALL)
    if known:
        assert own is not None
        assert spread is not None
        cold_as_usual = own.ratio <= spread.mean or not history.is_rarer(spread, own, CONFIRM)
        spans.insert(0, _Span(_ALL, everything, counts=not cold_as_usual))
    found = [_Found(span, score(span.strata.values())) for span in spans]
    counting = [one for one in found if one.span.counts and one.score.passes]
    if _sum(one.log_evidence for one in counting) >= _PROVEN:
        return _told(blank, Kind.WORSE, max(counting, key=lambda one: one.log_evidence))
    if whole.better and evidence(-whole.u, whole.v) >= _PROVEN:
        return _told(blank, Kind.BETTER, _Found(_Span(1.0, everything), whole))
    usual = known and not found[0].span.counts and found[0].score.passes and found[0].log_evidence >= _PROVEN
    shown = _undecided(blank, found[1] if usual else found[0], everything, whole)
    if usual:
        times = f"{mantel.factor(whole)[0] or math.inf:.1f} times the ratio of generation {blank.baseline}"
        return replace(shown, reasons=(f"with its first minutes it has {times}, as a cold start may, and {_LEFT_OUT}",))
    if not known and found[0].score.new.total < whole.new.total:
        return replace(shown, reasons=(f"as fewer than {history.NEEDED} earlier starts are known, {_LEFT_OUT}",))
    return shown


def _undecided(blank: Verdict, main: _Found, everything: Mapping[Cell, Stratum], whole: Score) -> Verdict:
    verdict = _told(blank, Kind.NO_DIFFERENCE, main)
    if _sees_enough(verdict):
        return verdict
    if not main.score.new.total:  # no host is warm yet: what there is is shown, but nothing was judged by it
        verdict = replace(_told(blank, Kind.NO_DIFFERENCE, _Found(_Span(1.0, everything), whole)), seen=None)
    shape, ratio = main.score.shape, _ratio(whole)
    if not shape.weight:
        shape = whole.shape.times(0.001)  # what comes will be spread like what there is, of which nothing counts
    needed = mantel.requests_needed(shape, ratio, max(ENOUGH, FLOOR / ratio), math.log(main.span.weight))
    return replace(verdict, kind=Kind.NOT_ENOUGH, needed=needed)


def _sees_enough(verdict: Verdict) -> bool:
    ratio = verdict.seen_ratio
    return verdict.seen is not None and ratio is not None and (verdict.seen <= ENOUGH or ratio <= FLOOR)


@dataclass(frozen=True, slots=True)
class _Span:
    """A time in which the candidate may have been worse: its share of the evidence, and the strata since it began."""

    weight: float
    strata: Mapping[Cell, Stratum]
    counts: bool = True


@dataclass(frozen=True, slots=True)
class _Found:
    span: _Span
    score: Score

    @property
    def log_evidence(self) -> float:
        return math.log(self.span.weight) + evidence(self.score.u, self.score.v)


def _spans(strata: Mapping[Cell, Stratum], first: float) -> list[_Span]:
    """Since the beginning, and since each block of minutes after it."""
    spans = [_Span(first, strata)]
    if strata:
        begin = min(cell.minute for cell in strata)
        end = max(cell.minute for cell in strata)
        for start in range(begin + BLOCK, min(end, begin + LATER * BLOCK) + 1, BLOCK):
            spans.append(_Span(_REST / LATER, {cell: one for cell, one in strata.items() if cell.minute >= start}))
    return spans


def _told(blank: Verdict, kind: Kind, found: _Found) -> Verdict:
    scored = found.score
    times, interval = mantel.factor(scored)
    minutes = [cell.minute for cell, (new, old) in found.span.strata.items() if new.total and old.total]
    return replace(
        blank,
        kind=kind,
        requests=scored.new.total,
        errors=scored.new.bad,
        baseline_requests=scored.old.total,
        baseline_errors=scored.old.bad,
        factor=times,
        interval=interval,
        seen=mantel.smallest_seen(scored.shape, _ratio(scored), math.log(found.span.weight)),
        minutes=max(minutes) - min(minutes) + 1 if minutes else 0,
    )


def _ratio(found: Score) -> float:
    """The old side's, not quite 0 where none failed."""
    return (found.old.bad + 0.5) / (found.old.total + 1)


def _strata(new: Iterable[Host], old: Iterable[Host], *, cold: bool) -> dict[Cell, Stratum]:
    """Minutes (and routes) that both sides served; not ``cold``: without each host's first minutes."""
    sums = [_by_cell(hosts, cold) for hosts in (new, old)]
    return {cell: Stratum(count, sums[1][cell]) for cell, count in sums[0].items() if cell in sums[1]}


def _by_cell(hosts: Iterable[Host], cold: bool) -> dict[Cell, Count]:
    totals: dict[Cell, int] = {}
    bads: dict[Cell, int] = {}
    for host in hosts:
        since = -math.inf if cold or host.born is None else host.born + WARM
        for cell, (total, bad) in host.counts.items():
            if total and cell[0] > since:
                totals[cell] = totals.get(cell, 0) + total
                if bad:
                    bads[cell] = bads.get(cell, 0) + bad
    return {cell: Count(total, bads.get(cell, 0)) for cell, total in totals.items()}


def _mostly_common(candidate: Group, common: Mapping[Cell, Stratum]) -> bool:
    """Whether most of what the candidate served, it served beside the baseline."""
    beside = sum(stratum.new.total for stratum in common.values())
    return beside > 0 and beside >= _COMMON * candidate.total.total


def _at_same_age(
    blank: Verdict, own: Count | None, spread: history.Spread | None, past: Past | None, same: Verdict
) -> Verdict:
    """The comparison with earlier generations, or ``same`` where they do not say more."""
    if own is None or spread is None or past is None:
        if same.kind is not Kind.CANNOT_TELL:
            return same
        known = len([count for count in past.counts if count.total >= mantel.MIN_REQUESTS]) if past else 0
        alone = same.reasons[0] if same.baseline and same.reasons else "no other generation serves in the same minutes"
        reason = f"{alone}, and {known} earlier ones are known ({history.NEEDED} are needed)"
        return replace(same, kind=Kind.CANNOT_TELL, reasons=(reason,))
    times, interval = history.factor(spread, own)
    told = replace(
        blank,
        kind=Kind.WORSE
        if history.is_worse(spread, own) and past.minutes >= history.MIN_MINUTES
        else Kind.NO_DIFFERENCE,
        baseline=f"{spread.generations} earlier generations",
        design=SAME_AGE,
        requests=own.total,
        errors=own.bad,
        baseline_requests=spread.total.total,
        baseline_errors=spread.total.bad,
        factor=times if own.total else None,
        interval=interval if own.total else None,
        seen=history.smallest_seen(spread, own.total),
        minutes=past.minutes,
    )
    if told.kind is Kind.NO_DIFFERENCE and not _sees_enough(told):
        enough = max(ENOUGH, FLOOR / spread.mean)
        return replace(told, kind=Kind.NOT_ENOUGH, needed=history.requests_needed(spread, own.total, enough))
    return told


def _remarks(verdict: Verdict, sides: Sides, odd: Sequence[OddHost]) -> list[str]:
    """What to know about the numbers, a sentence each."""
    told: list[str] = []
    for host in odd:
        if host.generation == sides.candidate.generation and host.share > 0.6:
            told.append(
                f"host {host.name}, not the generation: it has {host.errors:,} of the {round(host.errors / host.share):,} "
                f"that {verdict.bad}, of {host.requests:,} requests, and is left out"
            )
        else:
            told.append(
                f"host {host.name} of generation {host.generation} is worse than the others ({host.errors:,} of "
                f"{host.requests:,} requests {verdict.bad}) and is left out"
            )
    if verdict.kind is Kind.WORSE and len(sides.candidate.hosts) < MIN_HOSTS:
        told.append(f"fewer than {MIN_HOSTS} hosts: one bad host and a bad generation look the same")
    for group in (sides.candidate, sides.baseline):
        if group and group.left_out:
            told.append(
                f"{group.left_out:,} requests of generation {group.generation} are left out: in no minute that can be named"
            )
    return told


def _sum(logs: Iterable[float]) -> float:
    """The logarithm of the sum of what these are logarithms of."""
    values = list(logs)
    top = max(values, default=-math.inf)
    return top if math.isinf(top) else top + math.log(sum(math.exp(value - top) for value in values))
