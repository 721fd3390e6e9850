"""Who may write: one of all that share an archive, by a lease that has to be renewed.

No clock is compared with another's. Who does not hold the lease watches it on its own monotonic clock, and takes it over
when it did not change for its expiry; who holds it stops writing well before others can come to that, counted from before it
asked for the renewal. Where the wall clock moved further than the monotonic one (the machine was suspended), that counts.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from shipper.clock import Clock
from shipper.errors import ShipperError
from shipper.events import Problem, Reporter, Said
from shipper.fleet.store import Store, Tagged

KEY = "shipper/keeper/lease"
DEPLOYS = "the series of deploys"
EXPIRY = 45.0
"""Seconds without renewal after which another may take it."""
RENEWALS = 3
"""Renewals, and looks of those who wait, in the time of an expiry."""
MARGIN = 0.2
"""Share of the expiry by which the holder stops earlier by itself: clocks do not run alike, and a write takes time."""


@dataclass(frozen=True, slots=True)
class _Record:
    """What lies under a lease's key. ``holder`` is empty when it was given back; ``turn`` makes every renewal another content."""

    holder: str = ""
    turn: int = 0

    def encode(self) -> bytes:
        return json.dumps({"version": 1, "holder": self.holder, "turn": self.turn}).encode()

    @classmethod
    def decode(cls, data: bytes | None) -> _Record:
        """What cannot be read has no holder that could be asked; it is waited for like any other."""
        if data is None:
            return cls()
        try:
            value = json.loads(data)
            return cls(str(value["holder"]), int(value["turn"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls("?", 0)


class Lease:
    """The lease as one of them sees it. ``me``: a name that no other has, its life. ``expiry``: seconds.

    ``key``: where it lies, one place for each kind of work; ``keeps``: that work, for people.
    """

    def __init__(
        self,
        store: Store,
        me: str,
        *,
        clock: Clock,
        report: Reporter,
        expiry: float = EXPIRY,
        key: str = KEY,
        keeps: str = DEPLOYS,
    ) -> None:
        self._store = store
        self._me = me
        self._clock = clock
        self._report = report
        self._expiry = expiry
        self._key = key
        self._keeps = keeps
        self.every = expiry / RENEWALS
        self._seen: Tagged | None = None
        self._seen_at = 0.0  # when what lies there was first seen
        self._good_until: tuple[float, float] | None = None  # monotonic and wall seconds
        self._said: bool | None = None

    def held(self) -> bool:
        """Whether we may write at this very moment."""
        if self._good_until is None:
            return False
        monotonic, wall = self._good_until
        return self._clock.monotonic() < monotonic and self._clock.wall_ns() / 1e9 < wall

    async def turn(self) -> None:
        """Renew it, take it if it is free, or look whether it is; to be called ``every`` so many seconds. Never raises."""
        try:
            await self._turn()
        except ShipperError as problem:  # what we hold we may use as long as it is good
            self._report(Problem("lease", f"the lease in the archive cannot be renewed or read: {problem}", "lease"))
        self._tell()

    async def give_back(self) -> None:
        """Let the next one take it at once. Never raises."""
        if not self.held() or self._seen is None:
            return
        self._good_until = None
        try:
            await self._store.swap(
                self._key, _Record("", _Record.decode(self._seen.data).turn + 1).encode(), self._seen.tag
            )
        except ShipperError as problem:
            self._report(Problem("lease", f"the lease was not given back, and ends by itself: {problem}", "lease"))

    async def _turn(self) -> None:
        begun = self._clock.monotonic(), self._clock.wall_ns() / 1e9
        found = await asyncio.to_thread(self._store.read, self._key)
        if self._seen is None or found != self._seen:
            self._seen, self._seen_at = found, self._clock.monotonic()
        record = _Record.decode(found.data)
        free = not record.holder or self._clock.monotonic() - self._seen_at >= self._expiry
        if record.holder != self._me and not free:
            self._good_until = None
            return
        if await self._store.swap(self._key, _Record(self._me, record.turn + 1).encode(), found.tag):
            good = self._expiry * (1 - MARGIN)
            self._good_until = begun[0] + good, begun[1] + good
            self._seen = await asyncio.to_thread(self._store.read, self._key)
            self._seen_at = self._clock.monotonic()
        else:
            self._good_until = None  # somebody else was faster

    def _tell(self) -> None:
        held = self.held()
        if held is not self._said and (held or self._said):
            self._report(Said(f"keeps {self._keeps}" if held else f"no longer keeps {self._keeps}"))
        self._said = held
