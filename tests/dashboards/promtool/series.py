"""Hosts that are born, serve, fall ill and die, as the series they push: input for ``promtool test rules``.

Everything is counted in steps of one push (15 s), so that what a host served by any moment is a whole number that the tests
can add up by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

STEP = 15
Labels = tuple[tuple[str, str], ...]
STALE = "stale"


@dataclass(frozen=True)
class Host:
    """One life. ``born`` and ``ends`` in steps: the first and the last sample; ``ends`` None: it lives on.

    ``farewell`` is "drained", "expired", or "" for one that is simply not heard of again. What it serves in each step is
    ``serves`` requests, of which ``fails`` fail and ``late`` take too long; from step ``ill`` on (counted from birth).
    A ``plain`` one pushes only what tells of its life.
    """

    instance: str
    generation: str
    born: int = 0
    ends: int | None = None
    farewell: str = "drained"
    serves: int = 100
    fails: int = 0
    late: int = 0
    ill: int = 0
    service: str = "shop"
    env: str = "prod"
    release: str = "r1"
    image: str = "sha256:1"
    began: int | None = None
    built: int | None = None
    left: int = 0
    rises: Mapping[str, int] = field(default_factory=dict)
    destination_up: int = 1
    fallback: int | None = None
    oldest: int = 0
    late_records: int = 0
    plain: bool = False

    @property
    def identity(self) -> Labels:
        """The labels on each of its series."""
        return (
            ("env", self.env),
            ("service", self.service),
            ("generation", self.generation),
            ("release", self.release),
            ("instance", self.instance),
        )

    def counted(self, per_step: int, step: int, *, ill: bool = False) -> int:
        """What a counter that grows by ``per_step`` has reached at ``step``."""
        return per_step * max(0, step - self.born - (self.ill if ill else 0))

    def samples(self, end: int) -> Iterator[tuple[str, Labels, int, float | str]]:
        """Metric, further labels, step and value, up to step ``end``; with stale markers where it said farewell."""
        last = end if self.ends is None else min(self.ends, end)
        for step in range(self.born, last + 1):
            final = step == self.ends and bool(self.farewell)
            for metric, labels, value in self._at(step, final):
                yield metric, labels, step, value
        if self.ends is not None and self.farewell and self.ends < end:
            for metric, labels, _ in self._at(self.ends, True):
                yield metric, labels, self.ends + 1, STALE

    def _at(self, step: int, final: bool) -> Iterator[tuple[str, Labels, float]]:
        yield "shipper_host_info", (("image", self.image), ("zone", "a")), 1
        began = self.born if self.began is None else self.began
        yield "shipper_generation_started_timestamp_seconds", (), began * STEP
        if self.built is not None:
            yield "shipper_release_built_timestamp_seconds", (), self.built
        for outcome in ("drained", "expired"):
            yield "shipper_farewells_total", (("outcome", outcome),), int(final and self.farewell == outcome)
        yield "shipper_drain_left_bytes", (), self.left if final else 0
        if not self.plain:
            yield from self._requests(step)
            yield from self._shipping(step)

    def _requests(self, step: int) -> Iterator[tuple[str, Labels, float]]:
        served = self.counted(self.serves, step)
        failed = self.counted(self.fails, step, ill=True)
        late = self.counted(self.late, step, ill=True)
        yield "shipper_requests_total", (("outcome", "ok"),), served - failed
        yield "shipper_requests_total", (("outcome", "error"),), failed
        for le, count in (
            ("0.05", 0),
            ("0.2", 0),
            ("0.5", served - late),
            ("1", served),
            ("5", served),
            ("+Inf", served),
        ):
            yield "shipper_request_duration_seconds_bucket", (("le", le),), count
        yield "shipper_request_duration_seconds_count", (), served

    def _shipping(self, step: int) -> Iterator[tuple[str, Labels, float]]:
        to = (("destination", "primary"),)
        sent = self.counted(100, step)
        for le, count in (("2", sent - self.counted(self.late_records, step)), ("+Inf", sent)):
            yield "shipper_exposure_seconds_bucket", (*to, ("le", le)), count
        yield "shipper_exposure_seconds_count", to, sent
        yield "shipper_destination_up", to, self.destination_up
        if self.fallback is not None:
            yield "shipper_fallback_helping", (("destination", "archive"),), self.fallback
        yield "shipper_oldest_unacknowledged_seconds", to, self.oldest
        for metric in ("quarantined_records", "rejected_records", "dropped_records"):
            yield f"shipper_{metric}_total", to, self.counted(self.rises.get(metric, 0), step)
        for metric in ("lost_bytes", "service_lost_records"):
            yield f"shipper_{metric}_total", (), self.counted(self.rises.get(metric, 0), step)


@dataclass
class Fleet:
    """Hosts, and what the deploy keeper and the watcher of verdicts write, until step ``end``."""

    hosts: list[Host]
    end: int
    facts: list[tuple[str, Labels, range, float]] = field(default_factory=list)
    _made: dict[tuple[str, Labels], dict[int, float | str]] = field(default_factory=dict)

    def fact(
        self, metric: str, value: float, *, since: int, generation: str, until: int | None = None, **labels: str
    ) -> Fleet:
        """A series that no host writes: one value, from step ``since`` on, to ``until`` or the end; without a stale marker."""
        named = {"env": "prod", "service": "shop", "generation": generation, **labels}
        steps = range(since, (self.end if until is None else until) + 1)
        self.facts.append((metric, tuple(named.items()), steps, value))
        return self

    def series(self) -> dict[tuple[str, Labels], dict[int, float | str]]:
        """All series: metric and labels, and their values by step; made once, when the fleet is complete."""
        made = self._made
        if made:
            return made
        for host in self.hosts:
            for metric, labels, step, value in host.samples(self.end):
                made.setdefault((metric, (*host.identity, *labels)), {})[step] = value
        for metric, labels, steps, value in self.facts:
            made.setdefault((metric, labels), {}).update(dict.fromkeys(steps, value))
        return made

    def input_series(self) -> list[dict[str, str]]:
        """The same as promtool's test file has it."""
        return [
            {"series": f"{metric}{{{written(labels)}}}", "values": notation(values)}
            for (metric, labels), values in self.series().items()
        ]


