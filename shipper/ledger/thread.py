"""The ledger off the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from shipper.ledger.ledger import Ledger

P = ParamSpec("P")
T = TypeVar("T")


class LedgerThread:
    """One worker thread that owns a ledger; calls that queue up meanwhile are committed together."""

    def __init__(self, ledger: Ledger) -> None:
        raise NotImplementedError

    async def call(self, fn: Callable[Concatenate[Ledger, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(ledger, *args)``, for example ``await thread.call(Ledger.commit, ...)``; returns after the COMMIT."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Carry out what is queued, close the ledger, end the thread. Calls made later raise RuntimeError."""
