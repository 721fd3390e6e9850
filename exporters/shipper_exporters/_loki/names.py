"""How Loki writes names and values that come from OpenTelemetry, so that a query finds them whichever way they came.

Loki renames what it gets over OTLP (``service.name`` becomes ``service_name``) by the rules of Prometheus'
``otlptranslator.LabelNamer``, and a push it takes only if its names follow them. Values are written as the Collector's
``pcommon.Value.AsString`` does. Source: loki ``pkg/loghttp/push/otlp.go``.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from shipper.otlp.encode import AttributeValue

_NO_NAME = re.compile(r"[^a-zA-Z0-9]+")
_KEPT_LENGTH = 128
_NAMELESS = "unnamed"  # Loki refuses a whole push for one name that is empty or of underscores only


def loki_name(key: str) -> str:
    """The name of an attribute in Loki: letters, digits and single underscores, not beginning with a digit."""
    return _kept_name(key) if len(key) <= _KEPT_LENGTH else _name(key)


def _name(key: str) -> str:
    name = _NO_NAME.sub("_", key)
    if name in ("", "_"):
        return _NAMELESS
    return f"key_{name}" if name[0].isdigit() else name


_kept_name = lru_cache(8192)(_name)


def loki_text(value: AttributeValue) -> str:
    """A value as Loki shows it: text as it is, lists and maps as JSON, bytes in base64, nothing as empty."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_in_json)


def flat(attributes: Mapping[str, AttributeValue], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of attributes; of a map each member by itself, under both names joined by an underscore."""
    for key, value in attributes.items():
        name = loki_name(f"{prefix}_{key}" if prefix else key)
        if isinstance(value, Mapping):
            yield from flat(value, name)
        else:
            yield name, loki_text(value)


def selector(labels: Mapping[str, str]) -> str:
    """Stream labels as a push has them, sorted by name: ``{env="prod", service_name="a"}``."""
    # JSON's escapes are among those of Loki's (Go's) strings, but for the pairs of surrogates, so characters stay as they are
    pairs = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(labels.items()))
    return "{" + ", ".join(pairs) + "}"


def _in_json(value: Any) -> str:
    return loki_text(value)
