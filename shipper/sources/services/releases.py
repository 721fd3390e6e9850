"""Letting go of what services put aside: shipped segments, directories of the dead, and what is over the limit."""

from __future__ import annotations

import asyncio

from shipper.clock import Clock
from shipper.events import Problem, Reporter
from shipper.sources.books import RETRY, Books
from shipper.sources.services.cap import HostCap
from shipper.sources.services.place import Strange
from shipper.sources.services.process import Process
from shipper.sources.services.segment import Segment
from shipper.sources.services.stream import ServiceStream


class Releases:
    """Works on the processes and streams of a `Follower`, whose dicts it shares. Called on the event loop."""

    def __init__(
        self,
        processes: dict[str, Process],
        streams: dict[str, ServiceStream],
        books: Books[ServiceStream],
        *,
        host_max: int,
        clock: Clock,
        report: Reporter,
    ) -> None:
        self._processes = processes
        self._streams = streams
        self._books = books
        self._cap = HostCap(host_max)
        self._clock = clock
        self._report = report
        self._moved: dict[str, None] = {}
        self._wake = asyncio.Event()

    def moved(self, stream: ServiceStream) -> None:
        """Positions of a stream are not needed any more."""
        self._moved[stream.id] = None
        self._wake.set()

    def wake(self) -> None:
        """A process ended: perhaps nothing is left of it."""
        self._wake.set()

    async def run(self) -> None:
        """Delete what nobody needs any more, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self.release():
                self._wake.set()
                await self._clock.sleep(RETRY)

    async def release(self) -> bool:
        """Delete the segments that nobody needs any more: first in the books, then on disk. False: the books are full."""
        ready = {}
        for id_ in list(self._moved):
            stream = self._streams.get(id_)
            if stream is None:
                del self._moved[id_]
                continue
            free = [segment for segment in stream.series.segments if _is_free(stream, segment)]
            if free:
                stream.series.begins = max(stream.series.until(segment) for segment in free)
                if not stream.over:  # else it is retired, and nothing may be said of it any more
                    self._books.moved(stream)
            ready[id_] = (stream, free)
        if ready and not await self._books.flush():
            return False
        for id_, (stream, free) in ready.items():
            self._moved.pop(id_, None)
            self._delete(stream, free)
        self.tend()
        return True

    def _delete(self, stream: ServiceStream, free: list[Segment]) -> None:
        name, _, _ = stream.id.rpartition(".")
        process = self._processes.get(name)
        for segment in free:
            stream.series.forget(segment)
        if process is not None and free:
            self._unlink(process, [segment.name for segment in free])

    def _unlink(self, process: Process, names: list[str]) -> None:
        try:
            process.unlink(names)
        except (OSError, Strange) as problem:
            message = f"{process.place.path}: shipped segments cannot be deleted: {problem}"
            self._report(Problem("services-delete", message, process.name))

    def tend(self) -> None:
        """Remove the directories of dead processes of which nothing is left to ship, and forget what is over."""
        for process in list(self._processes.values()):
            if process.alive or not process.reported or not all(series.ended for series in process.series.values()):
                continue
            streams = [self._streams.get(f"{process.name}.{series.signal}") for series in process.series.values()]
            if all(stream is None or stream.done for stream in streams):
                self._remove(process)
        for id_, stream in list(self._streams.items()):
            if stream.done and id_.rpartition(".")[0] not in self._processes:
                del self._streams[id_]

    def _remove(self, process: Process) -> None:
        try:
            process.remove()
        except FileNotFoundError:
            pass
        except (OSError, Strange) as problem:
            self._report(Problem("services-delete", f"{process.place.path} cannot be removed: {problem}", process.name))
            return
        del self._processes[process.name]

    def cap(self) -> bool:
        """Drop the oldest while all together are over the limit; whether even that does not help."""
        for process, series, segment in self._cap.choose(self._processes.values()):
            stream = self._streams.get(f"{process.name}.{series.signal}")
            self._unlink(process, [segment.name])
            shipped = stream is not None and series.until(segment) <= stream.released_to
            if not shipped:
                self._report(
                    Problem(
                        "services-cap",
                        f"services put aside more than services.host_max: {segment.records} records of {process.label} "
                        "that no destination has taken are dropped",
                        "cap",
                    )
                )
            series.hole(segment.base, series.until(segment), segment.records)
            if stream is not None and not stream.over:
                self._books.moved(stream)
                self._books.ready(stream)
        return self._cap.full


def _is_free(stream: ServiceStream, segment: Segment) -> bool:
    return segment.final and stream.series.until(segment) <= stream.done_to
