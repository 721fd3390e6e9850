"""A fleet, by what it pushed to a Prometheus: which generations serve and how well, hosts, deploys, alerts that fire.

What one query cannot tell is said in its place, and the rest is shown.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.expressions import Expressions
from shipper.top.generations import Fleet, Key, generations, key_of, of_service
from shipper.top.layout import Column, View
from shipper.top.query import Found, Queries, Sample
from shipper.top.source import NotKnown
from shipper.top.words import rate, ratio, span

INTERVAL = 5.0  # hosts push every 15 s; a deploy or an alert should not wait for as long again
DEPLOYS = 5
_STATES = {1: "running", 2: "noticed", 3: "draining", 4: "drained", 5: "expired"}
_UNKNOWN = "in a state that this program does not know"
_ORDER = (*_STATES.values(), _UNKNOWN)
_GENERATIONS = (
    Column("service"),
    Column("env"),
    Column("generation"),
    Column("release"),
    Column("hosts", number=True),
    Column("req/s", number=True),
    Column("errors", number=True),
    Column("age", number=True),
    Column("", number=True),
)
_DEPLOYED = (
    Column("deploy", number=True),
    Column("service"),
    Column("env"),
    Column("action"),
    Column("release"),
    Column("from"),
    Column("outcome"),
)
_ALERTS = (Column("ALERT"), Column("severity"), Column("service"), Column("env"), Column("generation"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query found, or why that is not known."""

    samples: list[Sample]
    problem: str = ""


