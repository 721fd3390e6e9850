"""All processes that hand over: their streams are announced and ended here, and the dead are seen to."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from shipper.clock import Clock
from shipper.contracts import Hub, Signal
from shipper.errors import StateError
from shipper.events import Problem, Reporter, Said
from shipper.ledger import LedgerThread
from shipper.sources.books import Books
from shipper.sources.services.consumer import Consumer
from shipper.sources.services.losses import GAP, OLDEST, Losses
from shipper.sources.services.memory import Memory, remember, restore
from shipper.sources.services.merging import Merging
from shipper.sources.services.place import Place, Strange
from shipper.sources.services.process import Process
from shipper.sources.services.releases import Releases
from shipper.sources.services.remains import is_foreign, set_aside
from shipper.sources.services.sampling import Sampling
from shipper.sources.services.series import Series
from shipper.sources.services.settings import ServiceSettings
from shipper.sources.services.stream import ServiceStream
from shipper.sources.services.unfinished import write_open_spans


class Follower:
    """The processes and their streams. Everything is called on the event loop."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        hub: Hub,
        books: Books[ServiceStream],
        ledger: LedgerThread,
        life: str,
        boot: str,
        merging: Merging,
        clock: Clock,
        report: Reporter,
        consumer: Consumer | None,
        sample: Callable[[str, bytes], None] | None,
    ) -> None:
        self.memory = Memory({}, frozenset(), {})
        self.losses = Losses(report)
        self._settings = settings
        self._hub = hub
        self._books = books
        self._ledger = ledger
        self._life = life
        self._boot = boot
        self._merging = merging
        self._clock = clock
        self._report = report
        self._consumer = consumer
        self._sample = sample
        self._sampling = Sampling(settings.keep, round(settings.slow * 1e9))
        self._processes: dict[str, Process] = {}
        self._streams: dict[str, ServiceStream] = {}
        self.releases = Releases(
            self._processes, self._streams, books, host_max=settings.host_max, clock=clock, report=report
        )
        self._announced: set[str] | None = set()  # until `ghosts`

    # What there is -----------------------------------------------------------------------------------------------------

    def processes(self) -> list[Process]:
        """All that are followed."""
        return list(self._processes.values())

    def names(self) -> set[str]:
        """The names of their directories."""
        return set(self._processes)

    def per_user(self) -> dict[int, int]:
        """How many there are, by user."""
        counts: dict[int, int] = {}
        for process in self._processes.values():
            counts[process.place.uid] = counts.get(process.place.uid, 0) + 1
        return counts

    def streams(self) -> list[ServiceStream]:
        """All that were announced and are not over."""
        return list(self._streams.values())

    def silent(self, since: float) -> bool:
        """Whether every process is gone or has handed nothing over since then (monotonic seconds)."""
        return all(not process.alive or process.grown_at() <= since for process in self._processes.values())

    def alive(self) -> bool:
        """Whether any process lives, as of the last look."""
        return any(process.alive for process in self._processes.values())

    def status(self) -> list[dict[str, Any]]:
        """One entry for each process."""
        return [self._status(process) for process in self._processes.values()]

    def _status(self, process: Process) -> dict[str, Any]:
        hello = process.hello
        streams = [stream for series in process.series.values() if (stream := self._stream_of(process, series))]
        return {
            "service": hello.service if hello else "",
            "pid": process.pid,
            "owner": process.owner,
            "alive": process.alive,
            "directory": process.name,
            "records": {series.signal.value: series.records for series in process.series.values()},
            "dropped": {
                f"{series.signal}.{cause}": n
                for series in process.series.values()
                for cause, n in series.dropped.items()
            },
            "lost": sum(series.told.get(GAP, 0) for series in process.series.values()),
            "backlog_bytes": sum(max(0, stream.frontier() - stream.released_to) for stream in streams),
            "disk_bytes": process.size,
            "notes": [note for series in process.series.values() for note in series.notes],
        }

    def remember(self, memory: Memory) -> None:
        """Take up what earlier runs of this life left."""
        self.memory = memory
        self.losses.refused = dict(memory.refused)

    # Following ---------------------------------------------------------------------------------------------------------

    def join(self, place: Place) -> None:
        """Follow the process of a directory; it is looked at in `look`."""
        rows = (self.memory.rows.get(f"{place.name}.{signal}") for signal in Signal)
        owner = next((str(row.meta["owner"]) for row in rows if row and "owner" in row.meta), "") or _user(place.uid)
        self._processes[place.name] = Process(place, owner, self._merging, self._sayer(place), self._added)

    def _sayer(self, place: Place) -> Callable[[str, str], None]:
        return lambda kind, message: self._report(Problem(kind, f"{place.path}: {message}", place.name))

    def _added(self, process: Process, series: Series) -> None:
        row = self.memory.rows.get(f"{process.name}.{series.signal}")
        if row is not None:
            restore(series, row)

    def touched(self, name: str, file: str) -> None:
        """Something happened to one file of a process; an empty name: look at all of it."""
        process = self._processes.get(name)
        if process is not None:
            self.look(process, file)

    def look(self, process: Process, only: str = "", most: int = 0) -> bool:
        """Look at a process, or at one file of it, and pass on what was found.

        ``most``: about so many bytes of each series; True when more is left to look at, and nothing was passed on yet.
        """
        try:
            died = process.check() if not only else False
            grown = process.look(self._clock.monotonic(), only, most)
            if died and is_foreign(process, self._boot):
                self._set_aside(process)
                return False
        except FileNotFoundError:
            self._vanished(process)
            return False
        except (OSError, Strange) as problem:
            self._report(Problem("services-directory", f"{process.place.path} is not read: {problem}", process.name))
            return False
        if process.behind:
            return True
        self._pass_on(process, grown)
        if not process.alive:
            self._see_to(process)
        return False

    def _pass_on(self, process: Process, grown: list[Series]) -> None:
        for series in process.series.values():
            if (range_ := series.never_seen()) is not None:
                self._never_seen(series, *range_)
            stream = self._stream_of(process, series)
            if stream is None:
                if series.frontier():
                    self._announce(process, series)
            elif series in grown:
                self._books.grew(stream)
                if self._consumer is not None and stream.measured_to is not None:
                    self._consumer.ready(stream)
            if series.dropped != series.told and self.losses.look(process, series) and stream is not None:
                self._books.moved(stream)

    def _never_seen(self, series: Series, start: int, end: int) -> None:
        """The process dropped what it wrote before anybody looked: as many records as it said, else as numbers are missing."""
        first = series.segments[0].hello
        missing = series.excuse(first.seq) if first is not None else 0
        said = series.dropped.get(OLDEST, 0) - sum(records for _, records in series.holes.values())
        series.hole(start, end, said if 0 < said <= missing else missing)

    def _stream_of(self, process: Process, series: Series) -> ServiceStream | None:
        return self._streams.get(f"{process.name}.{series.signal}")

    def _announce(self, process: Process, series: Series) -> ServiceStream:
        service = process.hello.service if process.hello is not None else ""
        sample = partial(self._sample, service) if self._sample and series.signal is Signal.LOGS else None
        stream = self._make(f"{process.name}.{series.signal}", f"{process.label} {series.signal}", series, sample)
        self._books.join(stream)
        if self._consumer is not None and stream.signal is Signal.TRACES:
            stream.measured_to = 0
            self._consumer.add(stream)
        return stream

    def _make(
        self, id_: str, name: str, series: Series, sample: Callable[[bytes], None] | None = None
    ) -> ServiceStream:
        stream = ServiceStream(
            id_, name, series, life=self._life, sampling=self._sampling, moved=self.releases.moved, sample=sample
        )
        self._streams[id_] = stream
        if self._announced is not None:
            self._announced.add(id_)
        return stream

    def ghosts(self) -> None:
        """Streams of earlier runs whose directory is gone: what was not shipped of them is given up, then they end."""
        unseen, self._announced = self.memory.open - (self._announced or set()), None
        for id_ in sorted(unseen):
            row = self.memory.rows[id_]
            name, _, _ = id_.rpartition(".")
            place = Place(self._settings.root, name, -1, (0, 0))
            process = Process(place, str(row.meta.get("owner", "")), self._merging, self._sayer(place), self._added)
            series = process.add(row.signal)
            series.hole(series.begins, row.size, 0)
            stream = self._make(id_, row.name, series)
            self._books.join(stream)
            self._finish(stream)

    # Endings -----------------------------------------------------------------------------------------------------------

    def _see_to(self, process: Process) -> None:
        """A process is dead and all it wrote was seen: end what it had open, and its series."""
        if not process.reported:
            try:
                count = write_open_spans(process, self._clock.wall_ns())
                process.look(self._clock.monotonic())
            except (OSError, Strange) as problem:
                message = f"{process.place.path}: spans it had open are not reported yet: {problem}"
                self._report(Problem("services-unfinished", message, process.name))
                return
            process.reported = True
            if count:
                self._report(Said(f"{process.label} died with {count} spans open; they are shipped as unfinished"))
        fresh = [series for series in process.series.values() if not series.ended]
        process.end()
        self._pass_on(process, list(process.series.values()))
        for series in fresh:
            self.losses.end(process, series)
            stream = self._stream_of(process, series)
            if stream is not None:
                self._finish(stream)
        self.releases.wake()

    def _finish(self, stream: ServiceStream) -> None:
        if stream.final:
            return
        stream.final = True
        self._books.moved(stream)
        self._books.end(stream)
        self.releases.moved(stream)
        if self._consumer is not None and stream.measured_to is not None:
            self._consumer.finished(stream)

    def _vanished(self, process: Process) -> None:
        """Somebody removed the directory; what was not shipped of it is given up."""
        self._processes.pop(process.name, None)
        for series in process.series.values():
            end = series.frontier()
            series.hole(series.begins, end, sum(segment.records for segment in series.segments))
            series.ended = True
            stream = self._stream_of(process, series)
            if stream is not None:
                self._finish(stream)

    def _set_aside(self, process: Process) -> None:
        del self._processes[process.name]
        try:
            where = set_aside(process, self._settings.aside)
        except OSError as problem:
            where = f"where it is ({problem.strerror})"
        self._report(
            Problem(
                "services-foreign", f"{process.place.path} is of another boot of this host; it lies in {where}", "boot"
            )
        )

    async def write_down(self) -> None:
        """Keep what was lost. Raises `StateError`."""
        if self.losses.changed:
            self.losses.changed = False
            try:
                await self._ledger.call(remember, dict(self.losses.refused))
            except StateError:
                self.losses.changed = True
                raise


@lru_cache(1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
