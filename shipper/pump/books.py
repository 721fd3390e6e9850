"""The ledger as a pump uses it: a full disk is waited for, because nothing may be sent that is not in the books."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from shipper.clock import Clock
from shipper.errors import LedgerFull
from shipper.events import Problem, Reporter
from shipper.ledger import Ledger, LedgerThread

P = ParamSpec("P")
T = TypeVar("T")

FULL_RETRY = 1.0  # seconds


class Books:
    """Calls to the ledger that come back only when they were carried out."""

    def __init__(self, ledger: LedgerThread, clock: Clock, report: Reporter) -> None:
        self._ledger = ledger
        self._clock = clock
        self._report = report

    async def call(self, fn: Callable[Concatenate[Ledger, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(ledger, *args)`` in the ledger's thread, again and again while the disk is full."""
        while True:
            try:
                return await self._ledger.call(fn, *args, **kwargs)
            except LedgerFull as error:
                self._report(Problem("ledger-full", f"{error}; nothing is sent that cannot be written down", "ledger"))
            await self._clock.sleep(FULL_RETRY)
