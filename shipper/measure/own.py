"""A host's metrics of itself: what Shipper's registry says, added up over all runs of the life, as OTLP samples.

A run counts from zero. Added to what the runs before had shipped, a counter never falls while a life lasts, so `increase` over
a restart of the sidecar is right also where nobody looks at start times (Prometheus does not). What was shipped is kept in
the ledger, and written there before it is shipped: after a kill in between the next run goes on higher, never lower.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from shipper.errors import ShipperError
from shipper.events import Problem, Reporter
from shipper.ledger import Ledger, LedgerThread
from shipper.measure.catalogue import CATALOGUE, EXPOSURE_EDGES, FAREWELL, Kind, Own
from shipper.measure.own_reading import Ending, HostFacts, Labels, Series, Values, read
from shipper.measure.samples import SCOPE, Samples
from shipper.otlp import metrics
from shipper.otlp.encode import AttributeValue, resource

KEPT = "measure.own"
_BY_NAME = {own.name: own for own in CATALOGUE}


@dataclass(slots=True)
class _Shipped:
    """What was shipped last: when, and of each counting series since when it counts and its value."""

    at_ns: int = 0  # 0: nothing yet in this life
    starts: dict[Series, int] = field(default_factory=dict)
    values: dict[Series, Values] = field(default_factory=dict)

    def encode(self) -> str:
        rows = [[own.name, labels, self.starts[own, labels], values] for (own, labels), values in self.values.items()]
        return json.dumps({"at": self.at_ns, "series": rows}, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> _Shipped:
        """What `encode` gave. Raises ValueError for anything else; a series that does not exist any more is left out."""
        try:
            whole: dict[str, Any] = json.loads(text)
            shipped = cls(int(whole["at"]))
            for name, labels, start, values in whole["series"]:
                own = _BY_NAME.get(name)
                if own is not None and len(values) == _width(own):
                    series = own, tuple((str(key), str(value)) for key, value in labels)
                    shipped.starts[series] = int(start)
                    shipped.values[series] = tuple(float(value) for value in values)
            return shipped
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not what was shipped: {error!r}") from error


class OwnMetrics:
    """The metrics of one host, in one run. All calls are made on the event loop."""

    def __init__(
        self,
        facts: HostFacts,
        attributes: Mapping[str, AttributeValue],
        destinations: Sequence[str],
        *,
        ledger: LedgerThread,
        report: Reporter,
    ) -> None:
        """``attributes``: the resource of the host; its ``service.instance.id`` is the host's id."""
        self._facts = facts
        self._resource = resource(attributes)
        self._destinations = tuple(destinations)
        self._ledger = ledger
        self._report = report
        self._before = _Shipped()  # by the runs before
        self._last = _Shipped()
        self._ending = Ending()
        self._lived_on_ns = 0

    async def open(self) -> None:
        """Take up what the runs before shipped. Raises `StateError`."""
        kept = await self._ledger.call(Ledger.get, KEPT)
        if kept is None:
            return
        try:
            self._before = _Shipped.decode(kept)
        except ValueError as damage:
            self._report(Problem("measure", f"the counts of the runs before cannot be added to: {damage}", "own"))
        self._last = self._before

    @property
    def born(self) -> bool:
        """True once the birth of this life's series was written down."""
        return self._last.at_ns > 0

    async def birth(self) -> Samples:
        """Every series of the host at the beginning of its life: counters at zero, stamped then."""
        now = self._read()
        born_ns = self._facts.born_ns
        zeros = {series: _zero(series[0]) if _counts(series[0]) else values for series, values in now.items()}
        counting = [series for series in now if _counts(series[0])]
        starts = dict.fromkeys(counting, born_ns)
        await self._keep(_Shipped(born_ns, starts, {series: zeros[series] for series in counting}))
        return self._encode(zeros, born_ns, starts, {})

    async def sample(self, time_ns: int) -> Samples:
        """Every series as it is now, those that are new in this life preceded by a zero at the time of the last sample."""
        now = self._read()
        found = {series: self._whole(series, values) for series, values in now.items()}
        starts = {series: self._start(series) for series in found if _counts(series[0])}
        new = {series: self._last.at_ns for series in starts if self.born and series not in self._last.values}
        starts.update(new)
        await self._keep(_Shipped(time_ns, starts, {series: found[series] for series in starts}))
        return self._encode(found, time_ns, starts, new)

    def ended(self, outcome: str, left_bytes: int) -> None:
        """The farewell is said; ``outcome`` and what was left are in every sample from now on."""
        self._ending = Ending(outcome, left_bytes)

    def lives_on(self, now_ns: int) -> None:
        """The host outlived its farewell: that counts no more, until it says another one."""
        if self._ending.outcome:
            self._ending = Ending()
            self._lived_on_ns = now_ns

    def _read(self) -> dict[Series, Values]:
        return read(self._report.metrics, self._facts, self._destinations, self._ending)

    def _whole(self, series: Series, values: Values) -> Values:
        """The value of the life out of that of this run. What an earlier run said of an end that was none is not added."""
        before = self._before.values.get(series)
        if before is None or series[0] is FAREWELL or not _counts(series[0]):
            return values
        return tuple(a + b for a, b in zip(values, before, strict=True))

    def _start(self, series: Series) -> int:
        if series[0] is FAREWELL:
            return max(self._facts.born_ns, self._lived_on_ns)
        return self._last.starts.get(series, self._facts.born_ns)

    async def _keep(self, shipped: _Shipped) -> None:
        self._last = shipped
        try:
            await self._ledger.call(Ledger.put, KEPT, shipped.encode())
        except ShipperError as problem:  # the sample is worth more: only a kill before the next one could be seen in it
            self._report(Problem("measure", f"what was counted cannot be written down now: {problem}", "own"))

    def _encode(
        self, found: Mapping[Series, Values], time_ns: int, starts: Mapping[Series, int], new: Mapping[Series, int]
    ) -> Samples:
        """``new``: series that are preceded by a zero, at which time."""
        messages: list[bytes] = []
        count = 0
        order = {own.name: index for index, own in enumerate(CATALOGUE)}
        ordered = sorted(found.items(), key=lambda item: order[item[0][0].name])
        for own, group in groupby(ordered, key=lambda item: item[0][0]):
            points: list[bytes] = []
            for series, values in group:
                if series in new:
                    points.append(_point(own, series[1], _zero(own), new[series], new[series]))
                start = starts[series] if _counts(own) else 0
                points.append(_point(own, series[1], values, time_ns, start))
            messages.append(_metric(own, points))
            count += len(points)
        return Samples(metrics.export_metrics(self._resource, SCOPE, messages), count, len(messages))


def _counts(own: Own) -> bool:
    return own.kind is not Kind.GAUGE


def _width(own: Own) -> int:
    return len(EXPOSURE_EDGES) + 2 if own.kind is Kind.HISTOGRAM else 1


def _zero(own: Own) -> Values:
    return (0.0,) * _width(own)


def _point(own: Own, labels: Labels, values: Values, time_ns: int, start_ns: int) -> bytes:
    attributes = dict(labels)
    if own.kind is Kind.HISTOGRAM:
        counts = [round(count) for count in values[:-1]]
        return metrics.distribution(counts, EXPOSURE_EDGES, values[-1], time_ns, start_ns, attributes)
    value = float(values[0]) if own.unit == "s" else round(values[0])
    return metrics.number(value, time_ns, start_ns, attributes)


def _metric(own: Own, points: Iterable[bytes]) -> bytes:
    make = {Kind.GAUGE: metrics.gauge, Kind.COUNTER: metrics.counter, Kind.HISTOGRAM: metrics.histogram}[own.kind]
    return make(own.name, list(points), unit=own.unit, description=own.meaning)
