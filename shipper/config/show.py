"""The settings in force, for people and in files that others may read: with their origins, without their secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec

from shipper.config.convert import Path, dotted
from shipper.config.load import Loaded

MASK = "********"
_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|credential|authorization|cookie|signature|connection_string"
    r"|(api|access|account|private|shared|master|license|encryption)[-_ ]?key|^key$|^sas|_sas",
    re.IGNORECASE,
)
_PLACE = re.compile(r"_(file|path|dir|url|endpoint)$", re.IGNORECASE)  # where a secret lies is not the secret
_QUERY_VALUE = re.compile(r"([^&=]+)=([^&]*)")


def effective(loaded: Loaded, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """All settings as plain data, destinations as they stand in a file, secrets masked.

    ``defaults``: by destination, what its exporter fills in for options that are not given.
    """
    plain: dict[str, Any] = msgspec.to_builtins(loaded.config, enc_hook=str)
    for name, destination in plain["destinations"].items():
        plain["destinations"][name] = {"type": destination["type"], **_options(destination["options"], defaults, name)}
    masked: dict[str, Any] = mask(plain)
    return masked


def _options(
    given: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]] | None, destination: str
) -> dict[str, Any]:
    """What was given, over what is filled in; what was given by an older name stands there by its name of today."""
    filled = (defaults or {}).get(destination)
    return dict(given) if filled is None else {**filled, **{key: given[key] for key in given if key in filled}}


def render(loaded: Loaded, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """The same as YAML, with the origin of every value that is not a default as a comment."""
    return "".join(f"{line}\n" for line in _mapping(effective(loaded, defaults), (), 0, loaded))


def mask(value: Any, key: str = "", inside_headers: bool = False) -> Any:
    """``value`` with everything that is or may be a secret replaced by asterisks; header values always are."""
    if isinstance(value, Mapping):
        headers = inside_headers or key.endswith("headers")
        return {name: mask(item, str(name), headers) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask(item, key, inside_headers) for item in value]
    if inside_headers or key.endswith("headers") or (_SECRET.search(key) and not _PLACE.search(key)):
        return MASK if value not in ("", None) else value
    return mask_url(value) if isinstance(value, str) and "://" in value else value


def mask_url(url: str) -> str:
    """A URL without its password and without query values that look like secrets."""
    try:
        parts: SplitResult = urlsplit(url)
    except ValueError:  # not a URL after all, and nobody can tell what is in it
        return MASK
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{MASK}@{host}" if at and user else parts.netloc
    query = _QUERY_VALUE.sub(
        lambda m: f"{m[1]}={MASK if _SECRET.search(m[1]) or m[1].startswith('sig') else m[2]}", parts.query
    )
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))


def _mapping(data: Mapping[str, Any], path: Path, depth: int, loaded: Loaded) -> Iterator[str]:
    for key, value in data.items():
        yield from _entry(f"{'  ' * depth}{_scalar(key)}:", value, (*path, key), depth, loaded)


def _entry(head: str, value: Any, path: Path, depth: int, loaded: Loaded) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield head
        yield from _mapping(value, path, depth + 1, loaded)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        yield head
        for index, item in enumerate(value):
            lines = list(_mapping(item, (*path, index), depth + 2, loaded))
            first = lines[0].lstrip() if lines else "{}"
            yield f"{'  ' * (depth + 1)}- {first}"
            yield from lines[1:]
    else:
        origin = loaded.origin(dotted(path))
        comment = "" if origin.kind == "default" else f"  # {origin}"
        yield f"{head} {_scalar(value)}{comment}"


def _scalar(value: Any) -> str:
    """A value in YAML's flow style, which JSON is part of; plain where that is surely the same."""
    if (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z_/][A-Za-z0-9_./-]*", value)
        and value.lower() not in _YAML_WORDS
    ):
        return value
    return json.dumps(value, ensure_ascii=False)


_YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
