"""Which files may be of one log, by their names: a name without its directory, and what it may be a rotated form of."""

from __future__ import annotations

import os

from shipper.sources.file.handles import TailedFile
from shipper.sources.file.identity import rotation_bases


class Families:
    """All files that have names, by these."""

    def __init__(self) -> None:
        self._files: dict[str, dict[TailedFile, None]] = {}

    def add(self, path: str, file: TailedFile) -> None:
        """``path`` leads to ``file``."""
        for name in _family(path):
            self._files.setdefault(name, {})[file] = None

    def drop(self, path: str, file: TailedFile) -> None:
        """It does not any more; ``file`` has other names, or none."""
        self._remove(_family(path).difference(*map(_family, file.paths)), file)

    def forget(self, file: TailedFile) -> None:
        """None of its names matters any more."""
        self._remove({name for path in file.paths for name in _family(path)}, file)

    def _remove(self, names: set[str], file: TailedFile) -> None:
        for name in names:
            alike = self._files.get(name, {})
            alike.pop(file, None)
            if not alike:
                self._files.pop(name, None)

    def of(self, path: str) -> list[TailedFile]:
        """The files that may be of the same log as the one with this name."""
        return list(dict.fromkeys(file for name in _family(path) for file in self._files.get(name, ())))


def _family(path: str) -> set[str]:
    return {os.path.basename(path), *map(os.path.basename, rotation_bases(path))}
