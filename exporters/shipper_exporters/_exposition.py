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

from shipper_exporters._prometheus_samples import (
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
from shipper_exporters._prometheus_series import Series

NATIVE = "exponential histograms, for which the text formats have no place"
ANOTHER_TYPE = "of another type than a metric of the same name"

_PARTS = ("le", "quantile")  # labels that tell the series of one data point apart
_LAST = ("_sum", "_count")


@dataclass(slots=True)
class Shown:
    """One series as it is shown. ``fresh``: not since it has this value. ``at``: monotonic seconds of when that came."""

    labels: Labels
    value: float
    time_ms: int
    at: float
    exemplar: Exemplar | None = None
    fresh: bool = True
    ended: bool = False
    order: tuple[int, float] = (0, 0.0)


@dataclass(slots=True)
class Shelf:
    """A family, its series by what tells its points apart; those of one point in the order that formats ask for."""

    family: Family
    points: dict[tuple[str, ...], list[Shown]] = field(default_factory=dict)


@dataclass(slots=True)
class Taken:
    """What became of samples: data points refused, by reason; and how to take the others back."""

    rejected: Counter[str] = field(default_factory=Counter)
    before: list[tuple[Labels, tuple[float, int, float, Exemplar | None, bool, bool] | None]] = field(
        default_factory=list
    )
    refused: list[bytes] = field(default_factory=list)


class Exposition:
    """The store. ``most``: series of services at one time, and of Shipper itself; ``expire``: seconds without a new value."""

    def __init__(self, most: int, expire: float) -> None:
        self._admission = Series(most)
        self._expire = expire
        self._shown: dict[bytes, Shown] = {}
        self._shelves: dict[str, Shelf] = {}
        self._names: dict[str, str] = {}  # which shelf the samples of a name are on

    def __len__(self) -> int:
        return len(self._shown)

    def take(self, samples: Iterable[Sample], now: float) -> Taken:
        """Take up what is newer than what is there. ``now``: monotonic seconds."""
        taken = Taken()
        lost: set[int] = set()
        for sample in samples:
            why = self._refusal(sample)
            if why:
                taken.refused.append(sample[1])
                if sample[3] not in lost and sample[3] != NO_POINT:
                    lost.add(sample[3])
                    taken.rejected[why] += 1
            else:
                self._put(sample, now, taken)
        return taken

    def take_back(self, taken: Taken) -> None:
        """As if what came with ``taken`` had not come."""
        for labels, before in reversed(taken.before):
            shown = self._shown.get(labels)
            if shown is None:
                continue  # it has expired meanwhile
            if before is None:
                self._remove(shown)
            else:
                shown.value, shown.time_ms, shown.at, shown.exemplar, shown.fresh, shown.ended = before

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
        return shelf is not None and any(not one.ended for group in shelf.points.values() for one in group)

    def _refusal(self, sample: Sample) -> str:
        labels = sample[1]
        if is_histogram(sample[2]):
            return NATIVE
        if labels in self._shown or is_end(sample[2]):
            return ""
        assert isinstance(labels, Labels), "the text of labels is kept beside their bytes"
        name, base = _name(labels), base_name(labels.family)
        shelf = self._shelves.get(base)
        if (shelf is not None and shelf.family.type != labels.family.type) or self._names.get(name, base) != base:
            return ANOTHER_TYPE
        if not self._admission.admit([sample])[0]:
            return f"of a series beyond max_series ({self._admission.most})"
        return ""

    def _put(self, sample: Sample, now: float, taken: Taken) -> None:
        time_ms, labels, value, _, more = sample
        shown = self._shown.get(labels)
        if is_end(value):
            if shown is not None and not shown.ended and time_ms >= shown.time_ms:
                taken.before.append((shown.labels, _state(shown)))
                shown.ended = True
            return
        exemplar = max(more.exemplars, key=lambda one: one.value) if more is not None and more.exemplars else None
        if shown is None:
            assert isinstance(labels, Labels), "see _refusal"
            shown = Shown(labels, number_of(value), time_ms, now, exemplar, order=_order(labels))
            self._add(shown)
            taken.before.append((labels, None))
        elif time_ms > shown.time_ms:
            taken.before.append((shown.labels, _state(shown)))
            shown.value, shown.time_ms, shown.at = number_of(value), time_ms, now
            shown.exemplar, shown.fresh, shown.ended = exemplar or shown.exemplar, True, False
        self._admission.accepted([sample])

    def _add(self, shown: Shown) -> None:
        labels = shown.labels
        base = base_name(labels.family)
        self._names[_name(labels)] = base
        shelf = self._shelves.get(base)
        if shelf is None:
            shelf = self._shelves[base] = Shelf(labels.family)
        insort(shelf.points.setdefault(_point(labels), []), shown, key=lambda one: one.order)
        self._shown[labels] = shown

    def _remove(self, shown: Shown) -> None:
        labels = shown.labels
        del self._shown[labels]
        self._admission.forget(labels)
        base = base_name(labels.family)
        shelf = self._shelves[base]
        group = shelf.points[_point(labels)]
        group.remove(shown)
        if not group:
            del shelf.points[_point(labels)]
        if not shelf.points:
            del self._shelves[base]
            self._names = {name: of for name, of in self._names.items() if of != base}


def base_name(family: Family) -> str:
    """How OpenMetrics calls a family: without the ``_total`` of its samples."""
    return family.name.removesuffix("_total") if family.type == COUNTER else family.name


def _state(shown: Shown) -> tuple[float, int, float, Exemplar | None, bool, bool]:
    return shown.value, shown.time_ms, shown.at, shown.exemplar, shown.fresh, shown.ended


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
