"""Descriptors of deleted files that outlive this process: the service manager keeps them, and hands them to the next run.

What is unread of a file without a name is held by its descriptor only. Until it is read ahead, and where it cannot be, a kill
would take it. So its descriptor is given to whoever keeps it for us, and taken back at the start, before files are looked for:
a descriptor is recognised as any other file is, by inode and by what the ledger says that it held.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Container
from typing import Protocol

from shipper.clock import Clock
from shipper.events import Problem, Reporter, Said
from shipper.sources.file.content import Content
from shipper.sources.file.handles import TailedFile
from shipper.sources.file.identity import Key, parse_id
from shipper.sources.file.table import FileTable

AT_ONCE = 32  # a second; more wait for the next one, and most of those are read by then
LOOK_SECONDS = 1.0
SETTLE_SECONDS = 2.0  # for the manager to take what it was sent, at a stop
_DELETED = " (deleted)"


class DescriptorStore(Protocol):
    """Who keeps descriptors for us while we do not run."""

    def inherited(self) -> list[tuple[str, int]]:
        """Names and descriptors that an earlier process left; ours from now on."""

    def put(self, name: str, fd: int, seconds: float = 0.0) -> bool:
        """Have one kept, waiting for room for so long; False where that cannot be done now."""

    def drop(self, name: str) -> bool:
        """It is not needed any more; False where that cannot be told now."""

    def settle(self, seconds: float) -> None:
        """Block until all that was put is kept, at most so long."""


class Survivors:
    """The descriptors that are kept for us, of contents whose file has no name any more."""

    def __init__(self, store: DescriptorStore | None, table: FileTable, clock: Clock, report: Reporter) -> None:
        self._store = store
        self._table = table
        self._clock = clock
        self._report = report
        self._kept: dict[Key, str] = {}  # under which names
        self._taken: list[tuple[str, TailedFile]] = []  # over from an earlier run
        self._later: dict[Content, None] = {}
        self._dropping: set[str] = set()
        self._since = float("-inf")
        self._left = 0

    # At the start ------------------------------------------------------------------------------------------------------

    def take_over(self) -> None:
        """Follow the files whose descriptors an earlier run left. Before any file is looked for."""
        if self._store is None:
            return
        for name, fd in self._store.inherited():
            try:
                status = os.fstat(fd)
                path = os.readlink(f"/proc/self/fd/{fd}").removesuffix(_DELETED)
            except OSError as problem:
                self._refuse(name, fd, problem.strerror or str(problem))
                continue
            key = (status.st_dev, status.st_ino)
            if not stat.S_ISREG(status.st_mode) or parse_id(name) is None:
                self._refuse(name, fd, "it is none that we had kept")
            elif self._table.of(key) is not None:
                self._refuse(name, fd, "another one leads to the same file")
            else:
                self._kept[key] = name
                self._taken.append((name, self._table.hold(key, path, fd)))

    def _refuse(self, name: str, fd: int, why: str) -> None:
        os.close(fd)
        self._dropping.add(name)
        self._report(Problem("fd-store", f"descriptor {name!r}, kept by the service manager, is closed: {why}", name))

    def recalled(self, ids: Container[str]) -> None:
        """All streams of earlier runs have their files again. ``ids``: of every stream that ever was.

        Of what nobody goes on with, that is new of which the earlier run could not write down that it had found it.
        """
        for name, file in self._taken:
            if file.stream is None and not self._table.partings.awaits(file.key) and name not in ids:
                self._table.look(file, force=True)
            if file.stream is not None or self._table.partings.awaits(file.key):
                self._report(
                    Said(f"{file.origin} was deleted; it is read on by its descriptor, which outlived the run")
                )
                continue
            self._table.forget(file)
            self._report(Said(f"descriptor {name!r}, kept by the service manager, is closed: nothing of it is unread"))
        self._taken = []
        self._drop()

    # While it runs -----------------------------------------------------------------------------------------------------

    def note(self, content: Content) -> None:
        """Something happened to a content: its descriptor may be all that holds it now."""
        if self._store is None or not self._is_needed(content):
            return
        now = self._clock.monotonic()
        if now - self._since >= LOOK_SECONDS:
            self._since, self._left = now, AT_ONCE
        if self._left > 0 and self._put(content):
            self._left -= 1
        else:
            self._later[content] = None

    def _is_needed(self, content: Content) -> bool:
        file = content.file
        if file is None or file.fd < 0 or file.paths or file.key in self._kept:
            return False
        return not (content.finished and content.idle)

    def _put(self, content: Content) -> bool:
        if self._store is None or content.file is None or not self._store.put(content.id, content.file.fd):
            return False
        self._kept[content.file.key] = content.id
        return True

    def forget(self, file: TailedFile) -> None:
        """A file is not followed any more."""
        name = self._kept.pop(file.key, None)
        if name is not None:
            self._dropping.add(name)
            self._drop()

    def _drop(self) -> None:
        """The space of a deleted file is given back only when nobody keeps it any more."""
        if self._store is not None:
            self._dropping = {name for name in self._dropping if not self._store.drop(name)}

    async def run(self) -> None:
        """Have kept what could not be at once, until cancelled."""
        while self._store is not None:
            await self._clock.sleep(LOOK_SECONDS)
            later, self._later = self._later, {}
            for content in later:
                self.note(content)
            self._drop()

    async def stop(self) -> None:
        """Have everything kept that only we hold, now that we go."""
        if self._store is None:
            return
        needed = [file for file in self._table if file.stream is not None and self._is_needed(file.stream)]
        await asyncio.to_thread(_put_all, self._store, [(each.stream.id, each.fd) for each in needed if each.stream])


def _put_all(store: DescriptorStore, descriptors: list[tuple[str, int]]) -> None:
    for name, fd in descriptors:
        if not store.put(name, fd, SETTLE_SECONDS):
            break
    store.settle(SETTLE_SECONDS)
