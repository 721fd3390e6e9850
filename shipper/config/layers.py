"""Settings from several places laid over each other, each value remembering where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from shipper.config.convert import Path, dotted


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: ``name`` is the variable, the file, or empty; ``line`` counts from 1 (0: not in a file)."""

    kind: Literal["flag", "env", "file", "default"]
    name: str = ""
    line: int = 0

    def __str__(self) -> str:
        if self.kind == "flag":
            return "command line"
        if self.kind == "file":
            return f"{self.name}:{self.line}" if self.line else self.name
        return self.name or "default"


@dataclass(slots=True)
class Document:
    """A file's content as plain data, and the line (counted from 1) on which each value stands."""

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)


@dataclass(slots=True)
class Layers:
    """The settings gathered so far as plain data, and the origin of each value by its path."""

    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Document) -> Layers:
        """Begin with a file's content."""
        origins = {path: Origin("file", document.name, line) for path, line in document.lines.items()}
        return cls(document.data, origins)

    def get(self, path: Path) -> Any:
        """The value at ``path``, or None."""
        value: Any = self.data
        for part in path:
            if not isinstance(value, dict) or part not in value:
                return None
            value = value[part]
        return value

    def put(self, path: Path, value: Any, origin: Origin) -> None:
        """Set a value over whatever is there."""
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]  # what lay below the old value is gone with it
        target = self.data
        for part in path[:-1]:
            inner = target.get(str(part))
            if not isinstance(inner, dict):
                inner = target[str(part)] = {}
            target = inner
        target[str(path[-1])] = value
        for below in paths_in(value, path):
            self.origins[below] = origin

    def origin(self, path: Path) -> Origin:
        """Where the value at ``path`` came from: its own origin, or that of the nearest thing around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return Origin("default")

    def locate(self, path: Path) -> str:
        """How to name ``path`` in an error: by the variable that set it, or by file and dotted path."""
        origin = self.origin(path)
        if origin.kind == "env":
            return origin.name
        where = {"flag": "command line", "file": origin.name, "default": ""}[origin.kind]
        return ": ".join(filter(None, (where, dotted(path))))


def paths_in(value: Any, path: Path) -> Iterator[Path]:
    """``path`` and the path of everything inside ``value``."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths_in(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths_in(item, (*path, index))
