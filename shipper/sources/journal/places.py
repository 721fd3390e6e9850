"""Where journal files lie, and finding them there."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator

_ROOTS = ("/var/log/journal", "/run/log/journal")
_NAMES = (".journal", ".journal~")  # the latter: set aside by journald, because it was not closed properly
_MACHINE = re.compile(r"[0-9a-f]{32}(?:\..+)?")


def standard(machine_id: str, namespace: str = "") -> tuple[str, ...]:
    """The directories of this machine's journal, kept and volatile."""
    name = f"{machine_id}.{namespace}" if namespace else machine_id
    return tuple(os.path.join(root, name) for root in _ROOTS)


class Places:
    """The files of one journal. ``nested``: directories named by machine in the given ones count as well."""

    def __init__(self, directories: tuple[str, ...], files: tuple[str, ...], *, nested: bool) -> None:
        self._directories = directories
        self._files = files
        self._nested = nested

    def __str__(self) -> str:
        return ", ".join((*self._directories, *self._files))

    def list(self) -> tuple[dict[tuple[int, int], str], OSError | None]:
        """All files by device and inode, and the problem where none of the directories could be listed."""
        found: dict[tuple[int, int], str] = {}
        problem: OSError | None = None
        listed = bool(self._files)
        for directory in self._directories:
            try:
                self._scan(directory, found, nested=self._nested)
                listed = True
            except OSError as error:
                problem = error
        for pattern in self._files:
            for path in glob.iglob(pattern, recursive=True):
                try:
                    status = os.stat(path)
                except OSError:
                    continue
                found.setdefault((status.st_dev, status.st_ino), path)
        return found, None if listed else problem

    def _scan(self, directory: str, found: dict[tuple[int, int], str], *, nested: bool) -> None:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(_NAMES):
                    found.update(_file(entry))
                elif nested and _MACHINE.fullmatch(entry.name) and entry.is_dir():
                    try:
                        self._scan(entry.path, found, nested=False)
                    except OSError:
                        continue


def _file(entry: os.DirEntry[str]) -> Iterator[tuple[tuple[int, int], str]]:
    try:
        status = entry.stat()
    except OSError:  # renamed or deleted meanwhile: the next look tells
        return
    yield (status.st_dev, status.st_ino), entry.path
