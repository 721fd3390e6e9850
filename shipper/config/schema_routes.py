"""The settings that decide which destination gets what, and which one stands in when others are down."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from shipper.config.section import Section
from shipper.config.units import Seconds, Several

RoutedSeverity = Literal["", "trace", "debug", "info", "warn", "error", "fatal"]


class SeverityRange(Section, frozen=True):
    """Severities of log records; a record that has none is in no range. May also be just the least one."""

    shorthand: ClassVar[str] = "at_least"

    at_least: Annotated[RoutedSeverity, Meta(description="This or worse.")] = ""
    at_most: Annotated[RoutedSeverity, Meta(description="This or less.")] = ""


class RouteCondition(Section, frozen=True):
    """What a route asks of records: all that is given must hold. Texts are globs; of several in a list one has to fit."""

    alone: ClassVar[bool] = True  # may stand by itself instead of in a list

    severity: Annotated[SeverityRange | None, Meta(description="Of log records, such as `warn` for that or worse.")] = (
        None
    )
    service: Annotated[Several | None, Meta(description="service.name of the resource.")] = None
    attributes: Annotated[
        dict[str, Several],
        Meta(description="Attributes of the log record or span, each with the values that fit; `*`: it must be there."),
    ] = msgspec.field(default_factory=dict)
    resource: Annotated[
        dict[str, Several], Meta(description="Attributes of the resource, such as deployment.environment.name.")
    ] = msgspec.field(default_factory=dict)
    scope: Annotated[Several | None, Meta(description="Name of the instrumentation scope: a logger, a library.")] = None
    event_name: Annotated[Several | None, Meta(description="Event name of log records.")] = None
    exclude: Annotated[
        list[RouteCondition], Meta(description="Conditions of the same kind, none of which may hold.")
    ] = msgspec.field(default_factory=list, name="not")


class Route(Section, frozen=True):
    """Which records go to a destination. One that no route names gets everything."""

    to: Annotated[Several, Meta(description="Names of destinations.")]
    signals: Annotated[
        list[Literal["logs", "traces", "metrics"]],
        Meta(description="Of these only; not set: all signals that have what `when` asks for."),
    ] = msgspec.field(default_factory=list)
    when: Annotated[
        list[RouteCondition],
        Meta(description="Only records for which this condition holds, or one of a list of them; not set: all."),
    ] = msgspec.field(default_factory=list)


class Fallback(Section, frozen=True):
    """A destination that stands in for others that are down, and in a drain that is too short (docs/routes.md)."""

    destination: Annotated[
        str, Meta(description="Its name; it gets nothing while all is well. Empty: there is none.")
    ] = ""
    after: Annotated[
        Seconds, Meta(description="How long a destination is down before this one gets what it lacks.", ge=1)
    ] = 300.0
