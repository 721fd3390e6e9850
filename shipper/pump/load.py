"""Finds exporters by entry point, the built-in ones exactly as a stranger's, and builds them from plain settings."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from shipper.config.convert import convert, raise_all
from shipper.contracts import Exporter, ExporterContext
from shipper.errors import ConfigError, MissingExtra

GROUP = "shipper.exporters"
DISTRIBUTION = "ephemeral-shipper"
_EXTRAS = {"confluent_kafka": "kafka"}  # modules that not every sidecar wants


def load_exporters() -> Mapping[str, EntryPoint]:
    """All installed exporters by type name; none of them is imported yet."""
    return _installed(tuple(sys.path))


@cache  # reads the metadata of every installed package, which takes longer than all else that is done for a destination
def _installed(_path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def make_exporter(
    type_: str, name: str, raw_settings: Mapping[str, Any], context: ExporterContext, *, where: str = ""
) -> Exporter:
    """The exporter of type ``type_`` for destination ``name``; ``where`` begins the path in errors.

    Raises `ConfigError` for an unknown type or wrong settings, `MissingExtra` when a part it needs is not installed.
    """
    kind = exporter_class(type_, where=where)
    raise_all([ConfigError(path, "has bytes in it that are not UTF-8") for path in _not_utf8(raw_settings, where)])
    settings = convert(
        dict(raw_settings), kind.Settings, where, hint=f"`shipper exporters {type_}` lists what it can be told"
    )
    return kind(name, settings, context)


def _not_utf8(raw: Any, path: str) -> Iterator[str]:
    """Where text stands that no request can hold; it can come from the environment only, where any bytes may stand."""
    if isinstance(raw, Mapping):
        for key, value in raw.items():
            yield from _not_utf8(value, f"{path}.{key}" if path else str(key))
    elif isinstance(raw, list):
        for number, value in enumerate(raw):
            yield from _not_utf8(value, f"{path}[{number}]")
    elif isinstance(raw, str):
        try:
            raw.encode()
        except UnicodeEncodeError:
            yield path


def exporter_class(type_: str, *, where: str = "") -> type[Exporter]:
    """The class registered as ``type_``.

    Raises `ConfigError` when there is none or it is no exporter, `MissingExtra` when one of ours lacks an optional part.
    """
    path = f"{where}.type" if where else "type"
    installed = load_exporters()
    entry = installed.get(type_)
    if entry is None:
        near = difflib.get_close_matches(type_, installed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(path, f"no exporter {type_!r}; {hint}installed are: {', '.join(installed) or 'none'}")
    try:
        kind = entry.load()
    except Exception as error:  # a stranger's module may fail in any way, which is no reason to fail with it
        if isinstance(error, ModuleNotFoundError) and entry.dist is not None and entry.dist.name == DISTRIBUTION:
            raise MissingExtra(f"the exporter {type_!r}", _EXTRAS.get(error.name or "", "sidecar")) from error
        raise ConfigError(path, f"the exporter {type_!r} ({entry.value}) cannot be loaded: {error!r}") from error
    if not (isinstance(kind, type) and issubclass(kind, Exporter)):
        raise ConfigError(path, f"what is installed as exporter {type_!r} ({entry.value}) is no Exporter")
    return kind
