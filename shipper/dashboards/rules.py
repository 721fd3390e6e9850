"""The recording rules: what boards and alerts read, few enough to be kept for months however many hosts come and go.

What is read from hosts' series stays in groups of its own (``shipper-generation``, ``-traffic``, ``-first``, ``-endings``), which
make about twenty series a generation. ``shipper-role`` and ``shipper-history`` make a fixed number a service from those;
what reaches back for days is evaluated less often, and so is what nobody has to know within seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.expressions import Expressions, Over
from shipper.dashboards.ruleset import Group, Rule


def recording_groups(config: BoardConfig) -> tuple[Group, ...]:
    """All groups, in the order in which they read from each other; servers evaluate them side by side."""
    fast, slow = duration(config.intervals.evaluate), duration(config.intervals.slow)
    return (
        Group("shipper-generation", fast, (*_hosts(config), *_order(config))),
        Group("shipper-traffic", fast, tuple(_traffic(config))),
        Group("shipper-first", fast, tuple(_first(config))),
        Group("shipper-endings", slow, tuple(_endings(config))),
        Group("shipper-role", fast, (*_roles(config), *_worse(config), *_service(config))),
        Group("shipper-history", slow, (*_predecessors(config), *_burn(config))),
    )


def _hosts(config: BoardConfig) -> Iterator[Rule]:
    e = Expressions(config)
    yield Rule(names.HOSTS_COUNT, f"count by ({e.generation}) ({e.alive()})")
    with_release = f"{e.generation}, {config.labels.release}"
    yield Rule(
        names.RELEASE_INFO,
        f"topk by ({e.generation}) (1, count by ({with_release}) ({e.alive(by=f'{e.host}, {config.labels.release}')})) * 0 + 1",
    )


def _endings(config: BoardConfig) -> Iterator[Rule]:
    e, windows = Expressions(config), config.windows
    together = windows.together + windows.silent
    yield Rule(names.HOSTS_SEEN, f"count by ({e.generation}) ({e.heard(windows.ended)})")
    yield Rule(
        names.HOSTS_SILENT, f"count by ({e.generation}) (\n{e.silent(windows.ended)}\n)\nor\n0 * {names.HOSTS_SEEN}"
    )
    yield Rule(names.FLEET_SILENT, f"(count({e.silent(together)}) or vector(0))\n/\ncount({e.heard(together)})")


def _order(config: BoardConfig) -> Iterator[Rule]:
    """Which generation began when, which is the newest, and which came before it.

    The start is remembered by reading the rule's own last result, so that it does not move to the next host's birth when
    the first host dies; forgotten some time after the last host, so that the same key coming back begins anew.
    """
    e, windows = Expressions(config), config.windows
    serving = f"present_over_time({names.HOSTS_COUNT}[{duration(windows.absent)}])"
    remembered = f"present_over_time({names.HOSTS_COUNT}[{duration(windows.remember)}])"
    yield Rule(
        names.STARTED,
        f'(max by ({e.generation}) ({names.EPISODE_STARTED}{{episode!="1"}}) and on ({e.generation}) {remembered})\n'
        f"or\nmin by ({e.generation}) (\n"
        f'label_replace(min by ({e.generation}) ({names.GENERATION_STARTED}), "from", "hosts", "", "")\n'
        f"or\n({names.STARTED} and on ({e.generation}) {remembered})\n)",
    )
    yield Rule(names.AGE, f"clamp_min(time() - {names.STARTED}, 0)")
    yield Rule(names.NEWEST, f"topk by ({e.service}) (1, {names.STARTED} and on ({e.generation}) {serving}) * 0 + 1")
    yield Rule(names.NEWEST_STARTED, f"max by ({e.service}) ({names.STARTED} and on ({e.generation}) {names.NEWEST})")
    before = (
        f"topk by ({e.service}) (1, {e.recent(names.STARTED, windows.previous)}"
        f" < on ({e.service}) group_left () {names.NEWEST_STARTED})"
    )
    yield Rule(
        names.PREV_INFO,
        f"{names.NEWEST} * on ({e.service}) group_left (prev_generation)\n"
        f'(label_replace({before}, "prev_generation", "$1", "{config.labels.generation}", "(.*)") * 0 + 1)\n'
        f"or on ({e.generation})\n({names.PREV_INFO} and on ({e.generation}) {serving})",
    )


def _traffic(config: BoardConfig) -> Iterator[Rule]:
    e, windows = Expressions(config), config.windows
    yield Rule(names.REQUESTS_RATE, e.requests("rate", windows.rate))
    yield Rule(names.ERRORS_RATE, e.or_zero(e.errors("rate", windows.rate), names.REQUESTS_RATE))
    yield Rule(names.ERRORS_RATIO, f"{names.ERRORS_RATE} / ({names.REQUESTS_RATE} > 0)")
    yield Rule(names.REQUESTS_INCREASE, e.requests("increase", windows.role))
    yield Rule(names.ERRORS_INCREASE, e.or_zero(e.errors("increase", windows.role), names.REQUESTS_INCREASE))
    worst = f"max by ({e.generation}) ({e.errors('increase', windows.role, host=True)})"
    yield Rule(names.ONE_HOST_ERRORS, f"{worst}\n/\n({names.ERRORS_INCREASE} > 0)")
    if config.requests.durations:
        yield Rule(names.SLOW_RATE, e.slow("rate", windows.rate))
        yield Rule(names.SLOW_RATIO, f"{names.SLOW_RATE} / ({names.REQUESTS_RATE} > 0)")
        yield Rule(names.SLOW_INCREASE, e.slow("increase", windows.role))


def _first(config: BoardConfig) -> Iterator[Rule]:
    """Counts since birth, recorded while a generation is young: those of a generation withdrawn at minute 20 are there, too."""
    e, windows = Expressions(config), config.windows
    counted: dict[str, Callable[[Over, float], str]] = {
        names.REQUESTS_FIRST: e.requests,
        names.ERRORS_FIRST: e.errors,
        **({names.SLOW_FIRST: e.slow} if config.requests.durations else {}),
    }
    for name, count in counted.items():
        for seconds, age in zip((windows.first_short, windows.first_long), windows.ages, strict=True):
            expr = f"(\n{count('first', seconds)}\n)\nand on ({e.generation}) ({names.AGE} <= {seconds:g})"
            if name == names.ERRORS_FIRST:
                expr = e.or_zero(expr, f'{names.REQUESTS_FIRST}{{age="{age}"}}')
            yield Rule(name, expr, {"age": age})


def _roles(config: BoardConfig) -> Iterator[Rule]:
    e = Expressions(config)
    increases = {names.ROLE_REQUESTS: names.REQUESTS_INCREASE, names.ROLE_ERRORS: names.ERRORS_INCREASE}
    if config.requests.durations:
        increases[names.ROLE_SLOW] = names.SLOW_INCREASE
    for name, increase in increases.items():
        for role, keeps in (("new", "and"), ("old", "unless")):
            expr = f"sum by ({e.service}) ({increase} {keeps} on ({e.generation}) {names.NEWEST})"
            yield Rule(name, expr, {"role": role})
    newest = f"and on ({e.generation}) {names.NEWEST}"
    errors = e.errors("increase", config.windows.role, host=True)
    others = f"{newest}\nunless on ({e.host}) topk by ({e.service}) (1, {errors} {newest})"
    requests = f"{e.requests('increase', config.windows.role, host=True)}\n{others}"
    yield Rule(names.ROLE_REQUESTS, f"sum by ({e.service}) (\n{requests}\n)", {"role": "rest"})
    none = f'or on ({e.service})\n0 * {names.ROLE_REQUESTS}{{role="rest"}}'
    yield Rule(names.ROLE_ERRORS, f"sum by ({e.service}) (\n{errors}\n{others}\n)\n{none}", {"role": "rest"})


def _worse(config: BoardConfig) -> Iterator[Rule]:
    e = Expressions(config)
    yield Rule(names.ERRORS_Z, e.z(names.ROLE_ERRORS, names.ROLE_REQUESTS, "new"))
    yield Rule(names.ERRORS_REST_Z, e.z(names.ROLE_ERRORS, names.ROLE_REQUESTS, "rest"))
    if config.requests.durations:
        yield Rule(names.SLOW_Z, e.z(names.ROLE_SLOW, names.ROLE_REQUESTS, "new"))


def _service(config: BoardConfig) -> Iterator[Rule]:
    e = Expressions(config)
    rates = {names.SERVICE_REQUESTS_RATE: names.REQUESTS_RATE, names.SERVICE_ERRORS_RATE: names.ERRORS_RATE}
    if config.requests.durations:
        rates[names.SERVICE_SLOW_RATE] = names.SLOW_RATE
    for name, rate in rates.items():
        yield Rule(name, f"sum by ({e.service}) ({rate})")
    yield Rule(
        names.RELEASE_BUILT_CURRENT,
        f"max by ({e.service}) (max by ({e.generation}) ({names.RELEASE_BUILT}) and on ({e.generation}) {names.NEWEST})",
    )


def _predecessors(config: BoardConfig) -> Iterator[Rule]:
    e, windows = Expressions(config), config.windows
    errors, requests = (
        e.recent(f'{name}{{age="{windows.ages[1]}"}}', windows.history)
        for name in (names.ERRORS_FIRST, names.REQUESTS_FIRST)
    )
    ratios = f"{errors}\n/\n({requests} >= {config.thresholds.requests})\nunless on ({e.generation}) {names.NEWEST}"
    yield Rule(names.FIRST_MEDIAN_PREV, f"quantile by ({e.service}) (0.5,\n{ratios}\n)")
    yield Rule(names.FIRST_COUNT_PREV, f"count by ({e.service}) (\n{ratios}\n)")


def _burn(config: BoardConfig) -> Iterator[Rule]:
    """Sums of what is recorded by service: cheap over days, and right although no host lived that long."""
    windows = sorted({length for window in config.burn for length in (window.long, window.short)})
    spent = {names.BURN_ERRORS: names.SERVICE_ERRORS_RATE}
    if config.requests.durations:
        spent[names.BURN_SLOW] = names.SERVICE_SLOW_RATE
    for name, bad in spent.items():
        for window in windows:
            text = duration(window)
            expr = f"sum_over_time({bad}[{text}]) / (sum_over_time({names.SERVICE_REQUESTS_RATE}[{text}]) > 0)"
            yield Rule(name, expr, {"window": text})
