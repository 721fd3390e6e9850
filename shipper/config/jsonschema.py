"""The JSON schema of the configuration file, for editors that complete and check while one types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from shipper.config.convert import older_names
from shipper.config.schema import Config

_REF = "#/$defs/{name}"
_UNITS = {
    "bytes": "a number of bytes, or text such as 512KiB or 4G",
    "seconds": "seconds, or text such as 250ms or 25s",
}


def json_schema(exporters: Mapping[str, type[msgspec.Struct]]) -> dict[str, Any]:
    """The schema (draft 2020-12). ``exporters``: the settings struct of each installed exporter, by type name."""
    kinds = list(exporters.values())
    (root, *settings), definitions = msgspec.json.schema_components([Config, *kinds], ref_template=_REF)
    choices = []
    for (name, kind), reference in zip(exporters.items(), settings, strict=True):
        own = definitions[reference["$ref"].rpartition("/")[2]]
        _write_older(own, kind)
        properties = {"type": {"const": name, "description": "The exporter."}, **own.get("properties", {})}
        required = [*own.get("required", []), *([] if name == "otlp" else ["type"])]
        choices.append({**own, "title": f"Destination of type {name}", "properties": properties, "required": required})
    others = {
        "title": "Destination of an exporter that is not installed here",
        "type": "object",
        "properties": {"type": {"type": "string", "not": {"enum": list(exporters)}}},
        "required": ["type"],
    }
    definitions["Destination"] = {"anyOf": [*choices, others]}
    for shorthand in (
        "Scrape",
        "Multiline",
        "Shape",
        "ShapeCondition",
        "Journal",
        "SeverityRange",
        "LogRequests",
        "Redact",
    ):
        definitions[shorthand] = {"anyOf": [{"type": "string"}, definitions[shorthand]]}
    settings_of = definitions["Config"]["properties"]
    settings_of["journal"] = {
        "description": settings_of["journal"]["description"],
        "anyOf": [{"$ref": _REF.format(name="Journal")}, settings_of["journal"]],
    }
    when = definitions["Route"]["properties"]["when"]
    definitions["Route"]["properties"]["when"] = {
        "description": when["description"],
        "anyOf": [{"$ref": _REF.format(name="RouteCondition")}, when],
    }
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Shipper configuration",
        **root,
        "$defs": definitions,
    }
    _write_units(schema)
    return schema


def settings_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of what one exporter can be told."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}
    _write_older(schema["$defs"][schema["$ref"].rpartition("/")[2]], kind)
    _write_units(schema)
    return schema


def _write_older(definition: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    """Options may have the names that they had in earlier versions."""
    properties = definition["properties"]
    for older, name in older_names(kind).items():
        properties[older] = {**properties[name], "description": f"The older name of {name}.", "deprecated": True}


def _write_units(node: Any) -> None:
    """Sizes and durations may be text as well as numbers."""
    if isinstance(node, dict):
        unit = node.pop("x-unit", None)
        if unit in _UNITS:
            node["type"] = ["integer" if unit == "bytes" else "number", "string"]
            node["description"] = f"{node.get('description', '')} ({_UNITS[unit]})".strip()
        elif unit == "several":
            scalars = ["string", "number", "boolean"]
            node["type"], node["items"] = ["array", *scalars], {"type": scalars}
        for inner in node.values():
            _write_units(inner)
    elif isinstance(node, list):
        for inner in node:
            _write_units(inner)
