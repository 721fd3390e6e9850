"""Amazon EC2: one watcher that looks at several items of the metadata service, each at its own pace and by its own reading.

Each *look* is a file of its own (`ec2_spot`, `ec2_rebalance`, `ec2_scheduled`, `asg`) and a source of its own on the board.
They wait for nothing but themselves: an item that hangs, or is throttled, does not make another one late.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

from shipper.clock import Clock
from shipper.labels.metadata import NoMetadata
from shipper.notice import NoticeBoard, NoticeWatcher
from shipper.notices.imds import Imds

POLL_SECONDS = 5.0  # as the user guide advises
SLOWEST_SECONDS = 60.0  # between tries of a service that has never answered
SLOWER_SECONDS = 20.0  # of one that has: it will again, and what it says then may be two minutes from the end


class Look(ABC):
    """One item and what it means."""

    source: str
    interval: float = POLL_SECONDS

    @abstractmethod
    async def look(self, imds: Imds, board: NoticeBoard) -> None:
        """Look once and tell the board at once. Raises `NoMetadata` where the answer makes no sense, or there is none."""


class Ec2Watcher(NoticeWatcher):
    """Looks at all ``looks``, at once and then at their intervals."""

    name = "ec2"

    def __init__(self, *, clock: Clock, imds: Imds, looks: Sequence[Look]) -> None:
        self._clock = clock
        self._imds = imds
        self._looks = tuple(looks)

    async def run(self, board: NoticeBoard) -> None:
        """See `NoticeWatcher.run`."""
        async with asyncio.TaskGroup() as group:
            for look in self._looks:
                group.create_task(self._keep_looking(look, board))

    async def aclose(self) -> None:
        """See `NoticeWatcher.aclose`."""
        await self._imds.aclose()

    async def _keep_looking(self, look: Look, board: NoticeBoard) -> None:
        failures, slowest = 0, SLOWEST_SECONDS
        while True:
            try:
                await look.look(self._imds, board)
                board.seen(look.source)
                failures, slowest = 0, SLOWER_SECONDS
            except NoMetadata as problem:
                failures += 1
                board.unknown(look.source, f"the metadata service {problem}")
            await self._clock.sleep(pause(look.interval, failures, slowest))


def pause(interval: float, failures: int, slowest: float) -> float:
    """Seconds until the next look: the interval, doubled with each failure after the first, up to ``slowest``."""
    return min(interval * 2.0 ** min(max(failures - 1, 0), 10), max(interval, slowest))
