"""When a generation began and when its release was built: facts about a deploy that a host can only be told.

They are no labels, for a label tells hosts apart and these only say where on the time axis something stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

GENERATION_STARTED = "generation_started"
RELEASE_BUILT = "release_built"
TIMES = (GENERATION_STARTED, RELEASE_BUILT)
VARIABLES: Mapping[str, tuple[str, ...]] = {
    GENERATION_STARTED: ("SHIPPER_LABELS_GENERATION_STARTED", "SHIPPER_GENERATION_STARTED"),
    RELEASE_BUILT: ("SHIPPER_LABELS_RELEASE_BUILT", "SHIPPER_RELEASE_BUILT"),
}
"""The variables of each, strongest first; the configuration reads the same ones."""

_SECONDS = (946_684_800, 1 << 33)  # the year 2000 to the year 2242


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch, from RFC 3339 (with its zone) or seconds since the epoch. Raises ValueError."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f"{text[:60]!r} is no time: RFC 3339 (2026-01-31T12:00:00Z) or seconds since the epoch are wanted"
            ) from None
        if when.tzinfo is None:
            raise ValueError(f"{text[:60]!r} does not say its time zone: add Z or an offset") from None
        seconds = when.timestamp()
    if not _SECONDS[0] <= seconds < _SECONDS[1]:
        raise ValueError(f"{text[:60]!r} is no time of a deploy; seconds since the epoch are wanted")
    return round(seconds * 1e9)


def first_time(name: str, stated: Iterable[tuple[str, str]], problems: list[str]) -> Mapping[str, int]:
    """The first of the stated (text, place) that is not empty, under its name. One that is no time is a problem to be said."""
    for text, place in stated:
        if text.strip():
            try:
                return {name: parse_time(text.strip())}
            except ValueError as problem:
                problems.append(f"{place}: {problem}")
    return {}
