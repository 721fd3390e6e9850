"""The newest value of each series, for those who read values and not samples: a scrape, a Pushgateway.

What is taken up can be taken back, since a Pushgateway refuses all of a push for one metric in it. A series that ended is kept
until its last value was shown once. Native histograms have no place in the text formats, and a name has one type; what does not fit
is refused by its reason.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from shipper_exporters._prometheus.remote_write import TWICE
from shipper_exporters._prometheus.samples import (
    COUNTER,
    NO_POINT,
    Exemplar,
    Family,
    Labels,
    Sample,
    is_end,
    is_histogram,
    number_of,
    pairs_of,
)
from shipper_exporters._prometheus.series import Series

NATIVE = "exponential histograms, for which the text formats have no place"
ANOTHER_TYPE = "of another type than a metric of the same name"

_PARTS = ("le", "quantile")  # labels that tell the series of one data point apart
_LAST = ("_sum", "_count")


@dataclass(slots=True)
class Group:
    """The series of one data point, in the order that formats ask for. ``source``: which point they have their values of.

    Only series with the time of the newest point are shown: a bucket that it did not have any more is none.
    """

    time_ms: int = -1
    source: tuple[int, int] = (0, NO_POINT)
    series: list[Shown] = field(default_factory=list)

    def shown(self) -> list[Shown]:
        """Those that the newest point had."""
        if len(self.series) == 1:
            return self.series
        return [one for one in self.series if one.time_ms == self.time_ms]


@dataclass(slots=True)
class Shown:
    """One series as it is shown. ``fresh``: not since it has this value. ``at``: monotonic seconds of when that came."""

    labels: Labels
    group: Group
    value: float
    time_ms: int
    at: float
    exemplar: Exemplar | None = None
    fresh: bool = True
    ended: bool = False
    order: tuple[int, float] = (0, 0.0)
    written: str = ""  # name and labels, as the text formats have them, once they were needed


@dataclass(slots=True)
class Shelf:
    """A family, and its series by what tells its points apart."""

    family: Family
    groups: dict[tuple[str, ...], Group] = field(default_factory=dict)


_State = tuple[float, int, float, Exemplar | None, bool, bool]
_Undo = tuple[Shown, _State | None, int, tuple[int, int]]
"""A series, what it was (None: new), and what its group was."""


@dataclass(slots=True)
class Taken:
    """What became of samples: data points refused, by reason, the series of them; and how to take the others back."""

    rejected: Counter[str] = field(default_factory=Counter)
    refused: list[bytes] = field(default_factory=list)
    undo: list[_Undo] = field(default_factory=list)


class Exposition:
    """The store. ``most``: series of services at one time, and of Shipper itself; ``expire``: seconds without a new value."""

    def __init__(self, most: int, expire: float) -> None:
        self._admission = Series(most)
        self._expire = expire
        self._shown: dict[bytes, Shown] = {}
        self._shelves: dict[str, Shelf] = {}
        self._calls = 0
        self._names: dict[str, str] = {}  # which shelf the samples of a name are on

    def __len__(self) -> int:
        return len(self._shown)

    def take(self, samples: Iterable[Sample], now: float) -> Taken:
        """Take up what is newer than what is there. ``now``: monotonic seconds."""
        taken = Taken()
        lost: set[int] = set()
        self._calls += 1
        for sample in samples:
            why = self._refusal(sample) or self._put(sample, now, taken)
            if why:
                taken.refused.append(sample[1])
                if sample[3] not in lost and sample[3] != NO_POINT:
                    lost.add(sample[3])
                    taken.rejected[why] += 1
        return taken

    def take_back(self, taken: Taken) -> None:
        """As if what came with ``taken`` had not come."""
        for shown, state, time_ms, source in reversed(taken.undo):
            if self._shown.get(shown.labels) is not shown:
                continue  # it has expired meanwhile
            if state is None:
                self._remove(shown)
            else:
                shown.value, shown.time_ms, shown.at, shown.exemplar, shown.fresh, shown.ended = state
            shown.group.time_ms, shown.group.source = time_ms, source

    def seen(self, shown: Iterable[tuple[Shown, int]]) -> None:
        """Somebody has seen these, each with the value of that time; those that ended and were seen are gone."""
        for one, time_ms in shown:
            if one.time_ms == time_ms:
                one.fresh = False
            if one.ended and not one.fresh and self._shown.get(one.labels) is one:
                self._remove(one)

    def shelves(self, now: float) -> Iterator[Shelf]:
        """The families with something to show, after those series went that had no value for long."""
        for one in [one for one in self._shown.values() if now - one.at > self._expire and not one.fresh]:
            self._remove(one)
        yield from self._shelves.values()

    def snapshot(self) -> list[tuple[Shown, int]]:
        """What is shown now, for `seen`."""
        return [(one, one.time_ms) for one in self._shown.values()]

    def lives(self, family: str) -> bool:
        """Whether there is a series of a family that has not ended."""
        shelf = self._shelves.get(family)
        return shelf is not None and any(not one.ended for group in shelf.groups.values() for one in group.series)

    def _refusal(self, sample: Sample) -> str:
        labels = sample[1]
        if is_histogram(sample[2]):
            return NATIVE
        assert isinstance(labels, Labels), "the text of labels is kept beside their bytes"
        known = self._shown.get(labels)
        if known is not None:
            return "" if known.labels.family.type == labels.family.type or is_end(sample[2]) else ANOTHER_TYPE
        if is_end(sample[2]):
            return ""
        name, base = _name(labels), base_name(labels.family)
        shelf = self._shelves.get(base)
        if (shelf is not None and shelf.family.type != labels.family.type) or self._names.get(name, base) != base:
            return ANOTHER_TYPE
        if not self._admission.admit([sample])[0]:
            return f"of a series beyond max_series ({self._admission.most})"
        return ""

    def _put(self, sample: Sample, now: float, taken: Taken) -> str:
        """Take up one sample; why not, or nothing."""
        time_ms, labels, value, point, more = sample
        shown = self._shown.get(labels)
        if is_end(value):
            if shown is not None and not shown.ended and time_ms >= shown.time_ms:
                taken.undo.append((shown, _state(shown), shown.group.time_ms, shown.group.source))
                shown.ended = True
            return ""
        number = number_of(value)
        group = shown.group if shown is not None else self._group(labels)
        source = (self._calls, point)
        if time_ms == group.time_ms and source != group.source:
            return "" if shown is not None and shown.time_ms == time_ms and same(shown.value, number) else TWICE
        if time_ms < group.time_ms:
            return ""  # a newer one is there
        if shown is None:
            assert isinstance(labels, Labels), "see _refusal"
            shown = self._add(Shown(labels, group, number, time_ms, now, order=_order(labels)))
            taken.undo.append((shown, None, group.time_ms, group.source))
        else:
            taken.undo.append((shown, _state(shown), group.time_ms, group.source))
        group.time_ms, group.source = time_ms, source
        shown.value, shown.time_ms, shown.at, shown.fresh, shown.ended = number, time_ms, now, True, False
        if more is not None and more.exemplars:
            shown.exemplar = max(more.exemplars, key=lambda one: one.value)
        return ""

    def _group(self, labels: bytes) -> Group:
        """That of a series that is not there yet."""
        assert isinstance(labels, Labels), "see _refusal"
        shelf = self._shelves.get(base_name(labels.family))
        found = shelf.groups.get(_point(labels)) if shelf is not None else None
        return found if found is not None else Group()

    def _add(self, shown: Shown) -> Shown:
        labels = shown.labels
        base = base_name(labels.family)
        self._names[_name(labels)] = base
        shelf = self._shelves.setdefault(base, Shelf(labels.family))
        insort(shelf.groups.setdefault(_point(labels), shown.group).series, shown, key=lambda one: one.order)
        self._shown[labels] = shown
        return shown

    def _remove(self, shown: Shown) -> None:
        labels = shown.labels
        del self._shown[labels]
        self._admission.forget(labels)
        base = base_name(labels.family)
        shelf = self._shelves[base]
        group = shown.group
        group.series = [one for one in group.series if one is not shown]
        if not group.series:
            del shelf.groups[_point(labels)]
        if not shelf.groups:
            del self._shelves[base]
            self._names = {name: of for name, of in self._names.items() if of != base}


def _state(shown: Shown) -> _State:
    return shown.value, shown.time_ms, shown.at, shown.exemplar, shown.fresh, shown.ended


def same(one: float, other: float) -> bool:
    """Whether two values are the same; no number is the same as no number."""
    return one == other or (one != one and other != other)


def base_name(family: Family) -> str:
    """How OpenMetrics calls a family: without the ``_total`` of its samples."""
    return family.name.removesuffix("_total") if family.type == COUNTER else family.name


def _name(labels: Labels) -> str:
    return labels.texts[labels.texts.index("__name__") + 1]


def _point(labels: Labels) -> tuple[str, ...]:
    """The labels that all series of one data point share."""
    return tuple(text for pair in pairs_of(labels) if pair[0] not in ("__name__", *_PARTS) for text in pair)


def _order(labels: Labels) -> tuple[int, float]:
    """Buckets and quantiles by their number, then the sum, then the count."""
    for key, value in pairs_of(labels):
        if key in _PARTS:
            return 0, float(value)
    name = _name(labels)
    return next((at for at, last in enumerate(_LAST, 1) if name == labels.family.name + last), 0), 0.0
