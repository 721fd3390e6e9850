"""What a detector looks at and what it hands back; the contract between `detect` and the one-file detectors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

AttributeValue: TypeAlias = str | bool | int | float | Sequence[str]
"""A resource attribute's value, as far as identity needs them."""

LABELS = ("service", "release", "image", "generation", "environment", "host")
"""The labels of an identity, in the order they are shown."""

MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place where a label was looked for; ``value`` is empty when it was not there, and ``note`` may say why."""

    label: str
    value: str
    place: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one detector found: candidates for labels, further resource attributes, and what was wrong with its input.

    ``fallbacks`` are candidates that count only where no detector has a better one: a platform's name for a workload is a
    good service name for want of one, but what was baked into the image says what really runs.
    """

    candidates: tuple[Candidate, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    fallbacks: tuple[Candidate, ...] = ()
    times: Mapping[str, int] = field(default_factory=dict)  # of `shipper.labels.times`, nanoseconds since the epoch


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a detector may look: a file tree (``/`` except in tests) and an environment.

    The network is not among them: a platform's metadata service is handed to the few that ask one (`shipper.labels.metadata`).
    """

    root: str
    env: Mapping[str, str]

    def path(self, name: str) -> str:
        """The real path of an absolute path within the tree."""
        return os.path.join(self.root, name.lstrip("/"))

    def read(self, name: str) -> str:
        """The text of a small file, undecodable bytes replaced. Raises OSError."""
        with open(self.path(name), "rb") as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")

    def read_or_empty(self, name: str) -> str:
        """The stripped text of a file that may well be missing or unreadable; then empty."""
        try:
            return self.read(name).strip()
        except OSError:
            return ""

    def exists(self, name: str) -> bool:
        """Whether there is something at this path."""
        return os.path.lexists(self.path(name))

    def variable(self, *names: str) -> str:
        """The first of these variables that is set to more than white space, stripped; else empty."""
        return next((self.env[name].strip() for name in names if self.env.get(name, "").strip()), "")
