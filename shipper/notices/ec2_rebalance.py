"""Rebalance recommendations: the risk of a Spot interruption rose. Nothing ends by it, so it is advice: flush harder.

Item ``events/recommendations/rebalance``; its ``noticeTime`` is when it was emitted, no deadline (Amazon EC2 User Guide,
"EC2 instance rebalance recommendations"). It may come together with the interruption itself.
"""

from __future__ import annotations

from shipper.labels.metadata import NoMetadata, json_object, text_of
from shipper.notice import Notice, NoticeBoard, NoticeKind
from shipper.notices.ec2 import Look
from shipper.notices.imds import META, Imds
from shipper.notices.once import Once

REBALANCE = META + "events/recommendations/rebalance"


class RebalanceLook(Look):
    """See the module."""

    source = "ec2-rebalance"

    def __init__(self) -> None:
        self._once = Once(self.source)

    async def look(self, imds: Imds, board: NoticeBoard) -> None:
        """See `Look.look`."""
        answer = await imds.get(REBALANCE)
        if answer.status == 404:
            self._once.take_back(board, "", "it is no longer there")
            return
        time = text_of(json_object(answer), "noticeTime")
        if not time:
            raise NoMetadata("answered a rebalance recommendation without its time")
        evidence = f"EC2 recommends to replace this instance (said at {time[:60]})"
        self._once.say(board, Notice(self.source, NoticeKind.ADVISORY, evidence, ends_life=False))
