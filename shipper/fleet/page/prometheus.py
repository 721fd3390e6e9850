"""The same story from what hosts pushed to a Prometheus, where no archive is at hand: generations, hosts and their ends, deploys.

A host's counters begin at zero, so their last values are counts and nothing is extrapolated; the way to them is known at the
moments that were asked for. What arrived of logs and traces is not known there: no audit is made, and nothing is called missing.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shipper.drawing.scale import step_for
from shipper.errors import ShipperError
from shipper.fleet.deploys.model import Action, DeployEvent
from shipper.fleet.page.reading import Read
from shipper.fleet.page.traffic import Traffic, Whose
from shipper.fleet.report import AuditReport, Ended, LifeReport
from shipper.fleet.verdict.client import Client, Found
from shipper.fleet.verdict.queries import quoted

REQUESTS = "shipper_requests_total"
HOST_INFO = "shipper_host_info"
HOST_STARTED = "shipper_host_started_timestamp_seconds"
HOST_STATE = "shipper_host_state"
DEPLOY_STARTED = "shipper_deploy_started_timestamp_seconds"
DEPLOY_FINISHED = "shipper_deploy_finished_timestamp_seconds"
DEPLOY_WITHDRAWN = "shipper_deploy_withdrawn_timestamp_seconds"
PRESENT = "45s"  # three pushes: who was not heard of for so long, and did not end, is silent
PUSH_SECONDS = 15
LOOKS = 7200  # at a host, for when it was last heard of; at a day every 12 s
PIECES = 120
NAMES = 100  # of hosts in one question
SECOND = 1_000_000_000
_HOST = "service, env, generation, instance"
_NOTICED, _DRAINED, _EXPIRED = (2, 3), 4, 5  # values of shipper_host_state, see docs/metrics.md


class NothingKnown(ShipperError):
    """No host that was asked about pushed anything in that time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked about: the last ``hours``, of one service and environment, or of all where they are empty."""

    hours: float
    service: str = ""
    env: str = ""

    @property
    def matchers(self) -> str:
        """In a selector. What has no generation is a gateway."""
        named = (("service", self.service), ("env", self.env))
        return ",".join(['generation!=""', *(f"{label}={quoted(value)}" for label, value in named if value)])

    @property
    def window(self) -> str:
        """The time, in brackets."""
        return f"[{max(1, round(self.hours * 3600))}s]"


class _Asking:
    """The questions, each over the whole time."""

    def __init__(self, client: Client, wanted: Wanted) -> None:
        self._client = client
        self._window = wanted.window
        self._matchers = wanted.matchers
        self.step = min(PUSH_SECONDS, math.ceil(wanted.hours * 3600 / LOOKS))

    def over(self, function: str, name: str, by: str = _HOST) -> list[Found]:
        """What ``function`` makes of each host's series of that name."""
        return self._client.instant(f"max by ({by}) ({function}({self._of(name)}{self._window}))")

    def heard(self) -> list[Found]:
        """When each host pushed last; also one that has ended since. To ``step`` seconds, which a shorter life may escape."""
        return self._client.instant(
            f"max by ({_HOST}) (max_over_time(timestamp({self._of(HOST_INFO)}){self._window[:-1]}:{self.step}s]))"
        )

    def last_words(self, instances: Sequence[str]) -> Iterator[tuple[tuple[str, str, str, str], float]]:
        """When these pushed last, from their samples themselves: only for short lives, whose samples are few."""
        for at in range(0, len(instances), NAMES):
            some = quoted("|".join(map(re.escape, instances[at : at + NAMES])))
            selector = f"{HOST_INFO}{{{self._matchers},instance=~{some}}}{self._window}"
            yield from ((_key(one.labels), one.points[-1][0]) for one in self._client.samples(selector) if one.points)

    def present(self) -> list[Found]:
        """The hosts that are there now."""
        info = self._of(HOST_INFO)
        return self._client.instant(f"max by ({_HOST}) ({info} and present_over_time({info}[{PRESENT}]))")

    def deploys(self) -> list[Found]:
        """What pipelines told, or hosts showed, of deploys, as it was last written."""
        names = "|".join((DEPLOY_STARTED, DEPLOY_FINISHED, DEPLOY_WITHDRAWN))
        selector = f'{{__name__=~"{names}",{self._matchers}}}'
        return self._client.instant(f"last_over_time({selector}{self._window})")

    def counted(self, start: float, end: float) -> list[Found]:
        """Each host's counters of requests on their way."""
        step = step_for(end - start, PIECES)
        query = f"sum by ({_HOST}, outcome) ({self._of(REQUESTS)})"
        return self._client.range(query, int(start), int(end) + 1, step)

    def _of(self, name: str) -> str:
        return f"{name}{{{self._matchers}}}"


