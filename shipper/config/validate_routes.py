"""What cannot work in routes and with a fallback, and what of them may not be what was meant."""

from __future__ import annotations

from collections.abc import Iterator

from shipper.config.convert import Path, nearest
from shipper.config.schema import Config
from shipper.config.schema_routes import Route, RouteCondition, SeverityRange
from shipper.contracts import Signal

Problem = tuple[Path, str]

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


def route_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with ``routes``."""
    for index, route in enumerate(config.routes):
        path: Path = ("routes", index)
        if not route.to:
            yield (*path, "to"), "name at least one destination"
        for at, name in enumerate(route.to):
            if name not in config.destinations:
                yield (*path, "to", at), f"no destination has the name '{name}'{nearest(name, config.destinations)}"
        yield from _conditions(route, path)


def fallback_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with ``fallback`` and ``drain.fallback``."""
    given = [(("fallback", "destination"), config.fallback.destination), (("drain", "fallback"), config.drain.fallback)]
    names = list(config.destinations)
    for path, name in given:
        if name and name not in names:
            yield path, f"no destination has the name {name!r}{nearest(name, names)}"
        elif name and len(names) == 1:
            yield path, f"{name!r} is the only destination, so there is nothing it could stand in for"
    if all(name for _, name in given) and config.fallback.destination != config.drain.fallback:
        yield ("drain", "fallback"), f"must be the same as fallback.destination ({config.fallback.destination})"


def route_warnings(config: Config) -> Iterator[str]:
    """What works, and may surprise."""
    if not config.routes:
        return
    routed = {name for route in config.routes for name in route.to}
    if all(name in routed or name == config.standby for name in config.destinations):
        for signal in Signal:
            about = [route for route in config.routes if signal in signals_of(route)]
            if about and all(route.when for route in about):
                yield f"every destination has a route: {signal} that match none of them go nowhere, and are counted"
    plain = [f"files[{index}]" for index, group in enumerate(config.files) if group.shape is None]
    asked = [index for index, route in enumerate(config.routes) if any(_asks_severity(when) for when in route.when)]
    if plain and asked:
        yield (
            f"routes[{asked[0]}] asks for a severity, which plain lines have none of: give {', '.join(plain)} a shape,"
            " such as shape: auto"
        )


def signals_of(route: Route) -> frozenset[Signal]:
    """The signals a route is about: those it names, else those that have everything it asks for."""
    if route.signals:
        return frozenset(Signal(name) for name in route.signals)
    return frozenset(Signal) if not route.when else frozenset().union(*map(having, route.when))


def having(condition: RouteCondition) -> frozenset[Signal]:
    """The signals whose records have what a condition asks for."""
    signals = frozenset(Signal)
    if condition.severity is not None or condition.event_name is not None:
        signals &= {Signal.LOGS}
    if condition.attributes:
        signals &= {Signal.LOGS, Signal.TRACES}
    return signals


def levels(asked: SeverityRange) -> tuple[int, int]:
    """The least and the most SeverityNumber in a range; the least is above the most where there is none."""
    least = 1 + 4 * LEVELS.index(asked.at_least) if asked.at_least else 1
    most = 4 + 4 * LEVELS.index(asked.at_most) if asked.at_most else 24
    return least, most


def _conditions(route: Route, path: Path) -> Iterator[Problem]:
    for at, condition in enumerate(route.when):
        here = (*path, "when", at) if len(route.when) > 1 else (*path, "when")
        if lacking := sorted(signals_of(route) - having(condition)) if route.signals else []:
            owners = " and ".join(sorted(having(condition))) or "no records"
            yield here, f"can never hold for {' and '.join(lacking)}: {owners} alone have what it asks for"
        yield from _condition(condition, here)


def _condition(condition: RouteCondition, path: Path) -> Iterator[Problem]:
    if condition.severity is not None:
        if not (condition.severity.at_least or condition.severity.at_most):
            yield (*path, "severity"), "give at_least, at_most or both"
        least, most = levels(condition.severity)
        if least > most:
            yield (*path, "severity"), "can never hold: at_least is above at_most"
    for key in ("service", "scope", "event_name"):
        if getattr(condition, key) == []:
            yield (*path, key), "can never hold: an empty list has nothing that fits"
    for key in ("attributes", "resource"):
        for name, globs in getattr(condition, key).items():
            if not globs:
                yield (*path, key, name), "can never hold: an empty list has nothing that fits"
    for at, other in enumerate(condition.exclude):
        here = (*path, "not", at) if len(condition.exclude) > 1 else (*path, "not")
        if implies(condition, other):
            yield here, "can never hold: everything that fits otherwise is left out by it"
        yield from _condition(other, here)


def implies(condition: RouteCondition, other: RouteCondition) -> bool:
    """Whether ``other`` holds wherever ``condition`` does, as far as that shows without looking into globs."""
    if other.exclude:
        return False
    if other.severity is not None:
        if condition.severity is None:
            return False
        (least, most), (a, b) = levels(condition.severity), levels(other.severity)
        if not (a <= least and most <= b):
            return False
    if any(
        getattr(other, key) is not None and not _within(getattr(condition, key), getattr(other, key))
        for key in ("service", "scope", "event_name")
    ):
        return False
    return all(
        _within(getattr(condition, key).get(name), globs)
        for key in ("attributes", "resource")
        for name, globs in getattr(other, key).items()
    )


def _within(globs: list[str] | None, others: list[str]) -> bool:
    """Whether what fits the one fits the others."""
    return globs is not None and ("*" in others or set(globs) <= set(others))


def _asks_severity(condition: RouteCondition) -> bool:
    return condition.severity is not None or any(map(_asks_severity, condition.exclude))
