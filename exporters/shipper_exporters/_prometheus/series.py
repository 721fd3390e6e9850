"""The series that one destination was sent, so that a flood of labels is stopped before it gets there."""

from __future__ import annotations

from collections.abc import Iterable

from shipper_exporters._prometheus.samples import Sample, is_end

_IDLE_MS = 600_000  # a series without a sample for so long makes room for others
_NAME = b"\x0a\x08__name__\x12"  # the label of the metric's name, up to the length of its value
_OWN = b"shipper_"


class Series:
    """The series of one destination, at most ``most`` at a time; one that ended, or was silent for ten minutes, does not count.

    Shipper's own have room for as many again: in a fleet every new host is new series, and a user's id in a label of some
    service must not make all hosts invisible that are born after it.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._newest: dict[bytes, int] = {}  # the time of the newest sample taken; negative: of one not taken yet
        self._own: set[bytes] = set()  # those of them that are Shipper's
        self._latest = 0
        self._swept = 0

    def __len__(self) -> int:
        return len(self._newest)

    def admit(self, samples: Iterable[Sample]) -> tuple[list[Sample], list[Sample]]:
        """Those of series that are known or for which there is room, and the others."""
        kept: list[Sample] = []
        over: list[Sample] = []
        for sample in samples:
            if sample[1] in self._newest or self._add(sample):
                kept.append(sample)
            else:
                over.append(sample)
        return kept, over

    def is_late(self, sample: Sample) -> bool:
        """Whether a sample of this time or a newer one was taken of its series before: it can only be refused."""
        return self._newest.get(sample[1], 0) >= sample[0]

    def accepted(self, samples: Iterable[Sample]) -> None:
        """The destination has these."""
        for time_ms, labels, value, *_ in samples:
            if is_end(value):
                self._remove(labels)
            elif self._newest.get(labels, 0) < time_ms:
                self._newest[labels] = time_ms
            self._latest = max(self._latest, time_ms)

    def forget(self, labels: bytes) -> None:
        """A series makes room."""
        self._remove(labels)

    def _add(self, sample: Sample) -> bool:
        """Take up a new series, if there is room."""
        own = _is_own(sample[1])
        if not self._room(own):
            return False
        self._newest[sample[1]] = -sample[0]
        if own:
            self._own.add(sample[1])
        return True

    def _remove(self, labels: bytes) -> None:
        self._newest.pop(labels, None)
        self._own.discard(labels)

    def _room(self, own: bool) -> bool:
        if self._count(own) < self.most:
            return True
        now = self._latest  # not what a sample says that nobody has taken
        if now < self._swept + _IDLE_MS // 10:
            return False
        self._swept = now
        idle = [labels for labels, newest in self._newest.items() if abs(newest) < now - _IDLE_MS]
        for labels in idle:
            self._remove(labels)
        return self._count(own) < self.most

    def _count(self, own: bool) -> int:
        return len(self._own) if own else len(self._newest) - len(self._own)


def _is_own(labels: bytes) -> bool:
    """Whether encoded labels are those of a metric that Shipper measures."""
    found = labels.find(_NAME)
    return found >= 0 and labels.startswith(_OWN, found + len(_NAME) + 1)
