"""Every setting's twin in the environment: ``SHIPPER_`` and its path in capitals, joined by underscores.

``drain.deadline`` is ``SHIPPER_DRAIN_DEADLINE``; the options of a destination are ``SHIPPER_DESTINATIONS_<NAME>_<OPTION>``;
what is said of files with ``SHIPPER_FILES_<OPTION>`` holds for all groups, those of ``SHIPPER_TAIL`` and ``--tail`` included.
Some have short names too (`ALIASES`). A variable that names no setting is warned of and otherwise ignored, because an
environment is shared: another program's typing error must not stop the sidecar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args, get_origin

import msgspec

from shipper.config.convert import FromText, Path, nearest, split_list
from shipper.config.layers import Layers, Origin
from shipper.config.schema import Config
from shipper.config.schema_sources import Files
from shipper.errors import ConfigError

ALIASES: Mapping[str, Path] = {
    "SHIPPER_SERVICE": ("labels", "service"),
    "SHIPPER_RELEASE": ("labels", "release"),
    "SHIPPER_IMAGE": ("labels", "image"),
    "SHIPPER_DEPLOY_ID": ("labels", "generation"),
    "SHIPPER_GENERATION": ("labels", "generation"),  # after DEPLOY_ID: it wins
    "SHIPPER_ENVIRONMENT": ("labels", "environment"),
    "SHIPPER_HOST": ("labels", "host"),
    "SHIPPER_GENERATION_STARTED": ("labels", "generation_started"),
    "SHIPPER_RELEASE_BUILT": ("labels", "release_built"),
}
"""Short names, weaker than the long twin; of two for the same setting the later one here wins."""

TAIL = "SHIPPER_TAIL"
ARCHIVE = "SHIPPER_ARCHIVE"
OTLP = "SHIPPER_OTLP_"
_DESTINATION = "SHIPPER_DESTINATIONS_"
# read by other rooms, or names of the file itself
_KNOWN_ELSEWHERE = {
    "SHIPPER_CONFIG",
    "SHIPPER_HOST_ID",
    "SHIPPER_LOGS",
    "SHIPPER_NATIVE_SIDECAR",
    "SHIPPER_POD_UID",
    "SHIPPER_TERMINATION_GRACE",
}
# what Kubernetes and Docker links inject for a Service whose name begins with "shipper"
_SERVICE_LINK = re.compile(
    r"SHIPPER_(?:[A-Z0-9_]+_)?(?:SERVICE_(?:HOST|PORT(?:_.+)?)|PORT(?:_\d+_(?:TCP|UDP|SCTP).*)?)"
)


@cache
def twins() -> Mapping[str, Path]:
    """Variable name -> path, for every setting whose path is fixed."""
    return {f"SHIPPER_{'_'.join(map(str, path)).upper()}": path for path in _paths(Config, ())}


def _paths(kind: type[msgspec.Struct], above: Path) -> list[Path]:
    found: list[Path] = []
    for field in msgspec.structs.fields(kind):
        path, plain = (*above, field.encode_name), _plain(field.type)
        if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
            found += _paths(plain, path)
        elif path not in (("files",), ("destinations",), ("routes",)):
            found.append(path)
    return found


def _plain(kind: Any) -> Any:
    kind = get_args(kind)[0] if get_origin(kind) is not None and hasattr(kind, "__metadata__") else kind
    return (
        next((part for part in get_args(kind) if part is not type(None)), kind)
        if type(None) in get_args(kind)
        else kind
    )


@cache
def file_twins() -> Mapping[str, Path]:
    """Variable name -> path of the option in a group, for what holds for every group of files."""
    options = [path for path in _paths(Files, ()) if path != ("include",)]
    return {f"SHIPPER_FILES_{'_'.join(map(str, option)).upper()}": option for option in options}


def apply_file_options(layers: Layers, env: Mapping[str, str]) -> None:
    """Lay ``SHIPPER_FILES_<OPTION>`` over every group of files there is, wherever it came from."""
    groups = layers.get(("files",))
    for name, option in file_twins().items():
        if not env.get(name, "").strip() or not isinstance(groups, list):
            continue
        for index, group in enumerate(groups):
            for section in option[:-1]:
                if isinstance(group, dict):
                    group[section] = _spelled_out(section, group.get(section))
                    group = group[section]
            if isinstance(group, dict):
                group[option[-1]] = FromText(env[name])
                layers.origins[("files", index, *option)] = Origin("env", name)


def _spelled_out(section: str | int, given: Any) -> Any:
    """What a section of a group of files holds, be it not there or written as a single word."""
    kinds = {field.encode_name: _plain(field.type) for field in msgspec.structs.fields(Files)}
    short = getattr(kinds[str(section)], "shorthand", "")
    return {} if given is None else {short: given} if isinstance(given, str) and short else given


def apply_env(layers: Layers, env: Mapping[str, str], warnings: list[str]) -> None:
    """Lay the ``SHIPPER_`` variables over the file; empty ones count as not set (as OpenTelemetry rules)."""
    given = {name: value for name, value in env.items() if name.startswith("SHIPPER_") and value.strip()}
    for name in (*ALIASES, *twins()):
        if name in given:
            path = ALIASES.get(name) or twins()[name]
            layers.put(path, FromText(given[name]), Origin("env", name))
    if TAIL in given:
        layers.put(("files",), [{"include": split_list(given[TAIL])}], Origin("env", TAIL))
    for name in sorted(given):
        if name.startswith(_DESTINATION):
            path = _destination_path(layers, name)
            _warn_new(name, str(path[1]), layers, warnings)
            layers.put(path, FromText(given[name]), Origin("env", name))
        elif name == ARCHIVE:
            layers.put((*_archive(layers), "url"), FromText(given[name]), Origin("env", name))
        elif name.startswith(OTLP):
            path = (*otlp_destination(layers), name.removeprefix(OTLP).lower())
            layers.put(path, FromText(given[name]), Origin("env", name))
        elif not any(name in names for names in (twins(), file_twins(), ALIASES, (TAIL,))):
            _warn_unknown(name, warnings)


def _warn_unknown(name: str, warnings: list[str]) -> None:
    if name in _KNOWN_ELSEWHERE or _SERVICE_LINK.fullmatch(name):
        return
    known = [*twins(), *file_twins(), *ALIASES, TAIL, ARCHIVE, f"{OTLP}ENDPOINT", *_KNOWN_ELSEWHERE]
    warnings.append(f"{name}: no such setting, ignored{nearest(name, known)}")


def _warn_new(name: str, destination: str, layers: Layers, warnings: list[str]) -> None:
    """Say so where a variable makes a destination whose name is nearly that of another one."""
    known = _destinations(layers)
    if destination not in known and (meant := nearest(destination, known)):
        warnings.append(f"{name}: makes a new destination '{destination}'{meant}")


def _destinations(layers: Layers) -> dict[str, Any]:
    given = layers.get(("destinations",))
    return given if isinstance(given, dict) else {}


def _destination_path(layers: Layers, name: str) -> Path:
    """``SHIPPER_DESTINATIONS_MY_SINK_ENDPOINT``: a destination known from the file is recognised, else the first word names it."""
    rest = name.removeprefix(_DESTINATION)
    for known in sorted(_destinations(layers), key=len, reverse=True):
        prefix = re.sub(r"[^A-Z0-9]", "_", known.upper()) + "_"
        if rest.startswith(prefix) and len(rest) > len(prefix):
            return ("destinations", known, rest.removeprefix(prefix).lower())
    destination, _, option = rest.partition("_")
    if not destination or not option:
        raise ConfigError(name, f"expected {_DESTINATION}<NAME>_<OPTION>")
    return ("destinations", destination.lower(), option.lower())


def otlp_destination(layers: Layers) -> Path:
    """The destination that ``SHIPPER_OTLP_*`` speak of: ``primary`` if it is OTLP, else the first that is, else a new one."""
    given = _destinations(layers)
    of_type = [name for name, options in given.items() if isinstance(options, dict) and is_otlp(options)]
    name = (
        "primary"
        if "primary" in of_type
        else of_type[0]
        if of_type
        else "primary"
        if "primary" not in given
        else "otlp"
    )
    return ("destinations", name)


def is_otlp(options: Mapping[str, Any]) -> bool:
    """Whether a destination is of the type that is meant when none is given."""
    return bool(options.get("type", "otlp") == "otlp")


def _archive(layers: Layers) -> Path:
    given = _destinations(layers)
    of_type = [
        name for name, options in given.items() if isinstance(options, dict) and options.get("type") == "archive"
    ]
    path = ("destinations", of_type[0] if of_type else "archive")
    if not of_type:
        layers.put((*path, "type"), "archive", Origin("env", ARCHIVE))
    return path
