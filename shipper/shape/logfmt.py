"""Texts made of ``key=value`` pairs, as Heroku, Go's slog and many others write them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from shipper.shape.columns import Parsed
from shipper.shape.nested import by_names

_PAIR = re.compile(rb'(?<!\S)([^\s="]{1,128})=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s"]*))(?!\S)', re.DOTALL)

_CACHED = 4096


class LogfmtParser:
    """Reads pairs; all values are text. ``matters``: whether the value of a key is of any use."""

    cause = "logfmt"

    def __init__(self, matters: Callable[[str], bool]) -> None:
        self._names = _Names(matters)

    def parse(self, texts: Sequence[bytes], rows: Sequence[int]) -> Parsed:
        """The fields of ``texts[row]`` for each of ``rows``; a text without a single pair is no logfmt."""
        found: list[tuple[int, dict[str, Any]]] = []
        failed: list[int] = []
        for row in rows:
            pairs = _PAIR.findall(texts[row])
            if pairs:
                found.append((row, self._fields(pairs)))
            else:
                failed.append(row)
        return Parsed(by_names(found), failed, failed)

    def _fields(self, pairs: list[tuple[bytes, bytes, bytes]]) -> dict[str, Any]:
        names = self._names
        return {name: bare or _unquoted(quoted) for key, quoted, bare in pairs if (name := names[key]) is not None}


class _Names(dict[bytes, str | None]):
    """Keys as names, None for those that are of no use. Forgets when full."""

    def __init__(self, matters: Callable[[str], bool]) -> None:
        super().__init__()
        self._matters = matters

    def __missing__(self, key: bytes) -> str | None:
        if len(self) >= _CACHED:
            self.clear()
        name = key.decode()
        found = self[key] = name if self._matters(name) else None
        return found


def _unquoted(quoted: bytes) -> bytes:
    if b"\\" not in quoted:
        return quoted
    try:
        return str(json.loads(b'"' + quoted + b'"', strict=False)).encode("utf-8", "backslashreplace")
    except ValueError:
        return quoted
