"""What services lost on their way to us: what they said themselves, and what is missing in their sequence numbers."""

from __future__ import annotations

from shipper.events import Reporter, ServiceLoss
from shipper.sources.services.process import Process
from shipper.sources.services.series import Series

OLDEST = "drop_oldest"  # counted by range, like everything that once had positions
GAP = "gap"
_MOST_CAUSES = 100


class Losses:
    """Counts by cause over all services of the life; ``refused`` goes into the account."""

    def __init__(self, report: Reporter) -> None:
        self.refused: dict[str, int] = {}
        self.changed = False
        self._report = report
        self._told: dict[
            tuple[str, str], dict[str, int]
        ] = {}  # a process that had to change its directory tells all again

    def look(self, process: Process, series: Series) -> bool:
        """Report what a process said since the last look; True when there was something."""
        news = {cause: n for cause, n in series.dropped.items() if n > series.told.get(cause, 0)}
        if not news:
            return False
        for cause, count in news.items():
            fresh = count - series.told.get(cause, 0)
            series.told[cause] = count
            if cause != OLDEST:
                self._lost(process, series, cause, fresh)
        return True

    def end(self, process: Process, series: Series) -> None:
        """The series is complete: what is missing in it will not come any more."""
        missing = series.lost() - series.told.get(GAP, 0)
        if missing > 0:
            series.told[GAP] = series.lost()
            self._lost(process, series, GAP, missing)

    def _lost(self, process: Process, series: Series, cause: str, count: int) -> None:
        self._report(ServiceLoss(process.label, series.signal.value, count, cause))
        name = f"services.{series.signal}.{cause}"
        if name in self.refused or len(self.refused) < _MOST_CAUSES:
            self.refused[name] = self.refused.get(name, 0) + count
            self.changed = True
