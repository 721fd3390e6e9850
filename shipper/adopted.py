"""The run that ships what an earlier life left: the pumps and the account it is given, until nothing is left or time is up.

It looks for nothing new and ends by itself. Its farewell stands in the place of the one that the life could not say, unless
that life had said its own and everything is out.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from shipper.account import Account
from shipper.clock import Clock, Deadline
from shipper.contracts import Signal, Source
from shipper.errors import StateError
from shipper.events import Problem, Reporter
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, LedgerThread
from shipper.otlp import decode
from shipper.pump.pump import Pump
from shipper.spool import Fsync, Spool

CLOSED_KEY = "remains.closed"  # everything is out, the farewell too
RESERVE_SECONDS = 2.0  # of a drain's time, for the farewell


@dataclass(frozen=True, slots=True)
class Ended:
    """How a life ended by its own word: its last statement, and what that said when it was a farewell."""

    last: str  # "birth", "notice", "farewell"; empty: it said nothing that is still here
    reason: str = ""
    final: bool = False  # it said that the life ends with it

    def words(self, by: str) -> str:
        """The reason, as the farewell in its place gives it."""
        if self.last == "farewell":
            return f"{'ended' if self.final else 'stopped'} because of {self.reason}; adopted by life {by}"
        return f"ended {'after a notice' if self.last == 'notice' else 'in silence'}; adopted by life {by}"


class AdoptedRun:
    """See `shipper.remains.EarlierRun`."""

    def __init__(
        self,
        ledger: LedgerThread,
        pumps: Sequence[Pump],
        sources: Sequence[Source],
        account: Account,
        ended: Ended,
        by: str,
        clock: Clock,
    ) -> None:
        self.open = AsyncExitStack()
        self._ledger = ledger
        self._pumps = pumps
        self._sources = sources
        self._account = account
        self._ended = ended
        self._by = by
        self._clock = clock

    def backlog(self) -> int:
        """See `EarlierRun.backlog`."""
        return max((sum(pump.backlog().values()) for pump in self._pumps), default=0)

    async def aclose(self) -> None:
        """See `EarlierRun.aclose`."""
        await self.open.aclose()

    async def ship(self, deadline: Deadline) -> bool:
        """See `EarlierRun.ship`."""
        if await self._ledger.call(Ledger.get, CLOSED_KEY) is not None:
            return True
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(each) for each in self._work()]
            try:
                done = await self._ship(deadline)
            finally:
                for task in work:
                    task.cancel()
        if done:
            await self._ledger.call(Ledger.put, CLOSED_KEY, "1")
        return done

    def _work(self) -> list[Any]:
        return [
            *(pump.run() for pump in self._pumps),
            *(source.run() for source in self._sources),
            self._account.run(),
        ]

    async def _ship(self, deadline: Deadline) -> bool:
        limited = deadline.remaining() < float("inf")
        for pump in self._pumps:
            pump.deadline = deadline
            pump.urgent(limited)
        early = (
            Deadline(self._clock, deadline.at - min(RESERVE_SECONDS, deadline.remaining() / 4)) if limited else deadline
        )
        for source in self._sources:
            source.stop_reading()
            source.close_events()
        await asyncio.gather(*(source.settled() for source in self._sources))
        silent = self._ended.last != "farewell"
        if not silent and await self._all_out():
            return True  # its own farewell says it all
        await self._account.birth([self._ended.words(self._by)])
        idle = await asyncio.gather(*(pump.wait_idle(early) for pump in self._pumps))
        drained = all(idle) and await self._all_out()
        await self._account.farewell(
            {
                "reason": self._ended.words(self._by),
                "ends_life": True,
                "why": "what it left was shipped by a later life",
                "outcome": "drained" if drained else "expired",
            }
        )
        sent = await asyncio.gather(*(pump.wait_idle(deadline, include_account=True) for pump in self._pumps))
        return all(idle) and all(sent)

    async def _all_out(self) -> bool:
        """Whether every destination has everything, as far as the ledger knows."""
        return await self._ledger.call(_nothing_left, {pump.name: pump.signals for pump in self._pumps})


def _nothing_left(ledger: Ledger, destinations: Mapping[str, frozenset[Signal]]) -> bool:
    for account in ledger.account(destinations, signals=destinations):
        for figures in account.destinations.values():
            done = IntervalSet([*figures.acknowledged, *figures.lost, *figures.quarantined])
            if done.missing(account.stream.start, account.stream.size):
                return False
    return True


def last_words(directory: str, report: Reporter) -> Ended:
    """The last statement of a life for everybody, out of the spool it was written to."""
    if not os.path.isdir(directory):
        return Ended("")
    last = b""
    try:
        spool = Spool.open(directory, name="life", fsync=Fsync.NEVER, report=report)
        try:
            at = spool.first()
            while frames := spool.frames(at, 1 << 20):
                last, at = frames[-1].payload, frames[-1].end
        finally:
            spool.close()
        for record in decode.records(Signal.LOGS, last) if last else ():
            said = json.loads(str(record.body))
            name = record.event_name.removeprefix("shipper.")
            return Ended(name, str(said.get("reason", "")), said.get("ends_life") is True)
    except (StateError, OSError, ValueError, AttributeError) as problem:
        report(Problem("remains", f"the last words in {directory} cannot be read: {problem}", directory))
    return Ended("")
