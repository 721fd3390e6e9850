"""What a destination has already, after the ledger was lost: asked for before anything is cut anew, which would duplicate it."""

from __future__ import annotations

from shipper.errors import DeliveryError
from shipper.events import Problem
from shipper.intervals import IntervalSet
from shipper.pump.backoff import Backoff
from shipper.pump.tools import Tools


async def ask_known(tools: Tools) -> dict[str, IntervalSet]:
    """What the destination has of this life, by stream; asked until it answers. Empty when it cannot say."""
    backoff = Backoff(tools.random)
    while True:
        try:
            return dict(await tools.exporter.known(tools.life) or {})
        except DeliveryError as error:
            said = f"{tools.name} does not yet say what it has of this life: {error}"
            tools.report(Problem("ask-known", said, tools.name))
        except Exception as error:  # a bug in an exporter may cost duplicates, but not the run
            said = f"the exporter of {tools.name} cannot say what it has: {type(error).__name__}: {error}"
            tools.report(Problem("exporter-bug", said, tools.name))
            return {}
        await tools.gate.pause(backoff)
