"""Smaller requests where time is short: one must not take all that is left, and what is worth most must not be behind it."""

from __future__ import annotations

import math
from dataclasses import replace

from shipper.contracts import Limits
from shipper.pump.tools import Tools

SHARE_OF_TIME = 8  # of what a drain has left, the part that the requests on their way may take together
SMALL_REQUEST = 256 << 10  # bytes of a request that is worth its overhead, however little time is left
ASSUMED_RATE = 10e6  # bytes a second, while nothing is known


class Shortage:
    """Of one destination. ``urgent``: the deadline of a drain counts. Limits ``given`` stand in place of the exporter's own."""

    def __init__(self, tools: Tools, given: Limits | None) -> None:
        self.urgent = False
        self._tools = tools
        self._given = given

    def limits(self) -> Limits:
        """Those of a request now."""
        limits = self._given or self._tools.exporter.limits
        deadline = self._tools.gate.deadline
        if not self.urgent or math.isinf(deadline.at):
            return limits
        time = deadline.remaining() / SHARE_OF_TIME / limits.max_in_flight
        most = max(SMALL_REQUEST, int((self._tools.rate.value() or ASSUMED_RATE) * time))
        return limits if most >= limits.max_raw_bytes else replace(limits, max_raw_bytes=most)
