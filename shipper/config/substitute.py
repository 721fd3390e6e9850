"""``${NAME}`` in the configuration file: values of the environment, so that one file serves every environment.

``${NAME}`` must be set, ``${NAME:-default}`` falls back when it is unset or empty, ``$$`` is a plain dollar sign (the rules of
OpenTelemetry's configuration files). Only values are substituted, never keys, and only once: what a variable holds is data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shipper.config.convert import FromText, Path

_REFERENCE = re.compile(r"\$\$|\$\{([^}]*)\}|\$\{")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def substitute(data: Any, env: Mapping[str, str], problems: list[tuple[Path, str]], path: Path = ()) -> Any:
    """``data`` with all references replaced; what cannot be replaced is added to ``problems`` with its path."""
    if isinstance(data, dict):
        return {key: substitute(value, env, problems, (*path, key)) for key, value in data.items()}
    if isinstance(data, list):
        return [substitute(value, env, problems, (*path, index)) for index, value in enumerate(data)]
    if not isinstance(data, str) or "$" not in data:
        return data
    try:
        return _replace(data, env)
    except ValueError as problem:
        problems.append((path, str(problem)))
        return None


def _replace(text: str, env: Mapping[str, str]) -> str:
    used = False

    def one(match: re.Match[str]) -> str:
        nonlocal used
        if match[0] == "$$":
            return "$"
        if match[1] is None:
            raise ValueError("'${' has no closing '}'; write $$ for a plain dollar sign")
        reference = _NAME.fullmatch(match[1])
        if reference is None:
            raise ValueError(
                f"'{match[0]}' is not a reference; write ${{NAME}} or ${{NAME:-default}}, or $$ for a plain $"
            )
        used = True
        name, default = reference[1], reference[2]
        value = env.get(name)
        if default is not None:
            return value or default
        if value is None:
            raise ValueError(f"the environment variable {name} is not set; give a default with ${{{name}:-...}}")
        return value

    replaced = _REFERENCE.sub(one, text)
    return FromText(replaced) if used else replaced
