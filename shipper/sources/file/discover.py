"""Which files match the patterns, and which directories have to be watched to learn of new ones.

A pattern is walked component by component, so that only directories that can hold a match are ever listed. Of a directory
that does not exist yet the nearest existing ancestor is watched.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from shipper.events import Problem, Reporter
from shipper.sources.file.settings import FileGroup

ANY_DEPTH = "**"
_MAGIC = frozenset("*?[")

Tail = tuple[str, ...]  # what is left of a pattern below a directory


@lru_cache(maxsize=512)
def _component(pattern: str) -> re.Pattern[str]:
    """One path component as a regular expression; as in a shell, a leading dot must be asked for."""
    hidden = "(?!\\.)" if pattern[:1] in _MAGIC else ""
    return re.compile(hidden + fnmatch.translate(pattern))


def _matches(parts: Tail, tail: Tail) -> bool:
    """Whether the components of a path match those of a pattern."""
    if not tail:
        return not parts
    if tail[0] == ANY_DEPTH:
        rest = tail[1:] or ("*",)
        return any(
            _matches(parts[skip:], rest)
            for skip in range(len(parts))
            if not any(part.startswith(".") for part in parts[:skip])
        )
    return bool(parts) and bool(_component(tail[0]).match(parts[0])) and _matches(parts[1:], tail[1:])


def _split(path: str) -> Tail:
    return tuple(path.strip("/").split("/"))


@dataclass(slots=True)
class Found:
    """What a walk found: paths that match, and directories to watch (True: files in it may match)."""

    files: list[str] = field(default_factory=list)
    directories: dict[str, bool] = field(default_factory=dict)


class Patterns:
    """The patterns of all groups of files."""

    def __init__(self, groups: Iterable[FileGroup], report: Reporter) -> None:
        self._groups = [
            (group, [_split(p) for p in group.include], [_exclusion(p) for p in group.exclude]) for group in groups
        ]
        self._report = report

    def group_of(self, path: str) -> FileGroup | None:
        """The first group that ``path`` belongs to."""
        parts = _split(path)
        for group, include, exclude in self._groups:
            if any(_matches(parts, tail) for tail in include):
                if any(_matches(parts[-len(tail) :] if bare else parts, tail) for bare, tail in exclude):
                    continue
                return group
        return None

    def admits(self, path: str, status: os.stat_result) -> bool:
        """Whether the group of ``path`` lets what was opened there be read."""
        group = self.group_of(path)
        return group is None or group.admits is None or group.admits(path, status)

    def walk(self) -> Found:
        """List everything once. Directories that vanish meanwhile are passed over, unreadable ones are reported."""
        found = Found()
        tails: set[Tail] = {tail for _, include, _ in self._groups for tail in include}
        matched: dict[str, None] = {}
        self._visit("/", tails, found, matched)
        found.files = list(matched)
        if any(exclude for _, _, exclude in self._groups):
            found.files = [path for path in matched if self.group_of(path) is not None]
        return found

    def _visit(self, directory: str, tails: set[Tail], found: Found, matched: dict[str, None]) -> None:
        tails = _with_zero_depth(tails)
        names = {tail[0] for tail in tails if len(tail) == 1}
        deeper = {tail for tail in tails if len(tail) > 1}
        listed = any(_MAGIC.intersection(tail[0]) for tail in tails)
        below: dict[str, set[Tail]] = {}
        for tail in deeper:
            if not _MAGIC.intersection(tail[0]):
                below.setdefault(tail[0], set()).add(tail[1:])
        missing = [name for name in below if not os.path.isdir(os.path.join(directory, name))]
        for name in missing:
            del below[name]
        if names or listed or missing:
            found.directories[directory] = found.directories.get(directory, False) or bool(names)
        for name in names:
            path = os.path.join(directory, name)
            if not _MAGIC.intersection(name) and os.path.lexists(path):
                matched[path] = None
        if listed:
            self._list(directory, names, deeper, below, matched)
        for name, rest in sorted(below.items()):
            self._visit(os.path.join(directory, name), rest, found, matched)

    def _list(
        self,
        directory: str,
        names: set[str],
        deeper: set[Tail],
        below: dict[str, set[Tail]],
        matched: dict[str, None],
    ) -> None:
        wanted = [_component(name) for name in names if _MAGIC.intersection(name)]
        descend = [tail for tail in deeper if _MAGIC.intersection(tail[0])]
        try:
            with os.scandir(directory) as entries:
                for entry in sorted(entries, key=lambda each: (len(each.name), each.name)):
                    if _is_directory(entry):
                        for tail in descend:
                            rest = _rest_below(entry, tail)
                            if rest is not None:
                                below.setdefault(entry.name, set()).add(rest)
                    elif any(pattern.match(entry.name) for pattern in wanted):
                        matched[entry.path] = None
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._report(Problem("unreadable", f"{directory} cannot be listed: {error.strerror}", directory))


def _exclusion(pattern: str) -> tuple[bool, Tail]:
    return "/" not in pattern, _split(pattern)


def _with_zero_depth(tails: set[Tail]) -> set[Tail]:
    """``**`` stands for no directory, too."""
    full = set(tails)
    for tail in tails:
        while tail[0] == ANY_DEPTH:
            tail = tail[1:] or ("*",)
            full.add(tail)
    return {tail for tail in full if tail != (ANY_DEPTH,)} | {(ANY_DEPTH, "*") for tail in full if tail == (ANY_DEPTH,)}


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, or gone: nothing to descend into, and opening it as a file will say what it is
        return False


def _rest_below(entry: os.DirEntry[str], tail: Tail) -> Tail | None:
    """What is left of ``tail`` below this directory; ``**`` neither follows links (they may loop) nor looks into hidden ones."""
    if tail[0] == ANY_DEPTH:
        return None if entry.is_symlink() or entry.name.startswith(".") else tail
    return tail[1:] if _component(tail[0]).match(entry.name) else None


def is_regular(mode: int) -> bool:
    """Whether a mode is that of a plain file: nothing else is ever opened."""
    return stat.S_ISREG(mode)
