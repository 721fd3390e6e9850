"""Bytes that only a descriptor still holds, or that the next rotation destroys: read ahead onto our own disk in an outage.

A log file is its own buffer, as long as it is there. One that was deleted is there only until this process ends; one that is
truncated in place only until somebody does so again. What is unread in such a file for some seconds is copied, and read from
the copy when there is nothing else: after a restart, a kill, a truncation. A deleted file that was copied whole is let go, so
that its space is given back. How much may be held so is bounded; beyond that the oldest is given up, or nothing more is
copied, as the files' group says.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from shipper.clock import Clock
from shipper.events import Problem, Reporter, Said
from shipper.sources.file.content import Content
from shipper.sources.file.handles import TailedFile, regular
from shipper.sources.file.identity import HEAD_BYTES
from shipper.sources.file.readahead_copy import PAGE, Kept, remove_others
from shipper.sources.file.rotation import agreement
from shipper.sources.file.settings import HeldSpace

if TYPE_CHECKING:
    from shipper.sources.file.table import FileTable

LOOK_SECONDS = 1.0
DELAY = 5.0  # seconds for which something has to be unacknowledged
BEFORE = 64 << 10  # bytes kept before the first that is unread: where an event begins is seen there
PIECE = 256 << 10  # copied in one go: a fraction of a millisecond
SHARES = 16  # so much of the bound is given up at least, so that it is not done for every line
LAST_SECONDS = 1.0  # for what is left at a stop


class ReadAhead:
    """The contents at risk, and what is kept of them.

    ``moved`` is told of those that are read from their copy, ``ready`` of those of which something was given up.
    """

    def __init__(
        self,
        settings: HeldSpace,
        table: FileTable,
        *,
        moved: Callable[[Content], None],
        ready: Callable[[Content], None],
        clock: Clock,
        report: Reporter,
    ) -> None:
        self._settings = settings
        self._table = table
        self._moved = moved
        self._ready = ready
        self._clock = clock
        self._report = report
        self._watched: dict[Content, float] = {}  # at risk, and since when that is known
        self._kept: dict[Content, Kept] = {}  # the oldest first
        self._looking = asyncio.Lock()
        self._hurry = asyncio.Event()

    # What the source tells ---------------------------------------------------------------------------------------------

    def note(self, content: Content) -> None:
        """Something happened to a content: it may be at risk now."""
        if content not in self._watched and self._at_risk(content):
            self._watched[content] = self._clock.monotonic()

    def endangered(self, content: Content) -> None:
        """A copy of a content appears: what has waited long enough is read ahead before its file is truncated."""
        self.note(content)
        if content in self._watched:
            self._hurry.set()

    def recall(self, content: Content) -> None:
        """A content of an earlier run: find what that kept of it."""
        if not self._settings.directory:
            return
        try:
            kept = Kept.found(self._path(content))
        except (OSError, ValueError) as error:
            self._report(Problem("read-ahead", f"what was kept of {content.name} cannot be used: {error}", content.id))
            return
        if kept is not None:
            self._kept[content] = kept
            self._watched[content] = self._clock.monotonic()

    def recalled(self) -> None:
        """All contents of earlier runs have their files again: what is kept for nobody is removed."""
        for content, kept in self._kept.items():
            if reads_from(content, kept):
                content.give_up(kept.gaps)
        if not self._settings.directory:
            return
        try:
            remove_others(self._settings.directory, {kept.path for kept in self._kept.values()})
        except OSError as error:
            where = self._settings.directory
            self._report(Problem("read-ahead", f"{where} cannot be tidied: {error.strerror or error}", where))

    def claim(self, content: Content, beyond: int) -> TailedFile | None:
        """What is kept of a content that parted with its file; None where that does not reach ``beyond`` a position."""
        kept = self._kept.get(content)
        if kept is None or kept.end <= beyond or reads_from(content, kept):
            return None
        return adopt(self._table, content, kept)

    def forget(self, content: Content) -> None:
        """Every destination has all of it."""
        self._watched.pop(content, None)
        kept = self._kept.pop(content, None)
        if kept is not None:
            self._remove(kept)

    # The work ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look every second, and when a file is about to be truncated, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hurried())
            while True:
                await self._clock.sleep(LOOK_SECONDS)
                await self.look()

    async def _hurried(self) -> None:
        while True:
            await self._hurry.wait()
            self._hurry.clear()
            await self.look()

    async def look(self, *, at_once: bool = False) -> None:
        """Copy what is due, and let go of what is not needed; ``at_once``: whatever its age, as far as time allows."""
        async with self._looking:
            until = self._clock.monotonic() + LAST_SECONDS if at_once else math.inf
            for content in list(self._watched):
                try:
                    await self._look(content, at_once, until)
                except OSError as error:
                    said = (
                        f"{content.name} cannot be read ahead, it is held by its descriptor: {error.strerror or error}"
                    )
                    self._report(Problem("read-ahead", said, "read-ahead"))
            self._report.metrics.held_bytes.set(self._held())

    async def _look(self, content: Content, at_once: bool, until: float) -> None:
        if content.finished and content.idle:
            self.forget(content)
            return
        low = _low(content)
        kept = self._kept.get(content)
        if kept is not None:
            kept = self._release(content, kept, low)
        file = content.file
        if file is None or not self._at_risk(content):
            if kept is None:
                del self._watched[content]
            return
        if low < _extent(content) and (at_once or self._age(content, low) >= DELAY):
            await self._copy(content, file, kept or self._make(content, file, low), until)

    def _release(self, content: Content, kept: Kept, low: int) -> Kept | None:
        """Give the space of what is acknowledged back."""
        if low >= kept.end and not reads_from(content, kept):
            del self._kept[content]
            self._remove(kept)
            return None
        below = (low - BEFORE) // PAGE * PAGE
        if below - kept.start >= PIECE:
            kept.drop(below)
            if reads_from(content, kept):
                content.give_up(kept.gaps)
        return kept

    def _make(self, content: Content, file: TailedFile, low: int) -> Kept:
        os.makedirs(self._settings.directory, 0o700, exist_ok=True)
        kept = Kept.make(self._path(content), file.read(HEAD_BYTES, 0), max(0, (low - BEFORE) // PAGE * PAGE))
        self._kept[content] = kept
        return kept

    async def _copy(self, content: Content, file: TailedFile, kept: Kept, until: float) -> None:
        """Copy what there is, as far as there is room; then let the original go, where it is not needed for more."""
        while kept.end < _extent(content) and self._clock.monotonic() <= until:
            if not self._bound(min(PIECE, _extent(content) - kept.end)):
                return
            data = file.read(min(PIECE, _extent(content) - kept.end), kept.end)
            self._table.look(file, force=True)  # had it been truncated before that was read, it would be seen now
            if content.file is not file or not data:
                return
            kept.append(data)
            await self._clock.sleep(0)
            if self._kept.get(content) is not kept:
                return  # acknowledged meanwhile
        if content.finished and not file.paths and kept.end >= _extent(content) and content.file is file:
            self._let_go(content, file, kept)

    def _let_go(self, content: Content, original: TailedFile, kept: Kept) -> None:
        """All of a deleted file is kept: from now on it is read from there, and the original's space is given back."""
        copy = adopt(self._table, content, kept)
        if copy is None:
            return
        content.file = copy
        original.stream = None
        self._table.forget(original)
        self._moved(content)
        held = content.size - max(kept.start, _low(content))
        self._report(Said(f"{content.name} was deleted; its last {held} bytes, not acknowledged yet, are kept on disk"))

    # The bound ---------------------------------------------------------------------------------------------------------

    def _bound(self, more: int) -> bool:
        """Make room for ``more`` bytes, where the oldest may be given up for it; whether there is."""
        while (excess := self._held() + more - self._settings.max_bytes) > 0 or self._disk_is_full():
            step = max(excess, self._settings.max_bytes // SHARES)
            victim = next((content for content in self._kept if self._may_give(content, space=excess <= 0)), None)
            if victim is None:
                said = "what is unread of deleted and truncated files is not read ahead any further: "
                said += "the disk is nearly full" if excess <= 0 else f"{self._settings.max_bytes} bytes are held"
                self._report(Problem("held-full", said, "bound"))
                return False
            self._give_up(victim, step)
        return True

    def _held(self) -> int:
        """Bytes that are kept, or will be: a deleted file takes its space as long as it is open."""
        return sum(
            (kept.end if content.file is not None and content.file.paths else max(kept.end, _extent(content)))
            - kept.start
            for content, kept in self._kept.items()
        )

    def _may_give(self, content: Content, *, space: bool) -> bool:
        """Whether something of it may be given up; ``space``: only if that frees some, and nothing else holds it."""
        kept = self._kept[content]
        if content.blocks or (space and not reads_from(content, kept)):
            return False
        return max(kept.end, _extent(content)) > kept.start

    def _disk_is_full(self) -> bool:
        status = os.statvfs(self._settings.directory)
        return status.f_bavail < self._settings.keep_free * status.f_blocks

    def _give_up(self, content: Content, step: int) -> None:
        """The oldest bytes of one; they are lost where they are nowhere else."""
        kept, low = self._kept[content], _low(content)
        target = min(max(kept.start, low) + step, _extent(content))
        border = content.streams[0].border(target) if target < _extent(content) else None
        target = border if border is not None and border > max(kept.start, low) else target
        lost = content.file is not None and (not content.file.paths or reads_from(content, kept))
        kept.drop(target)
        if reads_from(content, kept):
            content.give_up(kept.gaps)
            self._ready(content)
        if lost and target > low:
            said = f"{content.name}: the bytes up to {target} are given up, {self._settings.max_bytes} may be held"
            self._report(Problem("held-full", said, content.id))

    # What it knows -----------------------------------------------------------------------------------------------------

    def _at_risk(self, content: Content) -> bool:
        file = content.file
        if file is None or content.awaited or not self._settings.directory:
            return False
        return not file.paths or ((content.rewritten or content.copied) and not content.finished)

    def _age(self, content: Content, low: int) -> float:
        """For how many seconds the first byte at ``low`` is known to be unacknowledged."""
        seen = content.first_seen(low + 1)
        return self._clock.monotonic() - (self._watched[content] if seen is None else seen)

    def _path(self, content: Content) -> str:
        return os.path.join(self._settings.directory, content.id)

    def _remove(self, kept: Kept) -> None:
        try:
            kept.remove()
        except OSError as error:
            self._report(Problem("read-ahead", f"{kept.path} cannot be removed: {error.strerror or error}", kept.path))


def adopt(table: FileTable, content: Content, kept: Kept) -> TailedFile | None:
    """What is kept of a content as a file that it can be read from; None where it does not hold that. Raises OSError."""
    status = regular(kept.path)
    key = (status.st_dev, status.st_ino)
    file = table.of(key) or table.take_up(kept.path, key)
    if file is None:
        return None
    content.give_up(kept.gaps)
    if agreement(file, kept.end, content) is None:
        table.forget(file)
        return None
    file.stream = content
    table.copies.note(file, kept.end)  # a compressed form of it that turns up is known by this
    return file


def reads_from(content: Content, kept: Kept) -> bool:
    """Whether a content is read from what is kept of it."""
    return content.file is not None and kept.path in content.file.paths


def _low(content: Content) -> int:
    """Everything below is not needed any more."""
    return int(min(min(stream.released_to, stream.measured_to) for stream in content.streams))


def _extent(content: Content) -> int:
    """How far there is anything to read."""
    return int(min(content.size, content.readable_to))
