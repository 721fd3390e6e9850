"""Telling copies from originals: what copytruncate does to a file, and how what it destroyed is read from the copy.

``cp app.log app.log.1; truncate app.log`` leaves unread bytes only in the copy, and the copy must not be read as if it were
new. Two files that merely begin alike (the same header line) are not copies, though, and both have to be read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from shipper.sources.file.content import Content
from shipper.sources.file.handles import NO_DESCRIPTORS, TailedFile, regular
from shipper.sources.file.identity import GUARD_BYTES, guard_of, is_related, is_rotated_name, same_content

CANDIDATES = 256  # files of a directory looked into for a copy, newest first


def holds_content_of(file: TailedFile, size: int, stream: Content) -> bool:
    """Whether ``file``, ``size`` bytes long, holds what ``stream`` has read so far, as far as it reaches.

    Raises OSError when it cannot be read.
    """
    agreed = agreement(file, size, stream)
    return agreed is not None and (agreed > 0 or is_related(file.path, stream.name))


def agreement(file: TailedFile, size: int, stream: Content) -> int | None:
    """At how many known positions ``file`` agrees with ``stream``; None if it begins otherwise, or disagrees somewhere."""
    if size < max(1, stream.head.length) or not stream.head.matches(file.read(stream.head.length, 0)):
        return None
    checked = 0
    for position, guard in stream.known_guards():
        if position > size:
            break
        start = max(0, position - GUARD_BYTES)
        if guard_of(file.read(position - start, start)) != guard:
            return None
        checked += 1
    return checked


def is_prefix_of(file: TailedFile, size: int, original: TailedFile) -> bool:
    """Whether ``file``, ``size`` bytes long, may be a copy of ``original``: it holds nothing else. Raises OSError."""
    return original.length() >= size and same_content(file, original, size)


def named(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """The regular file that has this name, if there is one."""
    try:
        yield path, regular(path)
    except OSError:  # nothing there to look into
        return


def names(directory: str) -> set[str]:
    """The paths of everything in a directory. Raises OSError when no descriptor is left to look."""
    try:
        with os.scandir(directory) as entries:
            return {entry.path for entry in entries}
    except OSError as error:
        if error.errno in NO_DESCRIPTORS:
            raise
        return set()  # the directory is gone, and with it what was in it


def siblings(path: str, known: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Regular files beside ``path`` and those in ``known``, newest first and likely copies before others."""
    paths = names(os.path.dirname(path)).union(known)
    found: list[tuple[bool, int, str, os.stat_result]] = []
    for each in paths:
        try:
            status = regular(each)
        except OSError:  # vanished, or no file: no copy
            continue
        found.append((is_rotated_name(each, path), status.st_mtime_ns, each, status))
    found.sort(key=lambda item: item[:3], reverse=True)
    for _, _, each, status in found[:CANDIDATES]:
        yield each, status
