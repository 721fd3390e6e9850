"""Since when a counter counts: what tells a counter that was reset from one that went on.

Strongest first: the time of creation that the client exposes, the start of its process, the beginning of the host's life.
These are the same in every run of the sidecar, so a restart of it does not look like a reset of anybody's counter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.samples import Sample

PROCESS_START = "process_start_time_seconds"
MOST_SEEN = 100_000  # series of one target; beyond these nobody knows which are new
_COUNTING = ("counter", "histogram", "summary")


class Series(NamedTuple):
    """One counter: its family and its labels in order."""

    family: str
    labels: tuple[tuple[str, str], ...]


class Starts:
    """The start times of one target's series. What is not exposed any more is forgotten."""

    def __init__(self, birth_ns: int) -> None:
        """``birth_ns``: nothing on this host counts since before that."""
        self._birth_ns = birth_ns
        self._before: dict[Series, tuple[float, int]] = {}
        self._now: dict[Series, tuple[float, int]] = {}
        self._before_ns = birth_ns
        self._read = False
        self._seen: set[int] = set()  # series that ever were, by their hash: one that comes back is not new
        self._now_ns = birth_ns
        self._least_ns = birth_ns
        self._created: Mapping[Series, int] = {}

    def begin(self, families: Sequence[Metric], created: Mapping[Series, int], now_ns: int) -> None:
        """A new exposition is gone through. ``created``: what it says of the creation of its series."""
        self._now = {}
        self._now_ns = now_ns
        self._created = created
        self._least_ns = min(now_ns, max(self._birth_ns, _process_start(families)))

    def new_since(self, series: Series) -> int:
        """When the target was last read without having this series; 0 for one it had before, or may have had.

        A series without that is new to us only, and what it counted before we looked is no growth.
        """
        if not self._read or len(self._seen) >= MOST_SEEN or hash(series) in self._seen:
            return 0
        return self._before_ns

    def since(self, series: Series, value: float) -> int:
        """Since when the series, which has ``value`` now, counts (nanoseconds since the epoch)."""
        created = self._created.get(series)
        last = self._before.get(series)
        if created is not None:
            start = min(created, self._now_ns)
        elif last is None:
            start = self.new_since(series) or self._least_ns
        elif value < last[0]:
            start = max(self._before_ns, self._least_ns)  # it began anew at some time after it was last seen
        else:
            start = max(last[1], self._least_ns)
        self._now[series] = (value, start)
        return start

    def end(self, now_ns: int) -> None:
        """All of it is gone through."""
        if len(self._seen) < MOST_SEEN:
            self._seen.update(hash(series) for series in self._now if series not in self._before)
        self._before, self._now = self._now, {}
        self._before_ns = now_ns
        self._read = True


def created_times(families: Sequence[Metric]) -> tuple[dict[Series, int], set[str]]:
    """When series say they were created, and the families that hold nothing but that.

    OpenMetrics has it within the family; the older text format in a gauge beside it.
    """
    counting = {family.name for family in families if family.type in _COUNTING}
    times: dict[Series, int] = {}
    merely: set[str] = set()
    for family in families:
        base = family.name.removesuffix("_created")
        if family.type == "gauge" and base != family.name and base in counting:
            merely.add(family.name)
        elif family.type not in _COUNTING:
            continue
        for sample in family.samples:
            if sample.name == f"{base}_created" and (when := _nanoseconds(sample)):
                times[Series(base, tuple(sorted(sample.labels.items())))] = when
    return times, merely


def _process_start(families: Sequence[Metric]) -> int:
    return max(
        (_nanoseconds(sample) for family in families if family.name == PROCESS_START for sample in family.samples),
        default=0,
    )


def _nanoseconds(sample: Sample) -> int:
    """A time given in seconds; 0 when it cannot be one."""
    return int(sample.value * 1e9) if 0 < sample.value < 1 << 33 else 0
