"""What each platform says about a host: one file each, under its name in `shipper.labels.platform.PLATFORMS`.

``detect`` gives what can be told from the environment and files. Where the platform has a metadata service, ``ask`` gives what
that adds, one finding after the other, so that a service that falls silent half-way has not spoken in vain; ``PLACES`` are the
labels it may tell, and where. A file is imported only on the platform it is for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, cast

from shipper.labels.finding import Finding, Surroundings

if TYPE_CHECKING:
    from shipper.labels.metadata import Metadata


class Local(Protocol):
    """What every file has."""

    detect: Callable[[Surroundings], Finding]


class Remote(Local, Protocol):
    """What those have whose platform has a metadata service. ``ask`` raises `NoMetadata`."""

    PLACES: tuple[tuple[str, str], ...]
    ask: Callable[[Surroundings, Metadata], Iterator[Finding]]


def local(name: str) -> Local:
    """The file of a platform."""
    return cast("Local", importlib.import_module(f"{__name__}.{_FILES.get(name, name)}"))


def remote(name: str) -> Remote:
    """The file of a platform that has a metadata service."""
    return cast("Remote", local(name))


_FILES = {"lambda": "lambda_"}  # a word of the language
