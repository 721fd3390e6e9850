"""One hook for all spoolers of the process: hooks of ``os.register_at_fork`` cannot be taken back."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """What wants to know that it is in a forked child now."""

    def forked(self) -> None:
        """Called in the child, before it runs on."""

    def fault(self, where: str, error: BaseException) -> None:
        """Called with what `forked` raised: the child is the service's, and nothing is raised into it."""


_all: weakref.WeakSet[Forked] = weakref.WeakSet()


def tell_of_forks(thing: Forked) -> None:
    """Have ``thing`` told, for as long as it lives."""
    _all.add(thing)


def _in_child() -> None:
    for thing in tuple(_all):
        try:
            thing.forked()
        except Exception as error:
            thing.fault("fork", error)


os.register_at_fork(after_in_child=_in_child)