class FleetSource:
    """Asks a Prometheus. ``service``: only this one; empty: all."""

    interval = INTERVAL

    def __init__(self, queries: Queries, *, config: BoardConfig | None = None, service: str = "") -> None:
        self.name = queries.name
        self._queries = queries
        self._config = config or BoardConfig()
        self._labels = self._config.labels
        self._service = service
        self._warnings: set[str] = set()

    async def read(self) -> View:
        """See `Source`. Raises `NotKnown` where not even the generations can be told."""
        self._warnings.clear()
        expressions = Expressions(self._config)
        fleet = await generations(self._ask, self._config, self._service)
        present = duration(self._config.windows.present)
        here = f"{names.HOST_STATE} and present_over_time({names.HOST_STATE}[{present}])"
        told = "|".join((names.DEPLOY_STARTED, names.DEPLOY_FINISHED, names.DEPLOY_WITHDRAWN))
        states, deploys, alerts = await asyncio.gather(
            self._try(f'count_values by ({expressions.service}) ("state", max by ({expressions.host}) ({here}))'),
            self._try(f'{{__name__=~"{told}"}}'),
            self._try('ALERTS{alertstate="firing",alertname=~"Shipper.+"}'),
        )
        now = time.time()
        view = View()
        self._hosts(view, fleet, states)
        self._alerts(view, fleet, alerts)
        for warning in sorted(self._warnings):
            view.say(f"{self.name} warns: {warning}", "yellow")
        self._rows(view, fleet, now)
        self._deploys(view, deploys, now)
        return view

    async def aclose(self) -> None:
        """See `Source`."""
        await self._queries.aclose()

    # -- asking ----------------------------------------------------------------------------------------------------

    async def _ask(self, expression: str) -> list[Sample]:
        found: Found = await self._queries.ask(expression)
        self._warnings.update(found.warnings)
        return found.samples

    async def _try(self, expression: str) -> Answer:
        try:
            return Answer(await self._ask(expression))
        except NotKnown as problem:
            return Answer([], str(problem))

    def _wanted(self, samples: list[Sample]) -> list[Sample]:
        return of_service(samples, self._labels, self._service)

    def _key(self, sample: Sample) -> Key:
        return key_of(sample, self._labels)

    # -- showing ---------------------------------------------------------------------------------------------------

    def _hosts(self, view: View, fleet: Fleet, states: Answer) -> None:
        if states.problem:
            view.say(f"hosts by state are not known: {states.problem}", "yellow")
        counted: dict[str, int] = {}
        for sample in self._wanted(states.samples):
            state = _STATES.get(_whole(sample.labels.get("state", "")), _UNKNOWN)
            counted[state] = counted.get(state, 0) + round(sample.value)
        ordered = sorted(counted, key=_ORDER.index)
        told = ", ".join(f"{counted[state]:,} {state}" for state in ordered)
        if not fleet.rows and not told:
            about = f" of {self._service}" if self._service else ""
            view.say(f"no host{about} pushes to {self.name} now", "yellow")
            return
        if told:
            view.say(f"hosts: {told}", "bold")
        if fleet.recorded:
            ended = duration(self._config.windows.ended)
            style = "red" if fleet.silent else ""
            view.say(
                f"in {ended}: {fleet.seen:,.0f} hosts heard of, {fleet.silent:,.0f} fell silent unannounced", style
            )
        else:
            view.say("our rules are not evaluated there: counted from hosts' series, and no alert can fire", "yellow")

    def _alerts(self, view: View, fleet: Fleet, alerts: Answer) -> None:
        if alerts.problem:
            view.say(f"alerts are not known: {alerts.problem}", "yellow")
        service_label = self._labels.service
        # an alert about the whole fleet names no service, and is about this one, too
        firing = [one for one in alerts.samples if not one.labels.get(service_label) or self._wanted([one])]
        if not (firing or alerts.problem) and fleet.recorded:
            view.say("alerts: none fires")
        rows = []
        for sample in firing:
            service, env, generation = self._key(sample)
            row = (sample.labels.get("alertname", ""), sample.labels.get("severity", ""), service, env, generation)
            rows.append(row)
        view.table(_ALERTS, sorted(rows, key=lambda row: (row[1] != "page", row)), frozenset(range(len(rows))))

    def _rows(self, view: View, fleet: Fleet, now: float) -> None:
        rows = []
        for row in fleet.rows:
            service, env, generation = row.key
            rows.append(
                (
                    service,
                    env,
                    generation,
                    row.release,
                    f"{row.hosts:,.0f}",
                    "" if row.requests is None else rate(row.requests),
                    "" if row.requests is None or row.errors is None else ratio(row.errors, row.requests),
                    "" if row.started is None else span(max(0.0, now - row.started)),
                    "newest" if row.newest else "",
                )
            )
        view.table(_GENERATIONS, rows)

    def _deploys(self, view: View, deploys: Answer, now: float) -> None:
        if deploys.problem:
            view.say(f"deploys are not known: {deploys.problem}", "yellow")
        told = self._wanted(deploys.samples)
        started = [one for one in told if one.labels.get("__name__") == names.DEPLOY_STARTED]
        ended = [one for one in told if one.labels.get("__name__") != names.DEPLOY_STARTED]
        rows = []
        for one in sorted(started, key=lambda one: -one.value)[:DEPLOYS]:
            service, env, _ = self._key(one)
            action = one.labels.get("action", "")
            inferred = " (inferred)" if one.labels.get("inferred") == "true" else ""
            release = one.labels.get(self._labels.release, "")
            before = one.labels.get("from_release", "")
            when = f"{span(max(0.0, now - one.value))} ago"
            rows.append((when, service, env, action + inferred, release, before, self._outcome(one, ended)))
        view.table(_DEPLOYED, rows)

    def _outcome(self, started: Sample, ended: list[Sample]) -> str:
        """How the deploy ended; nothing where nobody has told."""
        about = (*self._key(started), started.labels.get("episode", ""))
        same = [one for one in ended if (*self._key(one), one.labels.get("episode", "")) == about]
        same = [one for one in same if one.value >= started.value]
        if not same:
            return ""
        last = max(same, key=lambda one: one.value)
        withdrawn = last.labels.get("__name__") == names.DEPLOY_WITHDRAWN
        how = "withdrawn" if withdrawn else last.labels.get("status", "")
        return f"{how} after {span(last.value - started.value)}"


def _whole(text: str) -> int:
    try:
        return round(float(text))
    except ValueError:
        return 0
