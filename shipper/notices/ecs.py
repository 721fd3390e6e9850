"""Amazon ECS and Fargate: the task's DesiredStatus, which turns to STOPPED before the stop signal reaches a container.

Item ``/task`` of the task metadata endpoint version 4 (Amazon ECS Developer Guide, "Task metadata endpoint version 4"). No time
is stated anywhere inside the task: the kill comes ``stopTimeout`` after the signal, 30 s unless the task definition says else
(Fargate: at most 120 s), also where a Spot interruption is announced two minutes ahead. The signal itself is the certain notice;
this one reaches also a sidecar that is not its container's first process.
"""

from __future__ import annotations

import re

from shipper.clock import Clock
from shipper.labels.metadata import NoMetadata, expected, json_object, text_of
from shipper.notice import Notice, NoticeBoard, NoticeKind, NoticeWatcher
from shipper.notices.ec2 import SLOWER_SECONDS, SLOWEST_SECONDS, pause
from shipper.notices.http import Asker
from shipper.notices.once import Once

POLL_SECONDS = 2.0
TIMEOUT_SECONDS = 1.5
KEY = "task"
LOST_SECONDS = 2.0  # of the stated time, until the status is seen and the signal follows
_DURATION = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s?)?")


class EcsWatcher(NoticeWatcher):
    """Looks at ``metadata_uri`` (ECS_CONTAINER_METADATA_URI_V4).

    ``stop_timeout``: seconds between signal and kill where it is known; None: the budget ``ecs`` counts.
    """

    name = "ecs"

    def __init__(self, *, clock: Clock, metadata_uri: str, stop_timeout: float | None = None) -> None:
        self._clock = clock
        self._stop_timeout = stop_timeout
        self._asker = Asker(metadata_uri, clock=clock)
        self._once = Once(self.name)
        self._deadline: float | None = None

    async def run(self, board: NoticeBoard) -> None:
        """See `NoticeWatcher.run`."""
        failures, slowest = 0, SLOWEST_SECONDS
        while True:
            try:
                await self._look(board)
                board.seen(self.name)
                failures, slowest = 0, SLOWER_SECONDS
            except NoMetadata as problem:
                failures += 1
                board.unknown(self.name, f"the task metadata endpoint {problem}")
            await self._clock.sleep(pause(POLL_SECONDS, failures, slowest))

    async def aclose(self) -> None:
        """See `NoticeWatcher.aclose`."""
        await self._asker.aclose()

    async def _look(self, board: NoticeBoard) -> None:
        answer = expected(await self._asker.ask("GET", "/task", timeout=TIMEOUT_SECONDS))
        status = text_of(json_object(answer), "DesiredStatus").upper()
        if not status:
            raise NoMetadata("answered a task without a DesiredStatus")
        if status != "STOPPED":
            self._deadline = None
            self._once.take_back(board, KEY, f"the task's desired status is {status}")
            return
        if self._stop_timeout is not None and self._deadline is None:
            self._deadline = self._clock.monotonic() + max(self._stop_timeout - LOST_SECONDS, self._stop_timeout / 2)
        evidence = "ECS: the task's desired status is STOPPED"
        self._once.say(board, Notice(self.name, NoticeKind.IMMINENT, evidence, self._deadline, "ecs", KEY))


def seconds_of(text: str) -> float | None:
    """Seconds of a time as the ECS agent takes it (``30s``, ``1m30s``) or as a task definition does (``30``); else None."""
    found = _DURATION.fullmatch(text.strip())
    if not text.strip() or found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(hours * 3600 + minutes * 60 + seconds) or None
