"""Alerts about deploys: which generation is worse, what was rolled back or withdrawn, and rollouts that do not get anywhere."""

from __future__ import annotations

from collections.abc import Iterator

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.expressions import Expressions
from shipper.dashboards.ruleset import Alert, Severity
from shipper.dashboards.words import SHARE, SPAN, VALUE, Form, Words


def worse(config: BoardConfig) -> Iterator[Alert]:
    """Both serving; the old one gone; and one host that is to be told apart from a generation."""
    yield _both_serving(config, "ShipperNewGenerationErrors", names.ROLE_ERRORS, names.ERRORS_Z, slow=False)
    if config.requests.durations:
        yield _both_serving(config, "ShipperNewGenerationSlow", names.ROLE_SLOW, names.SLOW_Z, slow=True)
    yield _young(config)
    yield _verdict(config, "ShipperVerdictErrors", "errors", "page", "fails more")
    if config.requests.durations:
        yield _verdict(config, "ShipperVerdictLatency", "latency", "ticket", "takes longer")
    yield _one_host(config)


def _both_serving(config: BoardConfig, name: str, bad: str, z: str, *, slow: bool) -> Alert:
    e, words, limits = Expressions(config), Words(config), config.thresholds
    new = f'{bad}{{role="new"}} / {names.ROLE_REQUESTS}{{role="new"}}'
    old = f'{bad}{{role="old"}} / {names.ROLE_REQUESTS}{{role="old"}}'
    parts = [
        f"{names.NEWEST} * on ({e.service}) group_left () ({z} > {limits.z:g})",
        f'and on ({e.service}) {bad}{{role="new"}} >= {limits.errors}',
        f"and on ({e.service}) ({new} >= ignoring (role) {limits.worse:g} * ({old}))",
    ]
    if not slow:
        parts.append(
            f"unless on ({e.service}) ({_odd_one(config)} and on ({e.service}) {names.ERRORS_REST_Z} < {limits.z / 2:g})"
        )
    asked: tuple[tuple[str, Form], ...] = (
        (f'{bad}{{role="new",{{}}}} / {names.ROLE_REQUESTS}{{role="new",{{}}}}', "humanizePercentage"),
        (f'{bad}{{role="new",{{}}}}', "humanize"),
        (f'{names.ROLE_REQUESTS}{{role="new",{{}}}}', "humanize"),
        (f'{bad}{{role="old",{{}}}} / {names.ROLE_REQUESTS}{{role="old",{{}}}}', "humanizePercentage"),
        (f'{bad}{{role="old",{{}}}}', "humanize"),
        (f'{names.ROLE_REQUESTS}{{role="old",{{}}}}', "humanize"),
    )
    numbers = [words.asked(query, form) for query, form in asked]
    release = words.release(names.RELEASE_INFO)
    fails = f"is slower (over {duration(config.requests.objective)})" if slow else "fails more"
    description = (
        f"In the last {duration(config.windows.role)}, {numbers[0]} of its requests ({numbers[1]} of {numbers[2]}) "
        f"{'took too long' if slow else 'failed'}; of the generations that serve beside it, {numbers[3]} ({numbers[4]} of "
        f"{numbers[5]}). That is {VALUE} standard deviations apart, bursts allowed for. The old hosts are still there: "
        "halt the rollout, or roll back."
    )
    return Alert(
        name,
        "\n".join(parts),
        "ticket" if slow else "page",
        f"{words.generation}{release} {fails} than the one it replaces",
        description,
        names.BOARD_TRIAGE,
        wait=config.wait(30),
        keep=config.wait(300),
    )


def _odd_one(config: BoardConfig) -> str:
    """Generations of several hosts, one of which has most of the errors."""
    e, limits = Expressions(config), config.thresholds
    return (
        f"({names.ONE_HOST_ERRORS} > {limits.one_host:g} and on ({e.generation}) {names.HOSTS_COUNT} >= {limits.one_host_of}"
        f" and on ({e.generation}) {names.NEWEST})"
    )


