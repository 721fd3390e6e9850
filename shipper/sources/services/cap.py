"""What all services together may put aside: the oldest goes first, and when even that does not help, nobody may add more."""

from __future__ import annotations

from collections.abc import Iterable

from shipper.sources.services.process import Process
from shipper.sources.services.segment import Segment
from shipper.sources.services.series import Series

RELAX = 0.9  # below this share of the limit services may add again

Choice = tuple[Process, Series, Segment]


class HostCap:
    """Decides; who asks does. ``limit``: bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.full = False

    def choose(self, processes: Iterable[Process]) -> list[Choice]:
        """The segments to drop now, oldest first; `full` is brought up to date as if they were dropped."""
        everybody = list(processes)
        size = sum(process.size for process in everybody)
        chosen: list[Choice] = []
        if size > self.limit:
            final = [
                (process, series, segment)
                for process in everybody
                for series in process.series.values()
                for segment in series.segments
                if segment.final
            ]
            final.sort(key=lambda choice: (choice[2].newest_ns, choice[2].base))
            for choice in final:
                if size <= self.limit:
                    break
                chosen.append(choice)
                size -= choice[2].size
        self.full = size > self.limit * (RELAX if self.full else 1.0)
        return chosen