def roll(old: list[Host], generation: str, *, start: int, every: int = 4, **changes: object) -> list[Host]:
    """The hosts ``old`` replaced one by one from step ``start`` on: each drains a step after its successor was born."""
    both: list[Host] = []
    for index, host in enumerate(old):
        born = start + index * every
        both.append(replace(host, ends=born + 1))
        fresh = replace(host, instance=f"{generation}-{index}", generation=generation, born=born, ends=None)
        both.append(replace(fresh, **changes))  # type: ignore[arg-type]
    return both


def hosts(generation: str, count: int, **values: object) -> list[Host]:
    """``count`` equal hosts."""
    return [Host(f"{generation}-{index}", generation, **values) for index in range(count)]  # type: ignore[arg-type]


def written(labels: Labels) -> str:
    """Labels as a selector has them."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def notation(values: Mapping[int, float | str]) -> str:
    """promtool's way of writing a series: equal values and gaps as runs."""
    words: list[str] = []
    run, length = "", 0
    for step in range(max(values) + 1):
        value = values.get(step, "_")
        word = value if isinstance(value, str) else f"{value:.12g}"
        if word == run:
            length += 1
            continue
        words.extend(_run(run, length))
        run, length = word, 1
    return " ".join([*words, *_run(run, length)])


def _run(word: str, length: int) -> list[str]:
    if word == "stale" or length < 3:
        return [word] * length
    return [f"_x{length}"] if word == "_" else [f"{word}+0x{length - 1}"]
