"""Sizes and durations as people write them: ``1MiB``, ``250ms``, ``1m30s``.

A struct field of type `Size` or `Seconds` carries its unit in its annotation; `shipper.config.convert` reads it there,
so an exporter's own settings get the same notation by using the same two types.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

import msgspec

Size = Annotated[int, msgspec.Meta(extra={"unit": "bytes"}, extra_json_schema={"x-unit": "bytes"})]
"""A number of bytes; written as a number or as text such as ``512KiB``, ``1MB``, ``4G``."""

Seconds = Annotated[float, msgspec.Meta(extra={"unit": "seconds"}, extra_json_schema={"x-unit": "seconds"})]
"""A duration in seconds; written as a number or as text such as ``250ms``, ``25s``, ``1m30s``."""

Word = Annotated[str, msgspec.Meta(extra={"unit": "word"})]
"""Text without blanks and commas: a list of these is written with them between in a variable, not with ``:`` as paths are."""

_SIZES = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtp", start=1):
    _SIZES[_letter] = _SIZES[f"{_letter}ib"] = 1024**_power  # K, M, G mean what systemd and most tools mean by them
    _SIZES[f"{_letter}b"] = 1000**_power
_DURATIONS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_DURATION_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zµ]+)\s*")
_NUMBER = re.compile(r"\s*\d+(?:\.\d+)?\s*")
_LARGEST = 1 << 62


def parse_size(value: Any) -> int:
    """Bytes from ``1048576``, ``1MiB``, ``1 MB`` or ``1M``; raises ValueError with a sentence for a person."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a size such as 1MiB, got {describe(value)}")
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        factor = _SIZES.get(match[2].lower()) if match else None
        if match is None or factor is None:
            raise ValueError(f"expected a size such as 512KiB, 1MiB or 4G, got '{value}'")
        amount = float(match[1]) * factor if "." in match[1] else int(match[1]) * factor
    else:
        amount = value
    if not 0 <= amount <= _LARGEST or amount != int(amount):
        raise ValueError(f"expected a whole number of bytes, not negative, got {describe(value)}")
    return int(amount)


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
