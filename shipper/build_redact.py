"""Makes the view of streams that masks secrets, out of what the configuration says.

Imported by every run, and loads what masks only where that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from shipper.config.schema_shape import Redact
from shipper.contracts import Stream
from shipper.errors import ConfigError
from shipper.events import Redacted, Reporter

if TYPE_CHECKING:
    from shipper.shape.redact import Redaction


def make_redaction(wanted: Sequence[Redact]) -> Redaction:
    """One for all who want the same, as the lives of a node's pods do: what RE2 has learned of a pattern takes memory.

    Raises `ConfigError` for a pattern that RE2 does not take, `MissingExtra` where it is not installed.
    """
    return _redaction(tuple(wanted))


@cache
def _redaction(wanted: tuple[Redact, ...]) -> Redaction:
    from shipper.shape.redact import Redaction
    from shipper.shape.redact_match import OwnPattern

    own: list[OwnPattern] = []
    for index, one in enumerate(wanted):
        if one.pattern:
            own.append(OwnPattern(one.name, one.pattern, one.group))
            try:
                Redaction((), own[-1:])
            except ValueError as problem:
                raise ConfigError(f"redact[{index}].pattern", str(problem)) from problem
    return Redaction([one.kind for one in wanted if one.kind], own)


def make_view(wanted: Sequence[Redact], report: Reporter) -> Callable[[Stream], Stream]:
    """How pumps see streams. Raises as `make_redaction`."""
    if not wanted:
        return lambda stream: stream
    from shipper.shape.redact_stream import redacted_view

    def count(counts: Mapping[str, int]) -> None:
        report(Redacted(counts))

    return redacted_view(make_redaction(wanted), count)


def redact_shaping(wanted: Sequence[Redact]) -> list[Any]:
    """What decides what is masked: the settings, and what this version of Shipper knows."""
    from shipper.shape.redact_patterns import KNOWN

    return [wanted, [(one.name, one.pattern) for one in KNOWN if any(one.kind == other.kind for other in wanted)]]
