"""Labels that somebody stated as tags of a machine, a task or a job: ``shipper:generation`` and its like.

Platforms differ in what a tag's name may contain, hence the separators.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shipper.labels.finding import LABELS, Candidate

SEPARATORS = (":", ".", "-", "_")


def wanted(names: Iterable[str]) -> list[str]:
    """Those of the names of tags that state a label."""
    return [name for name in names if _label(name)]


def candidates(tags: Mapping[str, str], place: str) -> tuple[Candidate, ...]:
    """What tags say about labels; ``place`` is what they are called there."""
    stated = [Candidate(_label(name), tags[name].strip(), f"{place} {name}") for name in wanted(tags)]
    return tuple(stated) or (Candidate("generation", "", f"{place} shipper:generation"),)


def _label(name: str) -> str:
    head, separator, label = name[:7].lower(), name[7:8], name[8:].lower()
    return label if head == "shipper" and separator in SEPARATORS and label in LABELS else ""
