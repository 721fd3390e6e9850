"""Puts the settings together: command line over ``SHIPPER_`` variables over the file over ``OTEL_`` variables over defaults."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from shipper.config.convert import Converter, Path, dotted, raise_all
from shipper.config.env import apply_env, apply_file_options, otlp_destination
from shipper.config.layers import Document, Layers, Origin
from shipper.config.otel import apply_otel
from shipper.config.schema import Config, Role
from shipper.config.schema_receivers import Receivers
from shipper.config.substitute import substitute
from shipper.config.validate import LEAST_OPEN_FILES, validate
from shipper.errors import ConfigError
from shipper.paths import CONFIG_FILE, default_state_dir

GATEWAY_ADMIN = "127.0.0.1:9478"  # one machine may well run a sidecar and a gateway


@dataclass(frozen=True, slots=True)
class Loaded:
    """A finished configuration. ``origins`` has the dotted path of every value that is not a default; ``path`` is the file read."""

    config: Config
    origins: Mapping[str, Origin] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    path: str = ""

    def origin(self, path: str) -> Origin:
        """Where the setting at a dotted path came from."""
        return self.origins.get(path, Origin("default"))


def load(
    path: str | None,
    *,
    env: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    role: Role = "sidecar",
    complete: bool = True,
) -> Loaded:
    """Read and merge all settings; touches nothing but the file.

    ``path``: the file, or None for ``SHIPPER_CONFIG``, else ``/etc/shipper/shipper.yaml`` if that exists. ``overrides``:
    values of the command line by dotted path (``"drain.deadline"``); two short ones, ``tail`` (globs) and ``endpoint``
    (of the OTLP destination); None means not given. ``complete`` demands what the role needs in order to run, such as a
    destination. Raises `ConfigError` (`ConfigErrors` for several).
    """
    warnings: list[str] = []
    document = _document(path, env)
    layers = Layers.from_document(document)
    errors: list[ConfigError] = []
    unresolved: list[tuple[Path, str]] = []
    layers.data = substitute(layers.data, env, unresolved)
    errors += [ConfigError(layers.locate(where), problem) for where, problem in unresolved]
    apply_env(layers, env, warnings)
    _apply_overrides(layers, overrides or {})
    apply_file_options(layers, env)
    apply_otel(layers, env, warnings)
    raw = _fold_destinations(layers.data)
    config = Converter(lambda p: layers.locate(_unfold(p)), errors).value(raw, Config, ())
    raise_all(errors)
    assert isinstance(config, Config)
    config = _with_paths(config, env, role)
    warnings += validate(config, role if complete else None, layers.locate)
    origins = {dotted(where): origin for where, origin in layers.origins.items()}
    return Loaded(config, origins, tuple(warnings), document.name)


def _document(path: str | None, env: Mapping[str, str]) -> Document:
    chosen = path or env.get("SHIPPER_CONFIG", "").strip() or (CONFIG_FILE if os.path.lexists(CONFIG_FILE) else "")
    if not chosen:
        return Document("")
    from shipper.config.yamlfile import read_document  # imported here: without a file no YAML library is loaded

    return read_document(chosen)


def _apply_overrides(layers: Layers, overrides: Mapping[str, Any]) -> None:
    flag = Origin("flag")
    for name, value in overrides.items():
        if value is None or (name == "tail" and not value):
            continue
        if name == "tail":
            layers.put(("files",), [{"include": list(value)}], flag)
        elif name == "endpoint":
            layers.put((*otlp_destination(layers), "endpoint"), value, flag)
        else:
            layers.put(tuple(name.split(".")), value, flag)


def _fold_destinations(data: dict[str, Any]) -> dict[str, Any]:
    """What stands beside a destination's ``type`` becomes its ``options``, which only its exporter can judge."""
    destinations = data.get("destinations")
    if not isinstance(destinations, dict):
        return data
    folded = {
        name: {
            **({"type": options["type"]} if options.get("type") is not None else {}),
            "options": {key: value for key, value in options.items() if key != "type"},
        }
        if isinstance(options, dict)
        else options
        for name, options in destinations.items()
    }
    return {**data, "destinations": folded}


def _unfold(path: Path) -> Path:
    folded = len(path) > 2 and path[0] == "destinations" and path[2] == "options"
    return path[:2] + path[3:] if folded else path


def _with_paths(config: Config, env: Mapping[str, str], role: Role) -> Config:
    """Fill in what depends on other settings, and make paths absolute, so that no room depends on the working directory."""
    suffix = "-gateway" if role == "gateway" else ""
    state_dir = _absolute(config.state_dir, env) or default_state_dir(env) + suffix
    admin = config.admin
    listen = _address(admin.listen)
    if role == "gateway" and listen == type(admin)().listen:
        listen = GATEWAY_ADMIN
    socket = _absolute(admin.socket, env) or os.path.join(state_dir, "admin.sock")
    files = [
        msgspec.structs.replace(
            group,
            include=[_absolute(pattern, env) for pattern in group.include],
            exclude=[_absolute(pattern, env) if "/" in pattern else pattern for pattern in group.exclude],
        )
        for group in config.files
    ]
    logs = [
        msgspec.structs.replace(rule, files=[_absolute(pattern, env) for pattern in rule.files])
        for rule in config.requests.logs
    ]
    limits = config.file_limits
    if not limits.max_open_files:
        limits = msgspec.structs.replace(limits, max_open_files=_descriptors())
    return msgspec.structs.replace(
        config,
        file_limits=limits,
        state_dir=state_dir,
        spool_dir=_absolute(config.spool_dir, env) or os.path.join(state_dir, "spool"),
        admin=msgspec.structs.replace(admin, listen=listen, socket=socket),
        files=files,
        requests=msgspec.structs.replace(config.requests, logs=logs),
        receivers=_doors(config.receivers),
        gateway=msgspec.structs.replace(config.gateway, grpc=_address(config.gateway.grpc)),
    )


def _doors(receivers: Receivers) -> Receivers:
    otlp = receivers.otlp
    if otlp is not None:
        otlp = msgspec.structs.replace(otlp, http=_address(otlp.http), grpc=_address(otlp.grpc))
    return msgspec.structs.replace(receivers, otlp=otlp)


def _address(text: str) -> str:
    """An address to listen on; ``off`` is for variables, of which an empty one counts as not set."""
    return "" if text == "off" else text


def _descriptors() -> int:
    """Half of the descriptors this process may have, at most 1024: the other half is for the network and the state."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if soft == resource.RLIM_INFINITY else max(LEAST_OPEN_FILES, min(1024, soft // 2))


def _absolute(path: str, env: Mapping[str, str]) -> str:
    """``path`` seen from the working directory, ``~/`` from the home directory; empty stays empty."""
    if path.startswith("~/") and env.get("HOME"):
        path = env["HOME"] + path[1:]
    return path if not path or os.path.isabs(path) else os.path.join(os.getcwd(), path)
