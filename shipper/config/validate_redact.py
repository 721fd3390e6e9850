"""What cannot work in the settings of redaction, as far as that shows without RE2, which need not be installed here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shipper.config.convert import Path
from shipper.config.schema import Config

Problem = tuple[Path, str]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def redact_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with the section."""
    names: set[str] = set()
    for index, one in enumerate(config.redact):
        path: Path = ("redact", index)
        if bool(one.kind) == bool(one.pattern):
            yield path, "give either a kind, or a name and a pattern"
        elif one.kind and (one.name or one.group):
            yield path, f"{one.kind} is known by itself: name and group are for patterns"
        elif one.pattern and not _NAME.fullmatch(one.name):
            yield (
                (*path, "name"),
                "a pattern needs a name of small letters, digits, '-' and '_': it is counted under it",
            )
        elif (one.kind or one.name) in names:
            yield path, f"{one.kind or one.name} stands there twice"
        names.add(one.kind or one.name)
