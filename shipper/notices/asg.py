"""Auto Scaling: the state that the group wants this instance to be in, which is the one sign of a scale-in inside the host.

Item ``autoscaling/target-lifecycle-state`` (EC2 Auto Scaling User Guide, "Retrieve the target lifecycle state through instance
metadata"); 404 where it never changed. It names no hook and no time: those the API knows (`asg_hold`), and what that learns of
the time is said here (`LifecycleLook.ends_at`), so that there is one notice of one thing.
"""

from __future__ import annotations

import dataclasses

from shipper.labels.metadata import NoMetadata
from shipper.notice import Notice, NoticeBoard, NoticeKind
from shipper.notices.ec2 import Look
from shipper.notices.imds import META, Imds
from shipper.notices.once import Once

TARGET = META + "autoscaling/target-lifecycle-state"
SOURCE = "ec2-asg"
KEY = "target"
_ENDS = {"Terminated", "Warmed:Terminated"}
_RETURNS = {"Warmed:Stopped", "Warmed:Hibernated"}  # into the warm pool: the same instance, later
_STAYS = {"InService", "Standby", "Detached", "Warmed:Running"}


class LifecycleLook(Look):
    """See the module."""

    source = SOURCE

    def __init__(self) -> None:
        self._once = Once(self.source)
        self._served = False
        self._notice: Notice | None = None
        self._board: NoticeBoard | None = None

    async def look(self, imds: Imds, board: NoticeBoard) -> None:
        """See `Look.look`."""
        self._board = board
        state = await imds.text(TARGET)
        evidence = f"the Auto Scaling group wants this instance to be {state}"
        if state in _ENDS:
            self._say(Notice(SOURCE, NoticeKind.IMMINENT, evidence, budget="ec2-asg", key=KEY), board)
        elif state in _RETURNS:
            # Until it has served, it is on its way from launch into the pool: that stop comes when set-up is done.
            kind = NoticeKind.IMMINENT if self._served else NoticeKind.ADVISORY
            self._say(Notice(SOURCE, kind, evidence, budget="ec2-asg", key=KEY, ends_life=False), board)
        elif state in _STAYS:
            self._served = True
            self._notice = None
            self._once.take_back(board, KEY, f"the group wants this instance to be {state}")
        elif state:
            raise NoMetadata(f"answered a lifecycle state nobody knows, {state[:60]!r}")

    def ends_at(self, at: float | None) -> None:
        """The API says when the group will go on (monotonic seconds); None: it waits no longer, the shut-down comes next."""
        if self._notice is not None and self._board is not None:
            budget = "ec2-asg" if at is not None else "ec2-shutdown"
            self._notice = dataclasses.replace(self._notice, deadline=at, budget=budget)
            self._once.say(self._board, self._notice)

    def _say(self, notice: Notice, board: NoticeBoard) -> None:
        before = self._notice
        if before is None or (before.evidence, before.kind) != (notice.evidence, notice.kind):
            self._notice = notice  # else it was said before, perhaps with what the API knew of the time
            self._once.say(board, notice)
