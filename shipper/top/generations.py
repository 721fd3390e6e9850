"""Generations as a Prometheus knows them, the newest of a service first.

The recorded names of our rules are read where they are, so that this says the same as the boards; without the rules
the same expressions are asked directly, which is dearer for the server and right all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig, Labels
from shipper.dashboards.expressions import Expressions
from shipper.top.query import Sample

_RECORDED = (
    names.HOSTS_COUNT,
    names.STARTED,
    names.NEWEST,
    names.RELEASE_INFO,
    names.REQUESTS_RATE,
    names.ERRORS_RATE,
    names.HOSTS_SEEN,
    names.HOSTS_SILENT,
    names.FLEET_SILENT,
)
_FIELDS = {
    names.HOSTS_COUNT: "hosts",
    names.REQUESTS_RATE: "requests",
    names.ERRORS_RATE: "errors",
    names.STARTED: "started",
}

Key = tuple[str, str, str]  # service, env, generation
Ask = Callable[[str], Awaitable[list[Sample]]]


@dataclass(slots=True)
class Row:
    """One generation now."""

    key: Key
    release: str = ""
    hosts: float = 0
    requests: float | None = None  # a second
    errors: float | None = None
    started: float | None = None  # unix seconds
    newest: bool = False


@dataclass(slots=True)
class Fleet:
    """What is known of generations. ``recorded``: our rules are evaluated there; else ``seen`` and ``silent`` are not known."""

    rows: list[Row]
    recorded: bool
    seen: float = 0
    silent: float = 0


async def generations(ask: Ask, config: BoardConfig, service: str = "") -> Fleet:
    """Those that have hosts or requests now. ``service``: only its; empty: all. Raises what ``ask`` does."""
    by_name: dict[str, list[Sample]] = {}
    for sample in await ask(f'{{__name__=~"{"|".join(_RECORDED)}"}}'):
        by_name.setdefault(sample.labels.get("__name__", ""), []).append(sample)
    # of no host, there is no count: but whether all fell silent is recorded for as long as any was heard of
    recorded = names.HOSTS_COUNT in by_name or names.FLEET_SILENT in by_name
    if not recorded:
        by_name = await _by_hosts(ask, config)
    by_name = {name: of_service(samples, config.labels, service) for name, samples in by_name.items()}
    rows = _rows(by_name, config.labels)
    if not recorded:
        _mark_newest(rows)
    seen, silent = (
        sum(sample.value for sample in by_name.get(name, ())) for name in (names.HOSTS_SEEN, names.HOSTS_SILENT)
    )
    return Fleet(rows, recorded, seen, silent)


def of_service(samples: list[Sample], labels: Labels, service: str) -> list[Sample]:
    """Those of one service, or all where none is named."""
    return [one for one in samples if service in ("", one.labels.get(labels.service))]


def key_of(sample: Sample, labels: Labels) -> Key:
    """Which generation a sample is of."""
    service, env, generation = (sample.labels.get(n, "") for n in (labels.service, labels.env, labels.generation))
    return service, env, generation


async def _by_hosts(ask: Ask, config: BoardConfig) -> dict[str, list[Sample]]:
    """What the rules would record, from hosts' own series."""
    expressions, window = Expressions(config), config.windows.rate
    requests = expressions.requests("rate", window)
    with_release = f"{expressions.generation}, {config.labels.release}"
    alive = expressions.alive(by=f"{expressions.host}, {config.labels.release}")
    asked = {
        names.HOSTS_COUNT: f"count by ({expressions.generation}) ({expressions.alive()})",
        names.RELEASE_INFO: f"topk by ({expressions.generation}) (1, count by ({with_release}) ({alive}))",
        names.STARTED: f"min by ({expressions.generation}) ({names.GENERATION_STARTED})",
        names.REQUESTS_RATE: requests,
        names.ERRORS_RATE: expressions.or_zero(expressions.errors("rate", window), f"({requests})"),
    }
    answers = await asyncio.gather(*map(ask, asked.values()))
    return dict(zip(asked, answers, strict=True))


def _rows(by_name: dict[str, list[Sample]], labels: Labels) -> list[Row]:
    rows: dict[Key, Row] = {}
    for name, field in _FIELDS.items():
        for sample in by_name.get(name, ()):
            key = key_of(sample, labels)
            setattr(rows.setdefault(key, Row(key)), field, sample.value)
    newest = {key_of(sample, labels) for sample in by_name.get(names.NEWEST, ())}
    for row in rows.values():
        row.newest = row.key in newest
    for sample in by_name.get(names.RELEASE_INFO, ()):
        if found := rows.get(key_of(sample, labels)):
            found.release = sample.labels.get(labels.release, "")
    shown = [row for row in rows.values() if row.hosts or row.requests]
    return sorted(shown, key=lambda row: (row.key[0], row.key[1], -(row.started or 0), row.key[2]))


def _mark_newest(rows: list[Row]) -> None:
    """The generation that started last among those of a service that have hosts."""
    newest: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.hosts and row.started is not None:
            best = newest.setdefault(row.key[:2], row)
            if row.started > (best.started or 0):
                newest[row.key[:2]] = row
    for row in newest.values():
        row.newest = True
