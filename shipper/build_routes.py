"""Makes the routes of destinations out of what the configuration says.

Imported by every run, and loads what decides about records only where there is a route.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shipper.config.schema import Config
from shipper.config.schema_routes import RouteCondition
from shipper.config.validate_routes import levels, signals_of
from shipper.contracts import Signal, Stream
from shipper.events import NotRouted, Reporter

if TYPE_CHECKING:
    from shipper.pump.route import Route
    from shipper.pump.route_rules import Condition, Pattern, Rule


def make_routes(config: Config, report: Reporter) -> dict[str, Route]:
    """The route of each destination that has one, by name; a destination without gets everything.

    Where each has one, the first that looks at a signal counts what none of them takes.
    """
    if not config.routes:
        return {}
    from shipper.pump.route import Route, Unrouted

    rules = {name: _rules(config, name) for name in config.destinations}
    routes = {name: Route(of_one) for name, of_one in rules.items() if of_one}
    owed = [name for name in config.destinations if name != config.standby]
    if all(name in routes for name in owed):

        def count(stream: Stream, records: int) -> None:
            report(NotRouted(stream.id, stream.name, stream.signal, records))

        unrouted = Unrouted([rule for name in owed for rule in rules[name]], count)
        for signal in Signal:
            first = next((name for name in owed if signal in routes[name].signals), None)
            if first is not None:
                routes[first].unrouted[signal] = unrouted
    return routes


def route_shaping(config: Config, name: str) -> list[Any]:
    """What decides which records a destination gets; empty where it gets everything."""
    return [[sorted(signals_of(route)), route.when] for route in config.routes if name in route.to]


def _rules(config: Config, name: str) -> list[Rule]:
    from shipper.pump.route_rules import Condition, Rule

    return [
        Rule(signals_of(route), tuple(map(_condition, route.when)) or (Condition(),))
        for route in config.routes
        if name in route.to
    ]


def _condition(asked: RouteCondition) -> Condition:
    from shipper.pump.route_rules import Condition

    resource = dict(asked.resource)
    if asked.service is not None:
        resource["service.name"] = asked.service
    return Condition(
        severity=levels(asked.severity) if asked.severity is not None else None,
        event_name=_pattern(asked.event_name),
        attributes=_patterns(asked.attributes),
        resource=_patterns(resource),
        scope=_pattern(asked.scope),
        never=tuple(map(_condition, asked.exclude)),
    )


def _pattern(globs: Sequence[str] | None) -> Pattern | None:
    from shipper.pump.route_rules import Pattern

    return None if globs is None else Pattern(globs)


def _patterns(asked: Mapping[str, Sequence[str]]) -> tuple[tuple[str, Pattern], ...]:
    from shipper.pump.route_rules import Pattern

    return tuple((key, Pattern(globs)) for key, globs in asked.items())
