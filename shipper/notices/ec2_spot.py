"""Spot interruptions: EC2 takes the capacity back, two minutes ahead at best, and for a hibernation with no lead at all.

Items ``spot/instance-action`` and, as a second look, the older ``spot/termination-time``, which holds a time or anything else
(Amazon EC2 User Guide, "Spot Instance interruption notices"). There is no way to delay one, and no cancel: the item stays, its
time then being past, which is the board's affair.
"""

from __future__ import annotations

import math

from shipper.clock import Clock
from shipper.labels.metadata import Answer, NoMetadata, json_object, plain, text_of
from shipper.notice import Notice, NoticeBoard, NoticeKind
from shipper.notices.ec2 import Look
from shipper.notices.imds import META, Imds
from shipper.notices.once import Moments, Once
from shipper.notices.times import Times

ACTION = META + "spot/instance-action"
TIME = META + "spot/termination-time"
OUTLIVED_SECONDS = 300.0  # a host that lives on so long after its time was spared; another time is another interruption
_KEY = "interruption"


class SpotLook(Look):
    """See the module."""

    source = "ec2-spot"

    def __init__(self, *, clock: Clock, times: Times) -> None:
        self._clock = clock
        self._moments = Moments(times)
        self._once = Once(self.source)
        self._earliest = math.inf
        self._hibernates = False

    async def look(self, imds: Imds, board: NoticeBoard) -> None:
        """See `Look.look`."""
        answer = await imds.get(ACTION)
        if answer.status == 200:
            self._interrupted(answer, board)
            return
        if self._hibernates:  # what was said is over when it is no longer said: this very process was woken up
            self._hibernates = False
            self._once.take_back(board, _KEY, "the instance was hibernated and is back")
        answer = await imds.get(TIME)
        if answer.status == 200:
            self._older_item(answer, board)

    def _interrupted(self, answer: Answer, board: NoticeBoard) -> None:
        content = json_object(answer)
        action, time = text_of(content, "action"), text_of(content, "time")
        if not action:
            raise NoMetadata("answered an interruption that names no action")
        if action == "none":
            return
        self._hibernates = action == "hibernate"
        if self._hibernates:
            evidence = f"EC2 Spot: {action} at {time}; hibernation begins at once"
            self._say(board, evidence, None, "ec2-spot-hibernate", ends_life=False)
            return
        evidence = f"EC2 Spot: {action} at {time}"
        try:
            at = self._by_the_earliest(self._moments.of(time, answer.headers.get("date")))
        except ValueError:
            self._say(board, f"EC2 Spot: {action}, at an unreadable time ({time[:60]!r})", None, "ec2-spot")
            return
        self._say(board, evidence, at, "ec2-spot")

    def _older_item(self, answer: Answer, board: NoticeBoard) -> None:
        try:
            time = plain(answer)
            at = self._moments.of(time, answer.headers.get("date"))
        except (ValueError, NoMetadata):
            return  # here that is no fault but the usual state of things
        self._say(board, f"EC2 Spot: termination at {time}", self._by_the_earliest(at), "ec2-spot")

    def _by_the_earliest(self, at: float) -> float:
        """A time that moves away with each look (as mocks have it) is no reprieve."""
        if self._clock.monotonic() - self._earliest > OUTLIVED_SECONDS:
            self._earliest = math.inf
        self._earliest = min(self._earliest, at)
        return self._earliest

    def _say(self, board: NoticeBoard, evidence: str, at: float | None, budget: str, *, ends_life: bool = True) -> None:
        kind = NoticeKind.IMMINENT
        self._once.say(board, Notice(self.source, kind, evidence, at, budget, _KEY, ends_life=ends_life))
