"""The pods as the agent's own drain sees them: one more that has to become idle before the end is said and the node let go."""

from __future__ import annotations

import math
from collections.abc import Mapping

from shipper.clock import Clock, Deadline
from shipper.node.agent import Node


class Pods:
    """See `shipper.drain.drainable.Drainable`. Each pod drains by itself; here it is only waited for."""

    name = "pods"

    def __init__(self, node: Node, clock: Clock) -> None:
        self.deadline = Deadline(clock)
        self._node = node

    def urgent(self, on: bool) -> None:
        """See `Drainable.urgent`."""

    def order_by_value(self, on: bool) -> None:
        """See `Drainable.order_by_value`."""

    async def finish(self, until: Deadline) -> None:
        """See `Drainable.finish`: the drains of the pods have the same deadline."""

    def idle(self) -> bool:
        """See `Drainable.idle`."""
        return self._node.idle()

    def backlog(self) -> Mapping[str, int]:
        """See `Drainable.backlog`; by pod."""
        return {uid: size for uid, size in self._node.backlog().items() if size}

    def backlog_bytes(self) -> int:
        """See `Drainable.backlog_bytes`."""
        return sum(self._node.backlog().values())

    def oldest_unacknowledged(self) -> float:
        """See `Drainable.oldest_unacknowledged`."""
        return self._node.oldest()

    def rate(self) -> float:
        """See `Drainable.rate`: of many destinations it is not known."""
        return 0.0

    def usual_answer(self) -> float:
        """See `Drainable.usual_answer`: of many destinations it is not known."""
        return 0.0

    def last_failed_try(self) -> float:
        """See `Drainable.last_failed_try`."""
        return -math.inf

    def repay(self, on: bool) -> None:
        """See `Drainable.repay`: the drains of the pods decide."""

    def failing(self) -> bool:
        """See `Drainable.failing`: each pod has its own fallback."""
        return False
