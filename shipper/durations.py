"""Durations as people write them: ``250ms``, ``25s``, ``1m30s``. Needs nothing but Python: commands of the base install take them."""

from __future__ import annotations

import math
import re
from typing import Any

_DURATIONS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zµ]+)\s*")
_NUMBER = re.compile(r"\s*\d+(?:\.\d+)?\s*")


def parse_seconds(value: Any) -> float:
    """Seconds from ``25``, ``0.5``, ``250ms`` or ``1m30s``; raises ValueError with a sentence for a person."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a duration such as 250ms, got {describe(value)}")
    seconds = float(value) if not isinstance(value, str) else _parse_duration(value)
    if not (0 <= seconds < math.inf):
        raise ValueError(f"expected a duration, not negative, got {describe(value)}")
    return seconds


def _parse_duration(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    total, at = 0.0, 0
    while at < len(text):
        part = _DURATION_PART.match(text, at)
        if part is None or part[2] not in _DURATIONS:
            break
        total += float(part[1]) * _DURATIONS[part[2]]
        at = part.end()
    if at == 0 or at < len(text):
        raise ValueError(f"expected a duration such as 250ms, 25s or 1m30s, got '{text}'")
    return total


def describe(value: Any) -> str:
    """What a value is, for an error message; long ones are cut, so that a pasted key is not printed whole."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the switch {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 40 else f"'{value[:37]}...'"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return f"a {type(value).__name__}"
