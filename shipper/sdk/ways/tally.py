"""How many records were given to a sending queue, and what became of them: what was not sent is said, with its cause."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from shipper.sdk import voice


class Tally:
    """Counts of one signal in this process. Adding is one step each, so threads need no lock."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.anew()

    def anew(self) -> None:
        """Start from zero (a forked child has an empty queue)."""
        self._given = itertools.count()
        self._taken = 0  # how often the counter itself was looked at
        self.sent = 0
        self.refused = 0
        self.cause = ""
        self._told = 0

    def given(self) -> None:
        """One more record was put into the queue."""
        next(self._given)

    def answered(self, count: int, sent: bool, cause: str = "") -> None:
        """``count`` records were sent, or given up. Called by one exporting thread at a time."""
        if sent:
            self.sent += count
        else:
            self.refused += count
            self.cause = cause

    def failed(self, cause: str, error: BaseException) -> None:
        """A record never got into the queue."""
        voice.fault(f"{self.what}: {cause}", error)

    @property
    def total(self) -> int:
        """Records given so far."""
        seen = next(self._given) - self._taken
        self._taken += 1
        return seen

    @property
    def waiting(self) -> int:
        """Records in the queue, or dropped by it because it was full."""
        return max(0, self.total - self.sent - self.refused)

    def missing(self) -> str:
        """A sentence on what was not sent, unless there is nothing new to say."""
        total = self.total
        lost = max(0, total - self.sent)
        if lost <= self._told:
            return ""
        self._told = lost
        given_up = f"{self.refused} given up" + (f" ({self.cause})" if self.cause else "") if self.refused else ""
        queued = total - self.sent - self.refused
        waiting = f"{queued} were still queued or had been dropped from a full queue" if queued > 0 else ""
        return f"{lost} of {total} {self.what} could not be sent: {', '.join(filter(None, (given_up, waiting)))}"


class CountingExporter:
    """An exporter of OpenTelemetry's around another: the same, and counted."""

    def __init__(self, exporter: Any, tally: Tally) -> None:
        self._exporter = exporter
        self._tally = tally

    def export(self, batch: Sequence[Any]) -> Any:
        """Send a batch with the other exporter."""
        try:
            result = self._exporter.export(batch)
        except Exception as error:
            self._tally.answered(len(batch), False, type(error).__name__)
            raise
        self._tally.answered(len(batch), result.value == 0, "the destination did not take them")
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As the other."""
        return bool(self._exporter.force_flush(timeout_millis))

    def shutdown(self) -> None:
        """As the other."""
        self._exporter.shutdown()
