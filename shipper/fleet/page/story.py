"""What an archive, or a Prometheus, tells of a fleet, as values: generations with requests and end, deploys, lives of hosts.

``as_json`` is the machine form that ``shipper fleet --json`` prints. Fields may be added to it; none changes its meaning
while ``version`` stays 1. Times are ns since the epoch, 0 for none; requests are null where no host counted any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shipper.drawing.scale import step_for
from shipper.fleet.deploys.infer import infer
from shipper.fleet.deploys.model import Bounds, Deploy, Deploys
from shipper.fleet.generations import GenerationRow, generations, host_life
from shipper.fleet.page.reading import Read
from shipper.fleet.page.traffic import Bins, Tally, Whose
from shipper.fleet.report import OPEN, AuditReport, LifeReport

SECOND = 1_000_000_000
BINS = 120


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation, one time that it was the newest. ``ends``: how many of its hosts ended in which way.

    ``requests`` and ``errors`` are what its hosts counted, None where none did. ``outcome``: what became of it, in words.
    """

    service: str
    environment: str
    generation: str
    release: str
    image: str
    episode: int
    rollback: bool
    started_ns: int
    last_ns: int
    withdrawn_ns: int
    hosts: int
    lives: int
    records: int
    requests: int | None
    errors: int | None
    ends: dict[str, int]
    outcome: str

    @property
    def name(self) -> str:
        """Its key, with the number of the time where it came back."""
        return self.generation + (f" ({self.episode}. time)" if self.episode > 1 else "")

    @property
    def ratio(self) -> float | None:
        """Failed requests to all; None where there were none."""
        return self.errors / self.requests if self.requests and self.errors is not None else None


@dataclass(frozen=True, slots=True)
class Life:
    """One life of one host; ``generation``: its place in `Story.generations`, -1 for a gateway."""

    report: LifeReport
    generation: int
    born_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Story:
    """The whole history. ``tallies``: by place in ``generations`` the requests of each bin.

    ``audited``: see `Read`. Where it is False nobody compared what was sent with what arrived: ``report`` says nothing of it.
    """

    report: AuditReport
    generations: tuple[Generation, ...]
    deploys: tuple[Deploy, ...]
    lives: tuple[Life, ...]
    bins: Bins
    tallies: dict[int, list[Tally]]
    unplaced: int  # requests of hosts that belong to no generation seen here
    audited: bool = True

    @property
    def start_ns(self) -> int:
        """The first moment of the history."""
        return self.bins.start_ns

    @property
    def end_ns(self) -> int:
        """Its last moment."""
        return self.bins.start_ns + self.bins.count * self.bins.step_ns

    def hosts_over(self, generation: int) -> list[tuple[int, int]]:
        """How many hosts lived at the beginning of each bin, and at the end of the last."""
        spans = [(life.born_ns, life.end_ns) for life in self.lives if life.generation == generation]
        moments = [self.bins.start_ns + number * self.bins.step_ns for number in range(self.bins.count + 1)]
        changes = sorted([(born, 1) for born, _ in spans] + [(end, -1) for _, end in spans])
        found, alive, at = [], 0, 0
        for moment in moments:
            while at < len(changes) and changes[at][0] <= moment:
                alive += changes[at][1]
                at += 1
            found.append((moment, alive))
        return found

    def as_json(self) -> dict[str, Any]:
        """Of builtin types only. What only an audit knows is null where there was none."""
        report, unknown = self.report, {} if self.audited else {"records": None}
        return {
            "version": 1,
            "source": "archive" if self.audited else "prometheus",
            "archive": report.archive if self.audited else None,
            "prometheus": None if self.audited else report.archive,
            "at_ns": report.at_ns,
            "ok": report.ok if self.audited else None,
            "totals": asdict(report.totals) if self.audited else None,
            "damage": [asdict(damage) for damage in report.damage],
            "unplaced_requests": self.unplaced,
            "generations": [{**asdict(one), "error_ratio": one.ratio, **unknown} for one in self.generations],
            "deploys": [{**asdict(one), "at_ns": one.at_ns} for one in self.deploys],
            "lives": [self._life(life) for life in self.lives],
        }

    def _life(self, life: Life) -> dict[str, Any]:
        report = life.report
        return {
            "life": report.life,
            "host": report.host,
            "generation": self.generations[life.generation].generation if life.generation >= 0 else "",
            "born_ns": life.born_ns,
            "end_ns": life.end_ns,
            "ended": report.ended,
            "reason": report.reason,
            "ok": report.ok if self.audited else None,
            "archived": report.counts.archived if self.audited else None,
            "missing": report.counts.missing if self.audited else None,
        }


