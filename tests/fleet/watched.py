"""What tests of the watcher share: a writer that keeps what was written, and a Prometheus that says what it is told to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from shipper.contracts import Signal
from shipper.errors import ShipperError
from shipper.fleet.gauges import Encoded
from shipper.fleet.questions import NoAnswer
from shipper.fleet.verdict.client import Client, Found
from shipper.fleet.verdict.model import Judgement, Kind, Measure, Verdict
from shipper.otlp import decode, messages


class Kept:
    """Keeps what was written: per request the series and their values; None for a series that ended."""

    def __init__(self) -> None:
        self.requests: list[dict[str, float | None]] = []
        self.at: list[int] = []
        self.refuses = ""
        self.closed = False

    async def write(self, series: Encoded, time_ns: int) -> None:
        if self.refuses:
            raise ShipperError(self.refuses)
        self.at.append(time_ns)
        self.requests.append(found := {})
        for about, _, units in messages.envelopes(Signal.METRICS, messages.parse(Signal.METRICS, series.payload)):
            labels = decode.attributes_of(about.attributes)
            for metric in units:
                for point in metric.gauge.data_points:
                    assert point.time_unix_nano == time_ns
                    every = {**labels, **decode.attributes_of(point.attributes)}
                    found[metric.name + json.dumps(every, sort_keys=True)] = _value(point)
        assert series.points == len(found)

    def close(self) -> None:
        self.closed = True

    def last(self, name: str = "shipper.verdict", **labels: str) -> list[float | None]:
        """The values in the last request of the series with these labels."""
        return [
            value
            for key, value in self.requests[-1].items()
            if key.startswith(f"{name}{{") and labels.items() <= json.loads(key[key.index("{") :]).items()
        ]


def _value(point: Any) -> float | None:
    return None if point.flags & 1 else float(getattr(point, point.WhichOneof("value")))


class Told(Client):
    """A Prometheus that knows these newest generations, by (service, env), or does not answer."""

    def __init__(self, newest: dict[tuple[str, str], str], at: float) -> None:
        super().__init__("http://127.0.0.1:1")
        self.newest = newest
        self.at = at
        self.problem = ""
        self.asked = 0
        self.serving = 1

    def instant(self, query: str) -> list[Found]:
        self.asked += 1
        if self.problem:
            raise NoAnswer(self.problem)
        return [
            Found({"service": service, "env": env, "generation": generation}, ((self.at, float(self.serving)),))
            for (service, env), generation in self.newest.items()
        ]


def judgement(
    kind: Kind = Kind.WORSE, baseline: str = "1", *, latency: Kind | None = None, reasons: Sequence[str] = ()
) -> Judgement:
    """A verdict with all of its numbers; on latency, too, if given one."""

    def verdict(measure: Measure, kind: Kind) -> Verdict:
        if kind is Kind.CANNOT_TELL:
            return Verdict(kind, measure, "2", reasons=tuple(reasons))
        return Verdict(
            kind, measure, "2", baseline, "same minutes", 6510, 262, 9600, 48, 8.05, (5.9, 11.0), 1.6, None, 12
        )

    return Judgement(verdict(Measure.ERRORS, kind), None if latency is None else verdict(Measure.LATENCY, latency))
