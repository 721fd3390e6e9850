"""Hosts as remote write sees them: every series a real host pushes, made quickly enough for hundreds of them.

The names and labels come from the catalogue that hosts themselves ship by. Most of a host's series stand still, so their
samples are the same bytes for all hosts that push at the same moments; only counters that move are made one by one.
"""

from __future__ import annotations

import http.client
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

import cramjam

from shipper.clock import SystemClock
from shipper.events import Reporter
from shipper.measure.catalogue import EXPOSURE_EDGES, Kind
from shipper.measure.own_reading import Ending, HostFacts, read
from shipper.otlp.wire import field as message
from shipper.otlp.wire import varint

STALE = struct.pack("<Q", 0x7FF0000000000002)
SERIES_A_REQUEST = 2000
_REQUEST_EDGES = (0.05, 0.2, 0.5, 1.0, 5.0)
# what moves, and by how much with each push; all else stands still
_MOVES = {
    "shipper_acknowledged_records_total": 220.0,
    "shipper_acknowledged_bytes_total": 41_000.0,
    "process_cpu_seconds_total": 0.08,
}


@dataclass(frozen=True, slots=True)
class Template:
    """One series of every host: its name, its own labels, what it grows by with each push, or its value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    rate: float = 0.0
    value: float = 0.0


def templates(*, served: float = 150.0, failed: float = 1.0, late: float = 2.0) -> list[Template]:
    """All series of a host with one service and one destination; requests, failures and late ones with each push."""
    made: list[Template] = []
    facts = HostFacts(1, "image", "zone", "type", 1, 1)
    for own, labels in read(Reporter(SystemClock()).metrics, facts, ["primary"], Ending()):
        name = own.in_prometheus
        if own.kind is Kind.HISTOGRAM:
            made.extend(_histogram(name, labels, EXPOSURE_EDGES, [0, 60, 190, 215, 220], 220.0))
        elif own.kind is Kind.COUNTER:
            moves = 3.0 if ("outcome", "accepted") in labels else _MOVES.get(name, 0.0)
            made.append(Template(name, labels, rate=moves))
        else:
            made.append(Template(name, labels, value=1.0 if name.endswith(("_info", "_up", "_state")) else 0.0))
    made.append(Template("shipper_requests_total", (("outcome", "ok"),), rate=served - failed))
    made.append(Template("shipper_requests_total", (("outcome", "error"),), rate=failed))
    within = [0.0, served / 2, served - late, served - late / 2, served]
    made.extend(_histogram("shipper_request_duration_seconds", (), _REQUEST_EDGES, within, served))
    return made


def _histogram(
    name: str, labels: tuple[tuple[str, str], ...], edges: Iterable[float], within: Iterable[float], count: float
) -> Iterator[Template]:
    for edge, below in zip(edges, within, strict=True):
        yield Template(f"{name}_bucket", (*labels, ("le", f"{edge:.12g}")), rate=below)
    yield Template(f"{name}_bucket", (*labels, ("le", "+Inf")), rate=count)
    yield Template(f"{name}_count", labels, rate=count)
    yield Template(f"{name}_sum", labels, rate=count * 0.1)


@dataclass
class Host:
    """One life. Times in unix seconds; pushes are ``push`` seconds apart from ``born`` on; ``ends`` with a farewell."""

    instance: str
    generation: str
    release: str
    born: float
    ends: float
    push: float
    began: float
    series: list[Template]
    _labels: list[bytes] = field(default_factory=list)

    def written(self, after: float, until: float) -> Iterator[bytes]:
        """Its part of a WriteRequest: samples later than ``after``, not later than ``until``."""
        first = max(0, math.floor((after - self.born) / self.push + 1e-6) + 1)
        last = math.floor((min(until, self.ends) - self.born) / self.push + 1e-6)
        over = after < self.ends <= until
        if first > last and not over:
            return
        if not self._labels:
            self._labels = [self._label_bytes(one) for one in self.series]
        times = tuple(round((self.born + step * self.push) * 1000) for step in range(first, last + 1))
        ended = b"" if not over else _sample(STALE, round(self.ends * 1000) + 1)
        for template, labels in zip(self.series, self._labels, strict=True):
            samples = self._samples(template, times, first)
            yield message(1, labels + samples + ended)

    def _samples(self, template: Template, times: tuple[int, ...], first: int) -> bytes:
        if template.rate:
            return b"".join(
                _sample(struct.pack("<d", template.rate * (first + index)), at) for index, at in enumerate(times)
            )
        return _still(self._value(template), times)

    def _value(self, template: Template) -> float:
        if template.name == "shipper_generation_started_timestamp_seconds":
            return self.began
        if template.name.endswith("_timestamp_seconds"):
            return self.born
        return template.value

    def _label_bytes(self, template: Template) -> bytes:
        names = {
            "__name__": template.name,
            "env": "prod",
            "service": "shop",
            "generation": self.generation,
            "release": self.release,
            "instance": self.instance,
            **dict(template.labels),
        }
        return b"".join(
            message(1, message(1, name.encode()) + message(2, value.encode())) for name, value in sorted(names.items())
        )


def _sample(value: bytes, at_ms: int) -> bytes:
    return message(2, b"\x09" + value + b"\x10" + varint(at_ms))


@lru_cache(maxsize=20_000)
def _still(value: float, times: tuple[int, ...]) -> bytes:
    packed = struct.pack("<d", value)
    return b"".join(_sample(packed, at) for at in times)


class Writer:
    """Remote-writes to one address over one connection."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(self._url.hostname), self._url.port, timeout=60)

    def write(self, hosts: Iterable[Host], after: float, until: float) -> None:
        """Everything these hosts pushed in that time. Raises RuntimeError with the server's words where it is refused."""
        waiting: list[bytes] = []
        for host in hosts:
            waiting.extend(host.written(after, until))
            if len(waiting) >= SERIES_A_REQUEST:
                self._send(waiting)
                waiting = []
        if waiting:
            self._send(waiting)

    def _send(self, series: list[bytes]) -> None:
        body = bytes(cramjam.snappy.compress_raw(b"".join(series)))
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        self._connection.request("POST", self._url.path, body, headers)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{answer.status} {said[:500]!r}")


def fleet(
    hosts: int, deploys: float, begin: float, end: float, *, push: float, day: float, roll: float, first: float
) -> list[Host]:
    """The lives of a fleet of ``hosts`` between two times: a deploy each ``day / deploys``, host by host in ``roll`` seconds.

    ``first``: when a deploy began; the others follow from it, before and after.
    """
    every = day / deploys
    made: list[Host] = []
    start = first - math.ceil((first - begin) / every + 1) * every
    number = 0
    while start < end:
        number += 1
        series = templates(failed=1.0 + number % 3)
        for index in range(hosts):
            born = start + roll * index / hosts + push * (index % 15) / 15
            ends = born + every + push / 2
            if ends > begin and born < end:
                name = f"{int(start)}"
                made.append(Host(f"{name}-{index}", name, f"r{number}", born, ends, push, start, series))
        start += every
    return made
