"""Sizes and durations as people write them: ``1MiB``, ``250ms``, ``1m30s``.

A struct field of type `Size` or `Seconds` carries its unit in its annotation; `shipper.config.convert` reads it there,
so an exporter's own settings get the same notation by using the same two types. Durations are read by `shipper.durations`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from shipper.durations import describe as describe
from shipper.durations import parse_seconds as parse_seconds

Size = Annotated[int, msgspec.Meta(extra={"unit": "bytes"}, extra_json_schema={"x-unit": "bytes"})]
"""A number of bytes; written as a number or as text such as ``512KiB``, ``1MB``, ``4G``."""

Seconds = Annotated[float, msgspec.Meta(extra={"unit": "seconds"}, extra_json_schema={"x-unit": "seconds"})]
"""A duration in seconds; written as a number or as text such as ``250ms``, ``25s``, ``1m30s``."""

Word = Annotated[str, msgspec.Meta(extra={"unit": "word"})]
"""Text without blanks and commas: a list of these is written with them between in a variable, not with ``:`` as paths are."""

Several = Annotated[list[str], msgspec.Meta(extra={"unit": "several"}, extra_json_schema={"x-unit": "several"})]
"""Texts; one may stand by itself instead of in a list, and numbers and switches count as the texts that they are written as."""

_SIZES = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtp", start=1):
    _SIZES[_letter] = _SIZES[f"{_letter}ib"] = 1024**_power  # K, M, G mean what systemd and most tools mean by them
    _SIZES[f"{_letter}b"] = 1000**_power
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_LARGEST = 1 << 62


def parse_several(value: Any) -> Any:
    """A list of texts from one or several scalars; what is none of these is given back for the types to refuse."""
    values = value if isinstance(value, list | tuple) else [value]
    scalars = all(isinstance(each, str | int | float) for each in values)
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in values] if scalars else value


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
