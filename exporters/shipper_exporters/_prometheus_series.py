"""The series that one destination was sent, so that a flood of labels is stopped before it gets there."""

from __future__ import annotations

from collections.abc import Iterable

from shipper_exporters._prometheus_convert import STALE, Sample

_IDLE_MS = 600_000  # a series without a sample for so long makes room for others
_STALE = b"\x09" + STALE


class Series:
    """The series of one destination, at most ``most`` at a time; one that ended, or was silent for ten minutes, does not count."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._newest: dict[bytes, int] = {}  # the time of the newest sample taken; negative: of one not taken yet
        self._latest = 0
        self._swept = 0

    def __len__(self) -> int:
        return len(self._newest)

    def admit(self, samples: Iterable[Sample]) -> tuple[list[Sample], list[Sample]]:
        """Those of series that are known or for which there is room, and the others."""
        kept: list[Sample] = []
        over: list[Sample] = []
        for sample in samples:
            if sample[1] in self._newest or self._room():
                self._newest.setdefault(sample[1], -sample[0])
                kept.append(sample)
            else:
                over.append(sample)
        return kept, over

    def is_late(self, sample: Sample) -> bool:
        """Whether a sample of this time or a newer one was taken of its series before: it can only be refused."""
        return self._newest.get(sample[1], 0) >= sample[0]

    def accepted(self, samples: Iterable[Sample]) -> None:
        """The destination has these."""
        for time_ms, labels, value, _ in samples:
            if value.startswith(_STALE, 2):
                self._newest.pop(labels, None)
            elif self._newest.get(labels, 0) < time_ms:
                self._newest[labels] = time_ms
            self._latest = max(self._latest, time_ms)

    def _room(self) -> bool:
        if len(self._newest) < self.most:
            return True
        now = self._latest  # not what a sample says that nobody has taken
        if now < self._swept + _IDLE_MS // 10:
            return False
        self._swept = now
        idle = [labels for labels, newest in self._newest.items() if abs(newest) < now - _IDLE_MS]
        for labels in idle:
            del self._newest[labels]
        return bool(idle)
