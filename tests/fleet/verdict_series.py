"""A fleet's counters as Prometheus gets them, for tests of the verdict, with the past that rules would have recorded."""

from __future__ import annotations

import http.client
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import cramjam

from shipper.dashboards import names
from shipper.otlp.wire import field as message
from shipper.otlp.wire import varint

PUSH = 15


@dataclass
class Life:
    """One host: ``rate`` requests a push, of which every ``fails``-th fails and every ``slows``-th is slow (0: none).

    ``resets``: pushes at which its counters began anew; ``silent``: pushes nobody got; ``ahead``: seconds its clock is fast.
    """

    name: str
    generation: str
    born: int
    ends: int
    rate: int = 100
    fails: int = 0
    slows: int = 0
    edge: str = "0.5"
    resets: frozenset[int] = frozenset()
    silent: frozenset[int] = frozenset()
    ahead: int = 0
    env: str = "prod"
    service: str = "shop"
    turns_bad: int = 10**11
    after: int = 0
    samples: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = field(default_factory=dict)

    def written(self) -> Mapping[tuple[tuple[str, str], ...], list[tuple[int, float]]]:
        """Its series, with their samples."""
        ok = error = slow = 0
        self._add(names.HOST_INFO, {}, self.born, 1)
        for push, at in enumerate(range(self.born, self.ends + 1, PUSH)):
            if push in self.resets:
                ok = error = slow = 0
            if push:
                fails = self.after if at >= self.turns_bad else self.fails
                bad = sum(fails > 0 and (push * self.rate + one) % fails == 0 for one in range(self.rate))
                ok, error = ok + self.rate - bad, error + bad
                slow += sum(self.slows > 0 and (push * self.rate + one) % self.slows == 0 for one in range(self.rate))
            if push in self.silent:
                continue
            self._add(names.REQUESTS, {"outcome": "ok"}, at, ok)
            self._add(names.REQUESTS, {"outcome": "error"}, at, error)
            bucket = names.REQUEST_DURATION + "_bucket"
            self._add(bucket, {"le": self.edge}, at, ok + error - slow)
            self._add(bucket, {"le": "+Inf"}, at, ok + error)
            self._add(names.GENERATION_STARTED, {}, at, self.born)
        return self.samples

    def _add(self, name: str, labels: Mapping[str, str], at: int, value: float) -> None:
        whole = {"__name__": name, "service": self.service, "env": self.env, "generation": self.generation}
        key = tuple(sorted({**whole, "instance": self.name, **labels}.items()))
        self.samples.setdefault(key, []).append((at + self.ahead, value))


def recorded(
    generation: str, started: int, end: int, requests: int, errors: int, slow: int = 0, hosts: int = 0
) -> dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]:
    """What the rules would have recorded of a generation that served evenly: so much in its first 30 minutes."""
    made: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}

    def add(name: str, at: int, value: float, **labels: str) -> None:
        whole = {"__name__": name, "service": "shop", "env": "prod", "generation": generation, **labels}
        made.setdefault(tuple(sorted(whole.items())), []).append((at, value))

    for at in range(started + 30, end + 1, 30):
        age = at - started
        add(names.STARTED, at, started)
        add(names.AGE, at, age)
        if hosts:
            add(names.HOSTS_COUNT, at, hosts)
        if age <= 1800:
            for name, value in (
                (names.REQUESTS_FIRST, requests),
                (names.ERRORS_FIRST, errors),
                (names.SLOW_FIRST, slow),
            ):
                add(name, at, float(round(value * age / 1800)), age="30m")
    return made


def write(url: str, *several: Mapping[tuple[tuple[str, str], ...], Iterable[tuple[int, float]]]) -> None:
    """Remote-write all of it. Raises AssertionError with the server's words."""
    body = b"".join(
        message(
            1,
            b"".join(message(1, message(1, name.encode()) + message(2, value.encode())) for name, value in labels)
            + b"".join(
                message(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(at * 1000)) for at, value in samples
            ),
        )
        for series in several
        for labels, samples in series.items()
    )
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    connection.request("POST", parts.path, bytes(cramjam.snappy.compress_raw(body)), headers)
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status < 300, said
    connection.close()
