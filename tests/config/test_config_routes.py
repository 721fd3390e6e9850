"""Routes and a fallback in the configuration: what is understood, what is refused, what is warned of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shipper.build_destinations import shaping
from shipper.build_routes import make_routes
from shipper.config import Loaded, load, validate
from shipper.config.validate_routes import signals_of
from shipper.contracts import Signal
from shipper.errors import ConfigError
from shipper.events import Reporter
from shipper.pump.route_rules import Condition, Pattern
from shipper.testing.clock import FakeClock

DESTINATIONS = (
    "destinations: {main: {endpoint: http://x:1}, datadog: {endpoint: http://y:1}, archive: {type: archive, url: /a}}\n"
)


def loaded(directory: Path, text: str) -> Loaded:
    """A file with three destinations and ``text``."""
    path = directory / "shipper.yaml"
    path.write_text(DESTINATIONS + text)
    return load(str(path), env={})


def conditions(directory: Path, when: str) -> tuple[Condition, ...]:
    """What a condition, as it is written, becomes."""
    config = loaded(directory, f"routes: [{{to: datadog, when: {when}}}]").config
    (rule,) = make_routes(config, Reporter(FakeClock()))["datadog"].rules
    return rule.any_of


def any_of(**asked: Any) -> Condition:
    return Condition(**asked)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("{severity: warn}", [any_of(severity=(13, 24))]),
        ("{severity: {at_least: info, at_most: warn}}", [any_of(severity=(9, 16))]),
        ("{severity: {at_most: debug}}", [any_of(severity=(1, 8))]),
        ("{service: checkout}", [any_of(resource=(("service.name", Pattern(["checkout"])),))]),
        ("{service: [a, 'b*']}", [any_of(resource=(("service.name", Pattern(["a", "b*"])),))]),
        ("{attributes: {code: [500, true], p: '/pay*'}}", [
            any_of(attributes=(("code", Pattern(["500", "true"])), ("p", Pattern(["/pay*"]))))
        ]),
        ("{scope: a, event_name: b}", [any_of(scope=Pattern(["a"]), event_name=Pattern(["b"]))]),
        ("[{service: a}, {scope: b}]", [
            any_of(resource=(("service.name", Pattern(["a"])),)), any_of(scope=Pattern(["b"]))
        ]),
        ("{severity: error, not: {service: noisy}}", [
            any_of(severity=(17, 24), never=(any_of(resource=(("service.name", Pattern(["noisy"])),)),))
        ]),
    ],
)  # fmt: skip
def test_conditions_mean_what_they_say(tmp_path: Path, when: str, expected: list[Condition]) -> None:
    """One value may stand by itself, numbers and switches are texts, `warn` is that or worse."""
    assert list(conditions(tmp_path, when)) == expected


@pytest.mark.parametrize(
    ("route", "signals"),
    [
        ("{to: main}", set(Signal)),
        ("{to: main, signals: [logs, metrics]}", {Signal.LOGS, Signal.METRICS}),
        ("{to: main, when: {severity: warn}}", {Signal.LOGS}),
        ("{to: main, when: {attributes: {a: b}}}", {Signal.LOGS, Signal.TRACES}),
        ("{to: main, when: [{severity: warn}, {service: a}]}", set(Signal)),
    ],
)
def test_a_route_is_about_the_signals_that_have_what_it_asks_for(
    tmp_path: Path, route: str, signals: set[Signal]
) -> None:
    """Unless it names them."""
    assert signals_of(loaded(tmp_path, f"routes: [{route}]").config.routes[0]) == signals


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("routes: [{to: datdog}]", "routes[0].to[0]: no destination has the name 'datdog'; did you mean 'datadog'?"),
        ("routes: [{to: []}]", "routes[0].to: name at least one destination"),
        ("routes: [{when: {severity: warn}}]", "routes[0].to: is required"),
        ("routes: [{to: main, when: {level: warn}}]", "unknown key; known are severity, service,"),
        ("routes: [{to: main, when: {severity: loud}}]", "expected one of trace, debug"),
        ("routes: [{to: main, when: {severity: {}}}]", "give at_least, at_most or both"),
        ("routes: [{to: main, when: {severity: {at_least: error, at_most: info}}}]", "at_least is above at_most"),
        ("routes: [{to: main, when: {service: []}}]", "an empty list has nothing that fits"),
        ("routes: [{to: main, when: {attributes: {a: []}}}]", "when.attributes.a: can never hold"),
        ("routes: [{to: main, signals: [traces], when: {severity: warn}}]", "can never hold for traces"),
        ("routes: [{to: main, signals: [metrics], when: {attributes: {a: b}}}]", "can never hold for metrics"),
        ("routes: [{to: main, when: {service: a, not: {service: '*'}}}]", "when.not: can never hold"),
        ("routes: [{to: main, when: {severity: error, not: {severity: warn}}}]", "when.not: can never hold"),
        ("routes: [{to: main, when: {not: {}}}]", "when.not: can never hold"),
        ("fallback: {destination: archiv}", "fallback.destination: no destination has the name 'archiv'; did you"),
        ("fallback: {destination: archive, after: 0}", "after"),
        ("fallback: {destination: archive}\ndrain: {fallback: main}", "must be the same as fallback.destination"),
    ],
)
def test_what_cannot_work_is_named_by_its_place(tmp_path: Path, text: str, problem: str) -> None:
    """With the nearest name where there is one, and why a condition never holds."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("routes: [{to: [main, datadog, archive], when: {service: a}}]", "logs that match none of them go nowhere"),
        ("routes: [{to: main, when: {severity: warn}}]\nfiles: [{include: [/x]}]", "give files[0] a shape"),
    ],
)
def test_what_may_surprise_is_said(tmp_path: Path, text: str, warning: str) -> None:
    """Records that are for nobody, and severities that plain lines have none of."""
    assert any(warning in said for said in validate(loaded(tmp_path, text).config))


def test_where_one_destination_gets_everything_nothing_is_for_nobody(tmp_path: Path) -> None:
    """Then there is nothing to warn of, and nothing to count."""
    config = loaded(tmp_path, "routes: [{to: datadog, when: {service: a}}]").config
    assert validate(config) == []
    routes = make_routes(config, Reporter(FakeClock()))
    assert set(routes) == {"datadog"}
    assert routes["datadog"].unrouted == {}


def test_a_fallback_does_not_count_among_those_that_are_owed_something(tmp_path: Path) -> None:
    """What only it would take is for nobody."""
    text = "fallback: {destination: archive}\nroutes: [{to: [main, datadog], when: {service: a}}]"
    config = loaded(tmp_path, text).config
    assert config.standby == "archive"
    assert any("go nowhere" in said for said in validate(config))
    routes = make_routes(config, Reporter(FakeClock()))
    assert set(routes["main"].unrouted) == set(Signal)
    assert routes["datadog"].unrouted == {}


def test_the_drain_s_own_fallback_still_stands_by_itself(tmp_path: Path) -> None:
    """It helps in drains alone."""
    assert loaded(tmp_path, "drain: {fallback: archive}").config.standby == "archive"


def test_only_routes_of_a_destination_change_what_is_noticed_in_its_flight(tmp_path: Path) -> None:
    """Others' requests are what they were."""
    without = loaded(tmp_path, "").config
    one = loaded(tmp_path, "routes: [{to: datadog, when: {service: a}}]").config
    other = loaded(tmp_path, "routes: [{to: datadog, when: {service: b}}]").config
    assert len({shaping(each, "datadog") for each in (without, one, other)}) == 3
    assert len({shaping(each, "main") for each in (without, one, other)}) == 1
