"""A lock that is only ever tried, for the seldom things (opening, rotating) beside a path that takes none.

Made of a dict and nothing else: gevent does not patch it, a forked child gets a new one without having to release the old,
and a signal handler that finds the interrupted code holding it learns that instead of waiting for itself.
"""

from __future__ import annotations

from _thread import get_ident


class Turn:
    """Held by one thread at a time."""

    __slots__ = ("_holder",)

    def __init__(self) -> None:
        self._holder: dict[int, tuple[int]] = {}

    def take(self) -> bool:
        """Take it; False when somebody has it, be it the caller's own interrupted code."""
        mine = (get_ident(),)  # a tuple of its own, so that two takers of one thread differ
        return self._holder.setdefault(0, mine) is mine

    def give_back(self) -> None:
        """Let the next one have it; only by who took it."""
        self._holder.clear()

    def mine(self) -> bool:
        """Whether the caller's thread has it: then waiting for it would be for ever."""
        holder = self._holder.get(0)
        return holder is not None and holder[0] == get_ident()
