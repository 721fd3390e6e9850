"""What only a gateway is asked, by other Shippers: who it is, and what it has of a life. The same by HTTP and by gRPC."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from shipper import __version__
from shipper.errors import StateError
from shipper.intervals import IntervalSet
from shipper.sources.listing import LIFE
from shipper.sources.refusal import later


@dataclass(frozen=True, slots=True)
class Asked:
    """What it can answer: its own life, and what is known of another, by stream. Answers are JSON."""

    life: str
    known: Callable[[str], Awaitable[Mapping[str, IntervalSet]]]

    def hello(self) -> bytes:
        """Who it is."""
        return json.dumps({"life": self.life, "version": __version__, "role": "gateway"}).encode()

    async def intervals(self, life: str) -> bytes | None:
        """What it has of a life; None for what is no life's id. Raises a `Refusal` (503) when that cannot be told now."""
        if not LIFE.fullmatch(life):
            return None
        try:
            known = await self.known(life)
        except StateError as error:
            raise later("ledger", str(error)) from error
        return json.dumps({"streams": {stream: intervals.pairs() for stream, intervals in known.items()}}).encode()
