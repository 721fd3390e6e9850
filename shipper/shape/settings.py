"""What can be set about understanding records, as plain values: files, journals and receivers share it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Parse: TypeAlias = Literal["plain", "auto", "json", "logfmt", "regex", "common"]
"""How texts are read; see docs/shapes.md."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds for a record when everything that is given holds.

    ``match`` is searched for in the text, or in the ``field`` of that name; a field alone must only be there.
    ``at_least``, ``below``: bounds of the SeverityNumber, 0 for none; a record of unknown severity is within neither.
    """

    match: re.Pattern[bytes] | None = None
    field: str = ""
    at_least: int = 0
    below: int = 0


@dataclass(frozen=True, slots=True)
class ShapeSettings:
    """How texts become records.

    ``pattern``: for ``regex``, with a named group for each field. ``fields``: names of those that become attributes, None for
    all; dots lead into objects. ``message_body``: the message found in a text is the body, not the whole text.
    ``zone``: of times that name none: an offset such as ``+02:00``, ``UTC``, ``local`` or a name of the time zone data base.
    ``time_format``: for ``strptime``; empty: times are recognised. ``keep``: where not empty, a record for which none of them
    holds is left out, as is one for which one of ``drop`` does. ``sample``: share of the rest that is shipped; errors always.
    """

    parse: Parse = "plain"
    pattern: str = ""
    fields: tuple[str, ...] | None = ()
    message_body: bool = False
    zone: str = "UTC"
    time_format: str = ""
    drop: tuple[Condition, ...] = ()
    keep: tuple[Condition, ...] = ()
    sample: float = 1.0