def _young(config: BoardConfig) -> Alert:
    e, words, limits = Expressions(config), Words(config), config.thresholds
    age = config.windows.ages[1]
    errors, requests = (
        e.recent(f'{name}{{age="{age}"}}', config.windows.previous)
        for name in (names.ERRORS_FIRST, names.REQUESTS_FIRST)
    )
    limit = f"clamp_min({limits.young_factor:g} * {names.FIRST_MEDIAN_PREV}, {limits.young_ratio:g})"
    rest = f'{names.ROLE_ERRORS}{{role="rest"}} / {names.ROLE_REQUESTS}{{role="rest"}}'
    expr = "\n".join(
        [
            f"sum by ({e.generation}) ({errors} / {requests} and on ({e.generation}) {names.NEWEST})",
            f"> on ({e.service}) group_left () {limit}",
            f"and on ({e.generation}) {errors} >= {limits.young_errors}",
            f"and on ({e.generation}) ({names.ERRORS_RATIO} > on ({e.service}) group_left () {limit})",
            f"and on ({e.service}) {names.FIRST_COUNT_PREV} >= {limits.predecessors}",
            f"unless on ({e.service}) ({_odd_one(config)} and on ({e.service}) ({rest} <= on ({e.service}) {limit}))",
        ]
    )
    by = ("env", "service", "generation")
    failed = words.asked(f"{errors.replace('{', '{{},', 1)}", "humanize", by=by)
    asked = words.asked(f"{requests.replace('{', '{{},', 1)}", "humanize", by=by)
    median = words.asked(f"{names.FIRST_MEDIAN_PREV}{{{{}}}}", "humanizePercentage")
    count = words.asked(f"{names.FIRST_COUNT_PREV}{{{{}}}}", "humanize")
    description = (
        f"{SHARE} of its requests since it began ({failed} of {asked}, first {age} at most) failed, and it still fails. The "
        f"median of the {count} generations before it, at the same age, is {median}. Compared is how generations start, since "
        "the old one may be gone: roll back if nothing else changed at that time."
    )
    return Alert(
        "ShipperYoungGenerationErrors",
        expr,
        "page",
        f"{words.generation}{words.release(names.RELEASE_INFO)} starts worse than the generations before it",
        description,
        names.BOARD_COMPARE,
        wait=config.wait(30),
        keep=config.wait(300),
    )


def _verdict(config: BoardConfig, name: str, subject: str, severity: Severity, does: str) -> Alert:
    """What `shipper verdict` says, where it is computed. Alone, a generation is judged by its first minutes, which pass no more."""
    e, words, windows = Expressions(config), Words(config), config.windows
    about = f'subject="{subject}"'
    beside = f"{names.HOSTS_COUNT} unless on ({e.generation}) {names.NEWEST}"
    recently = (
        f"({names.AGE} <= {windows.previous:g} or on ({e.generation}) ({names.NEWEST} and on ({e.service}) ({beside})))"
    )
    expr = "\n".join(
        [
            f"max by ({e.generation}) ({names.VERDICT_ERRORS}{{{about}}} and on ({e.generation}, baseline) {e.verdict(about)} == 1)",
            f"and on ({e.generation}) {names.NEWEST}",
            f"and on ({e.generation}) {recently}",
        ]
    )

    def number(metric: str) -> str:
        asked = f"max({metric}{{{about},{{}}}})"
        return words.asked(asked, "humanize", by=("env", "service", "generation"))

    factor, low, high, seen = map(
        number, (names.VERDICT_FACTOR, names.VERDICT_LOW, names.VERDICT_HIGH, names.VERDICT_SEEN)
    )
    requests = number(names.VERDICT_REQUESTS)
    other_bad, other = number(names.VERDICT_BASELINE_ERRORS), number(names.VERDICT_BASELINE_REQUESTS)
    what = "failed" if subject == "errors" else f"took longer than {duration(config.requests.objective)}"
    return Alert(
        name,
        expr,
        severity,
        f"{words.generation}{words.release(names.RELEASE_INFO)} {does} than what it is held against",
        f"{VALUE} of its {requests} requests {what}, against {other_bad} of {other}: {factor} times the share (95 % interval {low} "
        f"to {high}; a factor of {seen} would have been seen). `shipper verdict` says the same.",
        names.BOARD_TRIAGE,
        wait=config.wait(90),
        keep=config.wait(300),
    )


def _one_host(config: BoardConfig) -> Alert:
    e, words, limits = Expressions(config), Words(config), config.thresholds
    errors = e.errors("increase", config.windows.role, host=True)
    requests = e.requests("increase", config.windows.role, host=True)
    per_generation = f"on ({e.generation}) group_left ()"
    share = f"{errors}\n/ {per_generation} ({names.ERRORS_INCREASE} >= {limits.errors})"
    expected = f"{requests}\n/ {per_generation} {names.REQUESTS_INCREASE}"
    expr = (
        f"({share})\n> on ({e.host}) clamp_min({limits.worse:g} * (\n{expected}\n), {limits.one_host:g})\n"
        f"and on ({e.generation}) {names.HOSTS_COUNT} >= {limits.one_host_of}"
    )
    instance = words.label(config.labels.instance)
    hosts = words.asked(f"{names.HOSTS_COUNT}{{{{}}}}", "humanize", by=("env", "service", "generation"))
    return Alert(
        "ShipperOneHostErrors",
        expr,
        "ticket",
        f"Host {instance} fails, not {words.generation}",
        f"{SHARE} of the errors of {words.generation} in the last {duration(config.windows.role)} come from host {instance}, "
        f"one of {hosts}. Drain that host; a rollback would not help.",
        names.BOARD_HOSTS,
        wait=config.wait(120),
        keep=config.wait(300),
        variables=("env", "service", "generation", "instance"),
    )