def story(read: Read) -> Story:
    """Put together what was read."""
    report = read.report
    rows = generations(report)
    place = {life: number for number, row in enumerate(rows) for life in row.life_ids}
    lives = tuple(_life(life, place.get(life.life, -1), report.at_ns) for life in report.lives)
    totals = read.traffic.totals()
    groups = {whose: number for whose in totals if (number := _group(whose, place, rows)) is not None}
    counted: dict[int, Tally] = {}
    for whose, number in groups.items():
        tally = counted.setdefault(number, Tally())
        tally.requests += totals[whose].requests
        tally.errors += totals[whose].errors
    deploys = _deploys(read, [life for life in lives if life.generation >= 0])
    told = tuple(_generation(number, rows, lives, counted.get(number), deploys) for number in range(len(rows)))
    bins = _bins([*_moments(lives, deploys)], report.at_ns)
    unplaced = sum(tally.requests for whose, tally in totals.items() if whose not in groups)
    return Story(report, told, deploys, lives, bins, read.traffic.over(bins, groups), round(unplaced), read.audited)


def _group(whose: Whose, place: dict[str, int], rows: Sequence[GenerationRow]) -> int | None:
    """The generation that samples belong to: their life's, else the last one with the labels they carry."""
    life, *labels = whose
    if life in place:
        return place[life]
    same = [n for n, row in enumerate(rows) if [row.service, row.environment, row.generation] == labels]
    return same[-1] if same else None


def _life(report: LifeReport, generation: int, now_ns: int) -> Life:
    end = now_ns if report.ended in OPEN else report.heard_ns
    born = min(report.born_ns or end, end)  # a clock that is ahead does not make a life end before it began
    return Life(report, generation, born, end)


def _deploys(read: Read, lives: Iterable[Life]) -> tuple[Deploy, ...]:
    """What was told, and what hosts show where nobody told of it."""
    seen = infer(map(host_life, (life.report for life in lives)), ())
    return (
        Deploys([*read.deploys, *seen], Bounds(deploys=10_000, services=10_000, all_events=1_000_000)).shown().deploys
    )


def _generation(
    number: int, rows: Sequence[GenerationRow], lives: Sequence[Life], tally: Tally | None, deploys: Sequence[Deploy]
) -> Generation:
    row = rows[number]
    ends = Counter(life.report.ended for life in lives if life.generation == number)
    return Generation(
        row.service,
        row.environment,
        row.generation,
        row.release,
        row.image,
        row.episode,
        _rollback(row, deploys),
        row.first_ns,
        row.last_ns,
        row.withdrawn_ns,
        len(row.hosts),
        row.lives,
        row.records,
        round(tally.requests) if tally is not None else None,
        round(tally.errors) if tally is not None else None,
        {str(ended): count for ended, count in sorted(ends.items())},
        _outcome(number, rows, ends["alive"], deploys),
    )


def _rollback(row: GenerationRow, deploys: Sequence[Deploy]) -> bool:
    """As somebody told of it, else as the hosts show it: a canary that is tried again goes back to nothing."""
    told = [deploy for deploy in deploys if _is(deploy, row) and not deploy.inferred and deploy.started_ns]
    return any(deploy.rollback for deploy in told) if told else row.rollback


def _is(deploy: Deploy, row: GenerationRow) -> bool:
    names = (deploy.service, deploy.env, deploy.generation, deploy.episode)
    return names == (row.service, row.environment, row.generation, row.episode)


def _outcome(number: int, rows: Sequence[GenerationRow], alive: int, deploys: Sequence[Deploy]) -> str:
    row = rows[number]
    failed = any(_is(deploy, row) and deploy.status == "failed" for deploy in deploys)
    said = ["its deploy failed"] if failed else []
    following = [
        other
        for other in rows[number + 1 :]
        if (other.service, other.environment) == (row.service, row.environment)
        and (other.generation, other.episode) != (row.generation, row.episode)  # the same from another image
        and not other.withdrawn_ns
    ]
    if alive:
        said.append(f"serving on {alive} host{'s' if alive > 1 else ''}")
    elif row.withdrawn_ns:
        said.append("withdrawn")
    elif following:
        back = "rolled back to" if following[0].rollback else "replaced by"
        said.append(f"{back} {following[0].generation}")
    else:
        said.append("ended, nothing followed")
    return ", ".join(said)


def _moments(lives: Iterable[Life], deploys: Iterable[Deploy]) -> Iterator[int]:
    for life in lives:
        if life.generation >= 0:
            yield from (life.born_ns, life.end_ns)
    for deploy in deploys:
        yield from (at for at in (deploy.started_ns, deploy.finished_ns, deploy.withdrawn_ns) if at)


def _bins(moments: Sequence[int], now_ns: int) -> Bins:
    start, end = min(moments, default=now_ns - 60 * SECOND), max(moments, default=now_ns)
    step = step_for((end - start) / SECOND, BINS) * SECOND
    start -= start % step
    return Bins(start, step, max(1, -(-(end - start) // step)))
