"""``python -m bench fleet-series``: a fleet's series in a real Prometheus with our rules, held against ``shipper cost``.

Two parts. The first has two hours of the raw series of all hosts and the history that rules look back on, goes on pushing, and
measures how long each rule group takes. The second lets a whole day of deploys pass in minutes, by the configuration's
``compression``, with few hosts (recorded series do not depend on how many there are), and counts what was recorded.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.fleet_archive import archived_bytes
from bench.fleet_hosts import Host, Writer, fleet
from shipper.cli.cost import host_series
from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.cost import DAY, RAW_SECONDS, FleetSize, bill, recorded_series
from shipper.dashboards.rulefiles import rule_files
from shipper.dashboards.rules import recording_groups
from shipper.testing.prometheus import Prometheus

SLICE = 600.0  # of the past that is written at once; Prometheus takes what is at most an hour behind
ROLL = 600.0


@dataclass(frozen=True)
class Figure:
    part: str
    what: str
    measured: float
    computed: float | None = None


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench fleet-series", description=__doc__)
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--deploys", type=float, default=20.0, help="a day")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long rules are watched (default 3)")
    parser.add_argument("--compression", type=float, default=150.0, help="of the day; 0: leave it out (default 150)")
    parser.add_argument("--day-hosts", type=int, default=4, help="hosts in the compressed day (default 4)")
    chosen = parser.parse_args(arguments)
    print("| part | figure | measured | as `shipper cost` has it |\n|---|---|---|---|", flush=True)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="shipper-fleet-") as directory:
        for figure in _figures(chosen, Path(directory)):
            print(_row(figure), flush=True)
            wrong += (
                figure.computed is not None and figure.what.startswith("series") and figure.measured != figure.computed
            )
    return int(wrong > 0)


def _figures(chosen: argparse.Namespace, directory: Path) -> Iterator[Figure]:
    yield from two_hours(directory / "raw", chosen.hosts, chosen.deploys, chosen.minutes)
    if chosen.compression:
        yield from whole_day(directory / "day", chosen.day_hosts, chosen.deploys, chosen.compression)
    yield Figure("archive", "bytes a sample, gzipped, with range lists", archived_bytes(chosen.hosts))


def two_hours(directory: Path, hosts: int, deploys: float, minutes: float) -> Iterator[Figure]:
    """Raw series of two hours, samples on disk, and the time that rules take on them."""
    config = BoardConfig()
    now = time.time()
    begin = now - RAW_SECONDS
    lives = fleet(
        hosts, deploys, begin, now + 60 * minutes + 120, push=config.intervals.push, day=DAY, roll=ROLL, first=now - 300
    )
    directory.mkdir()
    _history(directory, config, begin - 600, deploys)
    with Prometheus(directory, flags=("--web.enable-admin-api",)) as prometheus:
        writer = Writer(prometheus.write_url)
        at = begin
        while at < now:
            writer.write(lives, at, min(at + SLICE, now))
            at = min(at + SLICE, now)
        counted = prometheus.value('count(last_over_time({instance!=""}[2h]))', now)
        samples = sum(value for _, value in _exposed(prometheus, "prometheus_tsdb_head_samples_appended_total"))
        made = sum(life.born <= now for life in lives) * host_series().total(1, 1)
        yield Figure("raw", "series in these 2 hours", counted, made)
        lines = {(line.part, line.what): line.value for line in bill(config, FleetSize(hosts, deploys), host_series())}
        yield Figure("raw", "births make, on average, in 2 hours", counted, lines["raw", "series in 2 hours"])
        yield Figure("raw", "samples in 2 hours", samples)
        yield Figure("raw", "samples 1/s", samples / RAW_SECONDS, lines["raw", "samples"])
        yield Figure("raw", "bytes a sample on disk", _stored(prometheus, directory) / samples)
        prometheus.reload(list(rule_files(config).values()))
        yield from _watched(prometheus, writer, lives, now, minutes)


def _watched(
    prometheus: Prometheus, writer: Writer, lives: list[Host], since: float, minutes: float
) -> Iterator[Figure]:
    """Push on in real time, and look at how long each evaluation of each group took."""
    took: dict[str, list[float]] = defaultdict(list)
    until = time.time() + 60 * minutes
    written, begun, cpu = since, time.time(), _cpu(prometheus)
    while (now := time.time()) < until:
        writer.write(lives, written, now)
        written = now
        for group, seconds in _durations(prometheus):
            if seconds > 0 and (not took[group] or took[group][-1] != seconds):
                took[group].append(seconds)
        time.sleep(max(0.0, 1.0 - (time.time() - now)))
    yield Figure(
        "rules", "Prometheus: cores, for rules and writes together", (_cpu(prometheus) - cpu) / (time.time() - begun)
    )
    for group, values in took.items():
        yield Figure("rules", f"{group}: seconds, median of {len(values)}", statistics.median(values))
        yield Figure("rules", f"{group}: seconds, longest", max(values))


def _cpu(prometheus: Prometheus) -> float:
    return sum(value for _, value in _exposed(prometheus, "process_cpu_seconds_total"))


def _durations(prometheus: Prometheus) -> Iterator[tuple[str, float]]:
    for labels, value in _exposed(prometheus, "prometheus_rule_group_last_duration_seconds"):
        yield labels.partition(";")[2].partition('"')[0], value


def _exposed(prometheus: Prometheus, name: str) -> Iterator[tuple[str, float]]:
    """What the server says of itself: labels as text, and value."""
    with urllib.request.urlopen(f"{prometheus.url}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith((f"{name} ", f"{name}{{")):
                labels, value = line.removeprefix(name).rsplit(" ", 1)
                yield labels, float(value)


def _stored(prometheus: Prometheus, directory: Path) -> float:
    """Bytes of what is in memory, as the block that Prometheus would write of it."""
    before = {path.name for path in (directory / "data").iterdir()}
    request = urllib.request.Request(f"{prometheus.url}/api/v1/admin/tsdb/snapshot", method="POST")
    with urllib.request.urlopen(request, timeout=300) as answer:
        answer.read()
    snapshot = directory / "data" / "snapshots"
    blocks = [block for one in snapshot.iterdir() for block in one.iterdir() if block.name not in before]
    return float(sum(file.stat().st_size for block in blocks for file in block.rglob("*") if file.is_file()))


def _history(directory: Path, config: BoardConfig, end: float, deploys: float) -> None:
    """What rules look back on and two hours do not give: first minutes of 14 days, rates of 3 days."""
    text = directory / "history.om"
    identity = 'env="prod",service="shop"'
    step = config.intervals.evaluate
    with text.open("w") as out:
        for name, value in (
            (names.SERVICE_REQUESTS_RATE, 5000.0),
            (names.SERVICE_ERRORS_RATE, 25.0),
            (names.SERVICE_SLOW_RATE, 50.0),
        ):
            out.write(f"# TYPE {name} gauge\n")
            for index in range(int(max(window.long for window in config.burn) / step)):
                out.write(f"{name}{{{identity}}} {value} {end - (index + 1) * step:.3f}\n")
        for name, value in ((names.REQUESTS_FIRST, 100_000.0), (names.ERRORS_FIRST, 500.0)):
            out.write(f"# TYPE {name} gauge\n")
            for generation in range(int(deploys * config.windows.history / DAY) - 2):
                born = end - (generation + 1) * DAY / deploys
                for index in range(int(config.windows.first_long / step)):
                    labels = f'{identity},generation="h{generation}",age="{config.windows.ages[1]}"'
                    out.write(f"{name}{{{labels}}} {value * index / 120:.1f} {born + index * step:.3f}\n")
        out.write("# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(directory / "data")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def whole_day(directory: Path, hosts: int, deploys: float, compression: float) -> Iterator[Figure]:
    """Recorded series after a day of deploys, compressed."""
    config = BoardConfig().scaled(compression)
    day = DAY / compression
    begin = time.time()
    every = day / deploys
    lives = fleet(
        hosts,
        deploys,
        begin,
        begin + day,
        push=config.intervals.push,
        day=day,
        roll=ROLL / compression,
        first=begin + every,
    )
    lives = [life for life in lives if life.began >= begin - every / 2]
    rules = list(rule_files(config).values())
    with Prometheus(directory, rules=rules) as prometheus:
        writer = Writer(prometheus.write_url)
        written = begin
        while (now := time.time()) < begin + day:
            writer.write(lives, written, now)
            written = now
            time.sleep(max(0.0, config.intervals.push - (time.time() - now)))
        found = prometheus.series('{__name__=~".+:.+"}')
    expected = recorded_series(config)
    generations = len({life.generation for life in lives if life.born < begin + day - config.windows.rate})
    seen = defaultdict(int)
    for series in found:
        level = "generation" if series["__name__"] in names.GENERATION_RECORDED else "service"
        seen["fleet" if series["__name__"] == names.FLEET_SILENT else level] += 1
    yield Figure("recorded", "generations in the day", generations)
    for name in sorted(names.GENERATION_RECORDED):
        count = sum(series["__name__"] == name for series in found)
        rules = sum(rule.record == name for group in recording_groups(config) for rule in group.rules)
        if count != rules * generations - (name == names.PREV_INFO):
            yield Figure("recorded", f"series of {name}", count, rules * generations - (name == names.PREV_INFO))
    first = 1  # the first has no generation before it
    yield Figure("recorded", "series of generations", seen["generation"], expected.generation * generations - first)
    yield Figure("recorded", "series of the service", seen["service"], expected.service)
    yield Figure("recorded", "series of the fleet", seen["fleet"], expected.fleet)
    days = 90 * deploys + 1
    per_generation = (seen["generation"] + first) / generations
    extrapolated = per_generation * days + seen["service"] + seen["fleet"]
    computed = expected.total(days, 1)
    yield Figure("recorded", "series after 90 days, extrapolated from this day", extrapolated, computed)


def _row(figure: Figure) -> str:
    def text(value: float) -> str:
        return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"

    return f"| {figure.part} | {figure.what} | {text(figure.measured)} | {'' if figure.computed is None else text(figure.computed)} |"
