"""What cannot work in the settings of journals. Looks at nothing but the settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from shipper.config.convert import Path
from shipper.config.schema_sources import Journal
from shipper.config.validate_shape import shape_problems

_LEAST_MESSAGE = 64 << 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_ALONE = ("all", "none")


def journal_problems(journals: Sequence[Journal]) -> Iterator[tuple[Path, str]]:
    """What is wrong with the sections below ``journal``."""
    names: set[str] = set()
    for index, journal in enumerate(journals):
        path: Path = ("journal", index)
        if not _NAME.fullmatch(journal.name):
            yield (*path, "name"), "must be letters, digits, '.', '_' and '-', at most 40 of them"
        if journal.name in names:
            yield (*path, "name"), f"another journal is called '{journal.name}': give each a name of its own"
        names.add(journal.name)
        yield from _places(journal, path)
        if journal.max_message < _LEAST_MESSAGE:
            yield (*path, "max_message"), f"must be at least {_LEAST_MESSAGE} bytes"
        for name in journal.fields:
            if name in _ALONE and len(journal.fields) > 1:
                yield (*path, "fields"), f"{name} stands alone, not beside names"
        if journal.shape is not None:
            yield from shape_problems(journal.shape, (*path, "shape"))


def _places(journal: Journal, path: Path) -> Iterator[tuple[Path, str]]:
    given = [key for key in ("directory", "files", "namespace") if getattr(journal, key)]
    if len(given) > 1:
        yield (*path, given[1]), f"cannot stand beside {given[0]}: each says where the journal is"
    if journal.directory and ("\0" in journal.directory or not journal.directory.startswith("/")):
        yield (*path, "directory"), "must be an absolute path"
    for at, pattern in enumerate(journal.files):
        if not pattern or "\0" in pattern:
            yield (*path, "files", at), "a glob must not be empty"
    if journal.namespace and not _NAMESPACE.fullmatch(journal.namespace):
        yield (*path, "namespace"), "is no name of a namespace"
