"""What an operator says by hand, in a file or in a flag of the cloud: ``20s kernel update``, both parts optional.

Whoever sets such a flag wants a drain. So nothing in it can be so wrong that there is none: what cannot be understood is said
in the notice, and the usual time counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shipper.clock import Clock
from shipper.config.units import parse_seconds
from shipper.notice import Notice, NoticeKind

BUDGET = "by-hand"
MAX_REASON = 200
OFF = frozenset({"false", "0", "no", "off", "none"})
"""Values of a cloud's flag that mean it is not set; a file has none, it exists or it does not."""

UNITS = {
    word: unit
    for unit, words in {"s": "s sec secs second seconds", "m": "m min mins minute minutes", "h": "h hour hours"}.items()
    for word in words.split()
}
_LIKE_A_TIME = re.compile(r"[-+]?[.]?\d")


@dataclass(frozen=True, slots=True)
class Wish:
    """What was said: seconds until the end (None: not said), a reason, and what could not be understood."""

    seconds: float | None
    reason: str
    problem: str = ""


def read_wish(text: str) -> Wish:
    """Understand what was said. A first word that looks like a time must be one; everything else is the reason."""
    words = "".join(char if char.isprintable() else " " for char in text).split()
    if words and words[0].lower() in ("true", "yes", "on", "1"):
        words.pop(0)
    seconds, problem = None, ""
    if words and _LIKE_A_TIME.match(words[0]):
        stated = words.pop(0)[:40]
        if words and stated[-1].isdigit() and words[0].lower() in UNITS:  # as people write it: 20 minutes
            stated += UNITS[words.pop(0).lower()]
        try:
            seconds = parse_seconds(stated)
        except ValueError as error:
            problem = str(error)
    return Wish(seconds, " ".join(words)[:MAX_REASON], problem)


class Flag:
    """One flag that is looked at again and again: what it says makes one notice, whose time counts from when that was first seen."""

    def __init__(self, *, source: str, key: str, what: str, clock: Clock) -> None:
        """``what``: the flag in the words of an operator, such as ``the file /run/shipper/drain``."""
        self._source = source
        self._key = key
        self._what = what
        self._clock = clock
        self._said: tuple[str, float] | None = None

    @property
    def is_set(self) -> bool:
        """Whether it stood when last looked at."""
        return self._said is not None

    def notice(self, text: str) -> Notice:
        """The notice that its text makes now."""
        if self._said is None or self._said[0] != text:
            self._said = text, self._clock.monotonic()
        wish = read_wish(text)
        evidence = f"{self._what} asks for a drain"
        if wish.reason:
            evidence += f": {wish.reason}"
        if wish.problem:
            evidence += f" (its time is not understood, the usual one counts: {wish.problem})"
        deadline = None if wish.seconds is None else self._said[1] + wish.seconds
        return Notice(self._source, NoticeKind.IMMINENT, evidence, deadline, BUDGET, self._key)

    def clear(self) -> None:
        """It is no longer there; the same text later is a new one."""
        self._said = None
