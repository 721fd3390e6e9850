"""A lock that is only ever tried, for the seldom things (opening, rotating) beside a path that takes none.

Made of a list and weak references and nothing else: gevent does not patch it, a forked child gets a new one without having to
release the old, a signal handler that finds the interrupted code holding it learns that instead of waiting for itself, and
a claim ends with the function that made it, even if a KeyboardInterrupt strikes in its ``finally``.
"""

from __future__ import annotations

import weakref
from _thread import get_ident
from contextlib import suppress
from time import monotonic, sleep

_PATIENCE = 5.0  # seconds; what a turn is taken for takes well under a millisecond


class Claim:
    """What a turn is taken with. Kept in a local variable by who takes it; when that is gone, so is the claim."""

    __slots__ = ("__weakref__", "reference", "thread")

    def __init__(self) -> None:
        self.thread = get_ident()
        self.reference = weakref.ref(self)


class Turn:
    """Held by one claim at a time: the first one in the list that is alive."""

    __slots__ = ("_claims",)

    def __init__(self) -> None:
        self._claims: list[weakref.ref[Claim]] = []

    def take(self, mine: Claim) -> bool:
        """Take it; False when another claim has it, be it one of the caller's own interrupted code."""
        self._claims.append(mine.reference)
        for reference in tuple(self._claims):
            if reference is mine.reference:
                return True
            if reference() is not None:
                break
            self._remove(reference)
        self._remove(mine.reference)
        return False

    def wait(self, mine: Claim) -> bool:
        """Take it as soon as it is free; False when the caller's own interrupted code has it, or it does not come."""
        give_up = monotonic() + _PATIENCE
        while not self.take(mine):
            if self.interrupted() or monotonic() > give_up:
                return False
            sleep(0.0002)
        return True

    def give_back(self, mine: Claim) -> None:
        """Let the next one have it, if ``mine`` has it."""
        self._remove(mine.reference)

    def interrupted(self) -> bool:
        """Whether the caller's own thread has it: it interrupted itself, and waiting would be for ever."""
        for reference in tuple(self._claims):
            claim = reference()
            if claim is not None:
                return claim.thread == get_ident()
        return False

    def _remove(self, reference: weakref.ref[Claim]) -> None:
        with suppress(ValueError):  # somebody else found it dead, too
            self._claims.remove(reference)
