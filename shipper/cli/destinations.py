"""Holding the configured destinations against their exporters, without a connection or a file being opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from shipper.clock import SystemClock
from shipper.config import ConfigErrors, Loaded, Role, convert
from shipper.config.produced import in_words, produced
from shipper.config.validate_routes import signals_of
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.errors import ConfigError, MissingExtra
from shipper.pump.load import exporter_class, load_exporters, make_exporter


def problems(loaded: Loaded, role: Role) -> list[ConfigError]:
    """What the exporters find wrong with the settings given for them, each named by where it was set, and what they lack."""
    # Imported here: where nothing is made, a run's parts are not loaded.
    from shipper.build_destinations import own_addresses

    found: list[ConfigError] = []
    own = own_addresses(loaded.config, role)
    for name in loaded.config.destinations:
        try:
            _exporter(loaded, name, own)
        except MissingExtra as error:
            found.append(located(ConfigError(f"destinations.{name}", str(error)), loaded))
        except ConfigErrors as errors:
            found += [located(error, loaded) for error in errors.all]
        except ConfigError as error:
            found.append(located(error, loaded))
    return found


def untaken(loaded: Loaded, role: Role) -> list[str]:
    """A sentence where there will be records that no destination takes, and the settings are right: such a run may be wanted."""
    wanted = [name for name in loaded.config.destinations if name != loaded.config.standby]
    taken = frozenset[Signal]().union(*(_exporter(loaded, name).signals & _routed(loaded, name) for name in wanted))
    idle = produced(loaded.config, role) - taken
    return [f"no destination takes {in_words(idle)}: they go nowhere"] if wanted and idle else []


def idle_routes(loaded: Loaded) -> list[str]:
    """A sentence for each destination that a route leads to, and whose exporter takes nothing of what the route is about."""
    said = []
    for index, route in enumerate(loaded.config.routes):
        for name in route.to:
            takes = _exporter(loaded, name).signals
            if not takes & signals_of(route):
                have, wants = (" and ".join(sorted(some)) for some in (takes, signals_of(route)))
                said.append(f"routes[{index}] brings nothing to {name}: it takes {have}, and the route is for {wants}")
    return said


def narrow_fallback(loaded: Loaded) -> list[str]:
    """A sentence where the fallback does not take all that those do whom it stands in for."""
    name, config = loaded.config.standby, loaded.config
    if not name:
        return []
    owed = frozenset[Signal]().union(*(_exporter(loaded, one).signals for one in config.destinations if one != name))
    lacking = " and ".join(sorted(owed - _exporter(loaded, name).signals))
    return [f"the fallback {name} takes no {lacking}: in an outage nobody stands in for these"] if lacking else []


def _routed(loaded: Loaded, name: str) -> frozenset[Signal]:
    """The signals of which a destination gets anything, as far as routes decide."""
    mine = [route for route in loaded.config.routes if name in route.to]
    return frozenset[Signal]().union(*map(signals_of, mine)) if mine else frozenset(Signal)


def _exporter(loaded: Loaded, name: str, own: frozenset[tuple[str, int]] = frozenset()) -> Exporter:
    context = ExporterContext(SystemClock(), life="", run=0, user_agent="shipper check", own_addresses=own)
    destination = loaded.config.destinations[name]
    return make_exporter(destination.type, name, destination.options, context, where=f"destinations.{name}")


def defaults(loaded: Loaded) -> dict[str, dict[str, Any]]:
    """By destination, every option of its exporter with the value in force. Raises `ConfigError` for wrong ones."""
    filled: dict[str, dict[str, Any]] = {}
    for name, destination in loaded.config.destinations.items():
        where = f"destinations.{name}"
        try:
            settings = convert(dict(destination.options), exporter_class(destination.type, where=where).Settings, where)
        except ConfigError as error:
            raise located(error, loaded) from error
        filled[name] = msgspec.to_builtins(settings, enc_hook=str)
    return filled


def settings_types() -> Mapping[str, type[msgspec.Struct]]:
    """The settings struct of every installed exporter, by type name."""
    return {name: exporter_class(name).Settings for name in load_exporters()}


def located(error: ConfigError, loaded: Loaded) -> ConfigError:
    """The same error, named by where the setting was set: the file, a variable, the command line."""
    origin = loaded.origin(error.path.partition("[")[0] if error.path.endswith("]") else error.path)
    if origin.kind == "env":
        return ConfigError(origin.name, error.problem)
    if origin.kind == "flag":
        return ConfigError(f"command line: {error.path}", error.problem)
    return ConfigError(f"{loaded.path}: {error.path}" if loaded.path else error.path, error.problem)
