"""Services that hand over by the SDK: watches the root, follows every process in it, and ships what they left."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

from shipper.clock import Clock
from shipper.contracts import Hub, Source
from shipper.errors import StateError
from shipper.events import Problem, Reporter, Said
from shipper.handoff.places import ALIVE
from shipper.handoff.prepare import prepare_root
from shipper.ledger import LedgerThread
from shipper.otlp.encode import AttributeValue
from shipper.sources.books import RETRY, Books
from shipper.sources.file.inotify import CLOSE_WRITE
from shipper.sources.file.watch import Changes, Watcher
from shipper.sources.services.consumer import Consumer
from shipper.sources.services.desk import Desk
from shipper.sources.services.follower import Follower
from shipper.sources.services.memory import SOURCE, recall, row_of
from shipper.sources.services.merging import Merging
from shipper.sources.services.process import Process
from shipper.sources.services.root import Root
from shipper.sources.services.settings import ServiceSettings
from shipper.sources.services.stream import ServiceStream

LOOK_BYTES = 1 << 20  # of one series at a time, at the start: some milliseconds
UNBORN_SECONDS = 3600.0  # a directory that got no name for so long never will


class ServiceSource(Source):
    """Follows all processes below ``settings.root`` and announces a stream for each of their signals to ``hub``.

    ``attributes`` and ``labels``: the host's identity, frozen for the life. ``boot``: the boot id of the kernel; what was
    written in another boot is set aside. ``consumer`` gets every trace stream, and segments wait for it. ``sample`` gets
    the name of a service and a log record of it now and then.
    """

    name = SOURCE

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        hub: Hub,
        ledger: LedgerThread,
        life: str,
        boot: str,
        attributes: Mapping[str, AttributeValue],
        labels: Mapping[str, str],
        clock: Clock,
        report: Reporter,
        consumer: Consumer | None = None,
        sample: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._report = report
        self._watcher = Watcher(self._changed, report)
        self._books: Books[ServiceStream] = Books(hub, ledger, clock, report, row_of)
        self._root = Root(settings.root, settings.max_per_user, self._say)
        self._desk = Desk(settings, life, labels, attributes, self._say)
        self._follower = Follower(
            settings,
            hub=hub,
            books=self._books,
            ledger=ledger,
            life=life,
            boot=boot,
            merging=Merging(attributes),
            clock=clock,
            report=report,
            consumer=consumer,
            sample=sample,
        )
        self._prepared = False
        self._begun = asyncio.Event()
        self._stop_wanted = False
        self._stopped = False
        self._met_writers = False

    # The life of the source --------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the root and put the card in it: from now on services can hand over. `run` does it where nobody has."""
        self._prepared = True
        if self._settings.closed:
            os.makedirs(self._settings.root, mode=0o700, exist_ok=True)
            return
        problem = prepare_root(self._settings.root)
        if problem and os.access(self._settings.root, os.R_OK | os.W_OK | os.X_OK):
            self._report(Said(problem))  # it holds for some users only, and perhaps there are none
        elif problem:
            self._say("services-root", f"services cannot hand over: {problem}", self._settings.root)
        self._desk.publish(full=False)

    async def run(self) -> None:
        """See `Source.run`."""
        await self._begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._books.run(), name="service-books")
            tasks.create_task(self._follower.releases.run(), name="service-releases")
            tasks.create_task(self._look_again(), name="service-looks")

    async def _begin(self) -> None:
        if not self._prepared:
            self.prepare()
        self._root.sweep(self._clock.wall_ns() / 1e9 - UNBORN_SECONDS)
        self._follower.remember(await self._ledger.call(recall))
        if self._settings.notify:
            self._watcher.start()
        for process in self._scan():
            more = True
            while more:
                more = self._follower.look(process, most=LOOK_BYTES)
                await asyncio.sleep(0)  # others have work, too: what services put aside may be half a gigabyte
        self._follower.ghosts()
        self._follower.releases.tend()
        self._begun.set()
        if self._stop_wanted:
            self.stop_reading()

    async def settled(self) -> None:
        """See `Source.settled`."""
        await self._begun.wait()
        while self._books.pending and not await self._books.flush():
            await self._clock.sleep(RETRY)

    def stop_reading(self) -> None:
        """See `Source.stop_reading`."""
        self._stop_wanted = True
        if self._stopped or not self._begun.is_set():
            return
        self._everything()
        self._stopped = True
        for stream in self._follower.streams():
            stream.fix()
            self._books.ready(stream)

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`: all processes are gone, or none of them handed anything over for a while."""
        if not self._begun.is_set() or self._books.pending:
            return False
        self._watcher.read()
        self._everything()
        since = self._clock.monotonic() - quiet_seconds
        return self._follower.silent(since) and not self._books.pending

    def writers(self) -> bool | None:
        """See `Source.writers`: every process holds a lock while it lives."""
        if not self._begun.is_set():
            return None
        self._watcher.read()
        self._everything()
        if self._follower.alive():
            return True
        return False if self._met_writers else None

    def close_events(self) -> None:
        """See `Source.close_events`: every frame is whole, so nothing is held."""

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        self._watcher.close()
        if self._begun.is_set():
            await self._write_down()

    # What others ask ---------------------------------------------------------------------------------------------------

    def refused(self) -> dict[str, int]:
        """Records of this life that services lost before they had a position, by signal and cause."""
        return dict(self._follower.losses.refused)

    def status(self) -> list[dict[str, Any]]:
        """What ``shipper status`` shows: one entry for each process."""
        return self._follower.status()

    # Looking -----------------------------------------------------------------------------------------------------------

    def _changed(self, changes: Changes) -> None:
        if self._stopped:
            return
        if changes.everything:
            self._everything()
            return
        for path, mask in changes.paths.items():
            directory, _, name = path.rpartition("/")
            if not name.startswith("."):
                # whoever dies closes its files: then it is asked for its lock, too
                self._follower.touched(
                    directory.rpartition("/")[2], "" if mask & CLOSE_WRITE or name == ALIVE else name
                )

    def _everything(self) -> None:
        if self._stopped:
            return
        for process in self._scan():
            self._follower.look(process)
        self._met_writers = self._met_writers or self._follower.alive()
        self._follower.releases.tend()
        self._cover()
        full = self._follower.releases.cap()
        if not self._settings.closed:
            self._desk.publish(full=full)

    def _scan(self) -> list[Process]:
        """All processes that are there; new ones are watched before they are looked at."""
        try:
            names = self._root.names()
        except OSError as problem:
            self._say("services-root", f"{self._root.path} cannot be read: {problem.strerror}", self._root.path)
            return self._follower.processes()
        new = names - self._follower.names()
        if new:
            for place in self._root.places(new, self._follower.per_user()):
                self._follower.join(place)
        self._cover()
        return self._follower.processes()

    def _cover(self) -> None:
        self._watcher.cover(
            {
                self._root.path: False,
                **{process.place.path: True for process in self._follower.processes() if process.alive},
            }
        )

    async def _look_again(self) -> None:
        """The slow safety net: what no event tells, a death foremost."""
        while True:
            await self._clock.sleep(self._settings.poll_interval)
            self._everything()
            await self._write_down()

    async def _write_down(self) -> None:
        await self._books.flush()
        try:
            await self._follower.write_down()
        except StateError as error:
            self._say("ledger", f"what services lost cannot be written down: {error}", "services")

    def _say(self, kind: str, message: str, about: str = "") -> None:
        self._report(Problem(kind, message, about))