def events(config: BoardConfig) -> Iterator[Alert]:
    """What happened: for the record and for the person who wonders, not for the pager."""
    e, words = Expressions(config), Words(config)
    told = f"{config.windows.event:g}"
    # Of a generation that has just begun its start is known a moment before it is the newest: that one is not gone.
    was_newest = f"present_over_time({names.NEWEST}[{duration(config.windows.remember)}])"
    withdrawn = f"({names.STARTED} > on ({e.service}) group_left () {names.NEWEST_STARTED} and on ({e.generation}) {was_newest})"
    release = words.release(names.RELEASE_INFO)
    kept = f'max by ({e.generation}) ({names.DEPLOY_STARTED}{{action="rollback"}})'
    yield Alert(
        "ShipperRollback",
        f"(time() - ({kept} > 0) < {told} > -{told})\n"
        f"or on ({e.generation})\n"
        f"({names.AGE} and on ({e.generation}) {names.NEWEST}"
        f" and on ({e.service}) resets({names.RELEASE_BUILT_CURRENT}[{duration(config.windows.event)}]) > 0"
        f" unless on ({e.service}) {withdrawn})",
        "info",
        f"{words.service} was rolled back: {words.generation}{release} is an older release than the one before",
        f"It began {SPAN} ago. An older release was deployed again. See whether the errors went with the release that is gone; "
        "if they did not, it was not the deploy.",
        names.BOARD_ROLLOUT,
    )
    kept = f"max by ({e.generation}) ({names.DEPLOY_WITHDRAWN})"
    yield Alert(
        "ShipperGenerationWithdrawn",
        f"(time() - {names.STARTED} and on ({e.generation}) {withdrawn})\n"
        f"or on ({e.generation})\n(time() - ({kept} > 0) < {told} > -{told})",
        "info",
        f"{words.generation} was taken back before it replaced the one before it",
        f"It is gone ({SPAN} after it began, or after it was reported), and an older generation serves alone. A canary that "
        "was taken back looks like this; so does a generation that could not stay up.",
        names.BOARD_ROLLOUT,
    )


def rollouts(config: BoardConfig) -> Iterator[Alert]:
    """Whether what was deployed is what runs, and whether it ever gets there."""
    e, words, windows = Expressions(config), Words(config), config.windows
    labels = config.labels
    by_release = f"{e.service}, {labels.release}"
    known = f'{names.HOST_INFO}{{image!=""}}'
    images = f"count by ({by_release}, image) ({known} and present_over_time({known}[{duration(windows.present)}]))"
    release = words.label(labels.release)
    yield Alert(
        "ShipperImageDrift",
        f"count by ({by_release}) ({images}) > 1",
        "ticket",
        f"Release {release} of {words.service} runs from {VALUE} different images",
        f"Hosts that say they run release {release} were born from {VALUE} images. One of them is not what was tested: a tag "
        "that moved, a build that ran twice, or another region's image (then say so by the release's name).",
        names.BOARD_ROLLOUT,
        wait=config.wait(300),
        variables=("env", "service"),
    )
    yield _never_up(config)
    yield Alert(
        "ShipperRolloutStuck",
        f"{names.HOSTS_COUNT} unless on ({e.generation}) {names.NEWEST}",
        "ticket",
        f"{words.generation} still has {VALUE} hosts beside a newer generation",
        f"For {duration(windows.rollout)} a newer generation has been serving, and {VALUE} hosts of this one are still there. "
        "Either the rollout stopped half-way, or somebody wants both: then say so where your alerts are routed.",
        names.BOARD_ROLLOUT,
        wait=duration(windows.rollout),
    )


def _never_up(config: BoardConfig) -> Alert:
    """Fewer hosts than were wanted, and none came in addition for as long as a boot may take."""
    e, words, windows = Expressions(config), Words(config), config.windows
    desired = f"max by ({e.generation}) ({names.DESIRED_HOSTS})"
    started = f"max by ({e.generation}) ({names.DEPLOY_STARTED})"
    withdrawn = f"(max by ({e.generation}) ({names.DEPLOY_WITHDRAWN}) >= on ({e.generation}) {started})"
    lookback = f"[{duration(windows.boot + windows.rollout)}]"
    peak = f"max_over_time({names.HOSTS_COUNT}{lookback})"
    none = f"or on ({e.generation}) 0 * {desired}"
    earlier = f"(max_over_time({names.HOSTS_COUNT}{lookback} offset {duration(windows.boot)}) {none})"
    by = ("env", "service", "generation")
    wanted = words.asked(f"max({names.DESIRED_HOSTS}{{{{}}}})", "humanize", by=by)
    came = words.asked(f"max_over_time({names.HOSTS_COUNT}{{{{}}}}{lookback})", "humanize", by=by, otherwise="0")
    return Alert(
        "ShipperHostsNeverUp",
        f"({desired} - on ({e.generation}) ({peak} {none}) > 0)\n"
        f"and on ({e.generation}) (({peak} {none}) <= on ({e.generation}) {earlier})\n"
        f"and on ({e.generation}) (time() - {started} > {windows.boot:g} < {windows.boot + windows.rollout:g})\n"
        f"unless on ({e.generation}) {withdrawn}",
        "ticket",
        f"{VALUE} hosts of {words.generation} never came up",
        f"The deploy wanted {wanted} hosts; at most {came} were there at once, and none more came in the last "
        f"{duration(windows.boot)}. They may not boot, not reach the destination, or not run Shipper.",
        names.BOARD_ROLLOUT,
    )
