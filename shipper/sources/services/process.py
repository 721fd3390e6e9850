"""One process that hands over: its directory, whether it lives, and its series."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import islice

from shipper.contracts import Signal
from shipper.handoff.hello import Hello
from shipper.handoff.liveness import is_alive
from shipper.handoff.places import ALIVE, parse_process, parse_segment
from shipper.sources.services.declared import Declared
from shipper.sources.services.merging import Merging
from shipper.sources.services.place import Place, Strange
from shipper.sources.services.series import Series
from shipper.sources.services.settings import MAX_NAMES, MAX_POSITION, MAX_SEGMENTS


class Process:
    """A process directory. ``say`` gets (kind of problem, sentence)."""

    def __init__(
        self,
        place: Place,
        owner: str,
        merging: Merging,
        say: Callable[[str, str], None],
        added: Callable[[Process, Series], None],
    ) -> None:
        """``added`` is told of each series, before it is looked at."""
        self.place = place
        self.owner = owner
        self.pid = parse_process(place.name) or 0
        self.series: dict[Signal, Series] = {}
        self.alive = True
        self.died_ns = 0  # as well as it is known; 0 while it lives
        self.reported = False  # its open spans were written down, or there were none
        self._merging = merging
        self._say = say
        self._added = added

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.place.name

    @property
    def hello(self) -> Hello | None:
        """What it says of itself; None until something it wrote was seen."""
        for series in self.series.values():
            for segment in series.segments:
                if segment.hello is not None:
                    return segment.hello
        return None

    @property
    def label(self) -> str:
        """For people: the service and its pid, in the process's own PID namespace."""
        hello = self.hello
        return f"{(hello.service if hello else '') or 'unknown service'} pid {self.pid}"

    @property
    def size(self) -> int:
        """Bytes of all its segments."""
        return sum(segment.size for series in self.series.values() for segment in series.segments)

    def grown_at(self) -> float:
        """When something of it grew last (monotonic seconds)."""
        return max((series.grown_at for series in self.series.values()), default=float("-inf"))

    def newest_ns(self) -> int:
        """The latest time on anything it handed over."""
        return max((series.newest_ns for series in self.series.values()), default=0)

    def check(self) -> bool:
        """Look whether it lives; True when it is found dead for the first time. Raises OSError, `Strange`."""
        if not self.alive:
            return False
        with self.place.opened() as directory:
            try:
                descriptor = self.place.open_file(directory, ALIVE)
            except FileNotFoundError:  # it was dead, and all was seen to, in a run before
                self.alive, self.reported = False, True
                return True
            try:
                self.alive = is_alive(descriptor)
            finally:
                os.close(descriptor)
        return not self.alive

    @property
    def behind(self) -> bool:
        """Whether the last look did not get to the end."""
        return any(series.behind for series in self.series.values())

    def look(self, now: float, only: str = "", most: int = 0) -> list[Series]:
        """Look at its files, or at one segment of it; the series that grew. ``most``: about so many bytes of each series.

        Raises OSError and `Strange` for the directory itself; what is wrong with a file is said.
        """
        with self.place.opened() as directory:
            mine = self._series_of(only)
            if mine is None:
                self._list(directory)
            wanted = self.series.values() if mine is None else (mine,)
            return [series for series in wanted if self._look(series, directory, now, only if mine else "", most)]

    def _series_of(self, name: str) -> Series | None:
        """The series of a segment that is known by that name."""
        parsed = parse_segment(name) if name else None
        series = self.series.get(Signal(parsed[0])) if parsed else None
        if parsed is None or series is None or all(segment.base != parsed[1] for segment in series.segments):
            return None
        return series

    def _look(self, series: Series, directory: int, now: float, only: str, most: int) -> bool:
        before = series.frontier()
        try:
            series.look(directory, now, only, most)
        except FileNotFoundError:  # dropped by its process while we looked: the next listing says so
            pass
        except (OSError, Strange) as problem:
            self._say("services-segment", f"a segment of {series.signal} is not read: {problem}")
        return series.frontier() > before

    def _list(self, directory: int) -> None:
        found: dict[Signal, list[tuple[int, str]]] = {}
        for name in _names(directory):
            parsed = parse_segment(name)
            if parsed is not None and parsed[1] <= MAX_POSITION:
                found.setdefault(Signal(parsed[0]), []).append((parsed[1], name))
        for signal in found.keys() - self.series.keys():
            self.add(signal)
        for signal, series in self.series.items():
            series.listed(sorted(found.get(signal, []))[:MAX_SEGMENTS])

    def add(self, signal: Signal) -> Series:
        """A series that it did not have."""
        declared = Declared(self._merging, self.owner)
        series = self.series[signal] = Series(self.place, signal, self.owner, declared, self._say)
        self._added(self, series)
        return series

    def end(self) -> None:
        """It is dead, and was looked at since."""
        for series in self.series.values():
            series.end()

    def unlink(self, names: Iterable[str]) -> None:
        """Delete files of it. Raises OSError, `Strange`."""
        with self.place.opened() as directory:
            for name in names:
                try:
                    os.unlink(name, dir_fd=directory)
                except FileNotFoundError:
                    continue

    def remove(self) -> None:
        """Delete the directory with all files in it. Raises OSError (also for what is no file), `Strange`."""
        with self.place.opened() as directory:
            names = _names(directory)
        self.unlink(names)
        os.rmdir(self.place.path)


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in islice(entries, MAX_NAMES)]