def read_prometheus(client: Client, wanted: Wanted, url: str, *, now: Callable[[], int] = time.time_ns) -> Read:
    """Ask for the story. ``url``: as it is told to people; ``now``: ns since the epoch.

    Raises `NoAnswer`, also for an answer that may not be whole, and `NothingKnown`.
    """
    at_ns = now()
    asking = _Asking(client, wanted)
    lives = list(_lives(asking))
    if not lives:
        whose = " ".join(filter(None, ("of", wanted.service, wanted.env))) if wanted.service or wanted.env else ""
        raise NothingKnown(f"no host {whose}{' ' if whose else ''}pushed to {url} in the last {wanted.hours:g} h")
    report = AuditReport(url, at_ns, lives=lives)
    start = max(at_ns / SECOND - wanted.hours * 3600, min(life.born_ns for life in lives) / SECOND)
    traffic = _traffic(asking, {life.life: life for life in lives}, start, at_ns / SECOND)
    deploys = tuple(_events(asking.deploys(), at_ns - round(wanted.hours * 3600 * SECOND)))
    return Read(report, traffic, deploys, audited=False)


def _lives(asking: _Asking) -> Iterator[LifeReport]:
    born = {_key(one.labels): _last(one) for one in asking.over("last_over_time", HOST_STARTED)}
    states = {_key(one.labels): round(_last(one)) for one in asking.over("last_over_time", HOST_STATE)}
    heard = {_key(one.labels): _last(one) for one in asking.heard()}
    here = {_key(one.labels) for one in asking.present()}
    found = asking.over("last_over_time", HOST_INFO, f"{_HOST}, release, image, zone")
    # a host that learned its image late is one host all the same
    hosts = {_key(one.labels): one for one in sorted(found, key=lambda one: one.labels.get("image", ""))}
    short = {
        one.labels.get("instance", "")
        for key, one in hosts.items()
        if heard.get(key, 0.0) - born.get(key, 0.0) < 2 * asking.step
    }
    for key, at in asking.last_words(sorted(short)):
        heard[key] = max(at, heard.get(key, 0.0))
    for key, one in hosts.items():
        at = max(heard.get(key, 0.0), born.get(key, 0.0))
        if not at:
            continue  # it ended before it could say when it began
        heard_ns = round(at * SECOND)
        ended: Ended = "alive" if key in here else _ended(states.get(key, 0))
        yield LifeReport(
            "/".join(key),
            one.labels.get("instance", ""),
            "",
            {
                "service": one.labels.get("service", ""),
                "environment": one.labels.get("env", ""),
                **{name: one.labels.get(name, "") for name in ("generation", "release", "image", "zone")},
            },
            ended,
            born_ns=round(born.get(key, at) * SECOND),
            heard_ns=heard_ns,
            unknown_after_ns=heard_ns if ended == "silent" else None,
        )


def _ended(state: int) -> Ended:
    """How a host that is no longer there ended, by the last thing that it said of itself."""
    if state == _DRAINED:
        return "drained"
    if state == _EXPIRED:
        return "expired"
    return "notice" if state in _NOTICED else "silent"


def _traffic(asking: _Asking, lives: Mapping[str, LifeReport], start: float, end: float) -> Traffic:
    """Each host's counters, from where they stood at the beginning of the time to their last values."""
    by = f"{_HOST}, outcome"
    totals, before, way = (
        {(_key(one.labels), one.labels.get("outcome", "")): one for one in found}
        for found in (
            asking.over("max_over_time", REQUESTS, by),
            asking.over("min_over_time", REQUESTS, by),
            asking.counted(start, end),
        )
    )
    traffic = Traffic()
    for (key, outcome), total in totals.items():
        life = lives.get("/".join(key))
        if life is None:
            continue
        base = _last(before[key, outcome])
        heard_ns = life.heard_ns
        points = [
            (round(at * SECOND), value - base)
            for at, value in (way[key, outcome].points if (key, outcome) in way else ())
            if at * SECOND < heard_ns
        ]
        whose: Whose = (life.life, *key[:3])
        begun = max(life.born_ns, round(start * SECOND))
        traffic.put(whose, outcome, outcome == "error", begun, [*points, (heard_ns, _last(total) - base)])
    return traffic


def _events(found: Iterable[Found], since_ns: int) -> Iterator[DeployEvent]:
    for one in found:
        labels, at_ns = one.labels, round(_last(one) * SECOND)
        if at_ns < since_ns:
            continue
        episode = labels.get("episode", "")
        yield DeployEvent(
            at_ns=at_ns,
            service=labels.get("service", ""),
            env=labels.get("env", ""),
            id=f"{labels.get('generation', '')}/{episode}" if episode else "",
            action=_action(one),
            generation=labels.get("generation", ""),
            release=labels.get("release", ""),
            from_release=labels.get("from_release", ""),
            inferred=labels.get("inferred") == "true",
        )


def _action(one: Found) -> Action:
    if one.name == DEPLOY_WITHDRAWN:
        return "withdrawn"
    if one.name == DEPLOY_FINISHED:
        return "failed" if one.labels.get("status") == "failed" else "finished"
    return "rollback" if one.labels.get("action") == "rollback" else "started"


def _key(labels: Mapping[str, str]) -> tuple[str, str, str, str]:
    service, env, generation, instance = (labels.get(name, "") for name in _HOST.split(", "))
    return service, env, generation, instance


def _last(one: Found) -> float:
    return one.points[-1][1]
