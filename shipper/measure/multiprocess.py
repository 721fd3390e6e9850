"""Reading the directory that prometheus_client's multiprocess mode keeps its numbers in.

Each worker has memory-mapped files there, which stay when it is killed: what it counted until then is not lost. The
library's own collector adds them up; it is only given files it can read.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping

from prometheus_client import Metric

from shipper.clock import Clock
from shipper.events import Problem, Reporter
from shipper.measure.families import convert
from shipper.measure.health import Health
from shipper.measure.samples import NOTHING, SCOPE, Samples
from shipper.measure.starts import Starts
from shipper.otlp import metrics
from shipper.otlp.encode import AttributeValue, resource


class Directory:
    """One directory, read again and again. A `shipper.measure.source.Target`."""

    def __init__(
        self,
        path: str,
        attributes: Mapping[str, AttributeValue],
        *,
        interval: float,
        max_bytes: int,
        birth_ns: int,
        clock: Clock,
        report: Reporter,
    ) -> None:
        """``max_bytes``: all files together; a directory with more is not read. The others: see `Endpoint`."""
        self.interval = interval
        self._path = path
        self._resource = resource(attributes)
        self._max_bytes = max_bytes
        self._clock = clock
        self._report = report
        self._health = Health(path, clock, report)
        self._starts = Starts(birth_ns)

    def __str__(self) -> str:
        return self._path

    async def read(self, last: bool = False) -> Samples:
        """See `Target.read`. A directory that is not there yet, or holds nothing, has no numbers."""
        try:
            families, damaged = await asyncio.to_thread(_read, self._path, self._max_bytes)
        except FileNotFoundError:  # the service has not started, or empties it while it starts
            return NOTHING
        except OSError as problem:
            self._health.down(problem.strerror or str(problem))
            families, damaged = [], {}
        else:
            self._health.up()
        for name, why in damaged.items():
            message = f"{os.path.join(self._path, name)} cannot be read and is left out: {why}"
            self._report(Problem("scrape-damaged", message, f"{self._path}/{name}"))
        now = self._clock.wall_ns()
        found = convert(families, self._starts, now)
        if found.malformed:
            self._health.malformed(found.malformed)
        found.add(self._health.sample(now), 1)
        return Samples(metrics.export_metrics(self._resource, SCOPE, found.metrics), found.points, len(found.metrics))

    async def aclose(self) -> None:
        """See `Target.aclose`: nothing is held open."""


def _read(path: str, max_bytes: int) -> tuple[list[Metric], dict[str, str]]:
    """The sum of all files, and those that had to be left out with the reason. Raises OSError for the directory itself."""
    names, damaged = _files(path, max_bytes)
    families, problem = _merged([os.path.join(path, name) for name in names])
    if not problem:
        return families, damaged
    good = []
    for name in names:  # which of them is it?
        problem = _merged([os.path.join(path, name)])[1]
        if not problem:
            good.append(os.path.join(path, name))
        elif os.path.lexists(os.path.join(path, name)):  # else a worker's, tidied away meanwhile
            damaged[name] = problem
    return _merged(good)[0], damaged


def _files(path: str, max_bytes: int) -> tuple[list[str], dict[str, str]]:
    """Names of the files to read, in order; a pipe or a link would make us wait or look elsewhere."""
    names: list[str] = []
    damaged: dict[str, str] = {}
    size = 0
    for name in sorted(os.listdir(path)):
        if not name.endswith(".db"):
            continue
        try:
            found = os.lstat(os.path.join(path, name))
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            damaged[name] = "it is no file"
        elif size + found.st_size > max_bytes:
            damaged[name] = f"all files together have more than {max_bytes} bytes"
        elif found.st_size:  # empty: its worker is about to fill it
            size += found.st_size
            names.append(name)
    return names, damaged


def _merged(files: list[str]) -> tuple[list[Metric], str]:
    """What the files hold together; or nothing, and what is wrong with one of them."""
    from prometheus_client.multiprocess import MultiProcessCollector  # imported here: only who has such a directory

    merge = MultiProcessCollector.merge
    try:
        return list(merge(files)), ""  # type: ignore[no-untyped-call]
    except (
        Exception
    ) as problem:  # a reader of others, on files of others: whatever it trips over, such a file is damaged
        return [], " ".join(str(problem).split())[:120] or type(problem).__name__
