"""When a content and its file part: it was truncated, replaced, deleted, and what was unread of it may be in a copy.

What cannot be told just now, because the host or our own bound has no descriptor left, or a compressed file is not measured, is
not decided: the content waits. Whatever turns up meanwhile is held against those that wait before it counts as new.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipper.clock import Clock
from shipper.events import Problem, Reporter, Said
from shipper.sources.file.announce import Announcer
from shipper.sources.file.content import Content
from shipper.sources.file.discover import Patterns
from shipper.sources.file.handles import NO_DESCRIPTORS, Descriptors, TailedFile
from shipper.sources.file.identity import HEAD_BYTES, Key, digest, is_related
from shipper.sources.file.rotation import holds_content_of

if TYPE_CHECKING:
    from shipper.sources.file.table import FileTable

GONE = "the file was truncated or replaced"
NOWHERE: Key = (0, 0)
WALK_EVERY = 1.0  # seconds between two looks for copies in all directories
WALK_SHARE = 100  # nor for more than one part in so many of the time


class Unsure(Exception):
    """A finding rather than an error: whether there is a copy cannot be told now."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A content that waits for the file ``key``, whose ``claim`` says whether it is it; or for any that holds a copy of it.

    ``because``: why they parted; ``moved``: where else a copy may be.
    """

    because: str
    moved: tuple[str, ...] = ()
    key: Key = NOWHERE
    claim: Callable[[TailedFile], bool] | None = None


class Partings:
    """Contents whose file holds them no more: they go on with a copy, or end. All methods are synchronous."""

    def __init__(
        self,
        table: FileTable,
        patterns: Patterns,
        pool: Descriptors,
        announce: Announcer,
        clock: Clock,
        report: Reporter,
    ) -> None:
        self._table = table
        self._patterns = patterns
        self._walk_at = -math.inf
        self._pool = pool
        self._announce = announce
        self._clock = clock
        self._report = report
        self._waiting: dict[Content, _Waiting] = {}
        self._keys: dict[Key, list[Content]] = {}  # of those that wait for a file they know

    def separate(self, old: Content, file: TailedFile | None, because: str = GONE, moved: Iterable[str] = ()) -> None:
        """``old`` is no more in ``file``: it goes on with a copy of it, if there is one; ``moved``: where else that may be."""
        moved = tuple(moved)
        self._wait(old, _Waiting(because, moved))  # what is looked at meanwhile may be the copy
        try:
            copy = self.search(old, file, moved)
        except Unsure:
            if old in self._waiting:
                self.seek(old, because, moved)
            return
        if old in self._waiting:
            self._found(old)
            self.part(old, copy, because)

    def search(self, old: Content, file: TailedFile | None, moved: Iterable[str] = ()) -> TailedFile | None:
        """The copy of what ``old`` was reading. Raises `Unsure` when not everything that may be one could be looked into."""
        before = self._pool.refusals
        try:
            found = self._table.copies.find(old, file, moved)
            if found is None and not moved and (further := self._further(old)):
                found = self._table.copies.find(old, file, further)
            found = self._furthest(old, found)
        except OSError as error:
            if error.errno not in NO_DESCRIPTORS:
                raise
            raise Unsure from error
        if found is None and self._pool.refusals != before:
            raise Unsure
        return found

    def _further(self, old: Content) -> tuple[str, ...]:
        """Where else a copy may be by its name: it may have been moved at once. All is looked through now and then at most."""
        now = self._clock.monotonic()
        if now < self._walk_at:
            return ()
        paths = self._patterns.walk().files
        self._walk_at = now + max(WALK_EVERY, WALK_SHARE * (self._clock.monotonic() - now))
        return tuple(path for path in paths if is_related(path, old.name))

    def _furthest(self, old: Content, copy: TailedFile | None) -> TailedFile | None:
        """``copy``, or what was read ahead where that reaches further than a copy that is not all of it."""
        size = 0 if copy is None else copy.length()
        kept = self._announce.kept(old, size) if size < old.size else None
        if kept is None or copy is None:
            return kept or copy
        copy.copy_of = None
        self._table.copies.remember(copy, size)
        return kept

    # Waiting -----------------------------------------------------------------------------------------------------------

    def seek(self, old: Content, because: str, moved: tuple[str, ...]) -> None:
        """Whether there is a copy of ``old`` is found out later; until then nothing of it is read, and nothing is lost."""
        old.file = None
        self._wait(old, _Waiting(because, moved))
        self._report(
            Problem("descriptors", f"{old.name} waits: no descriptor is left to look for a copy of it", "descriptors")
        )

    def reserve(self, old: Content, key: Key, claim: Callable[[TailedFile], bool]) -> None:
        """``old`` waits for the file ``key``, which cannot be read yet; ``claim`` says then whether it goes on with it."""
        self._wait(old, _Waiting(GONE, key=key, claim=claim))
        self._keys.setdefault(key, []).append(old)

    def _wait(self, old: Content, waiting: _Waiting) -> None:
        old.awaited = waiting.key
        self._waiting[old] = waiting

    def _found(self, old: Content) -> _Waiting:
        """It waits no more."""
        waiting = self._waiting.pop(old)
        old.awaited = None
        if waiting.claim is not None:
            alike = self._keys[waiting.key]
            alike.remove(old)
            if not alike:
                del self._keys[waiting.key]
        return waiting

    def awaits(self, key: Key) -> bool:
        """Whether a content waits for this file."""
        return key in self._keys

    def retry(self) -> None:
        """Look for the copies again that could not be looked for."""
        if all(waiting.claim is not None for waiting in self._waiting.values()):
            return
        paths = self._patterns.walk().files
        for old, waiting in list(self._waiting.items()):
            if self._pool.exhausted:
                return
            if waiting.claim is None and old in self._waiting:
                self._found(old)
                moved = (path for path in paths if is_related(path, old.name))
                self.separate(old, None, waiting.because, (*waiting.moved, *moved))

    def claimed(self, file: TailedFile, size: int) -> bool:
        """Whether one of those that wait goes on with ``file``, which no stream reads. Raises OSError."""
        for old in list(self._keys.get(file.key, ())):
            claim = self._found(old).claim
            if claim is not None and claim(file):
                self._announce.grew(old)
                return True
        return self._waiting != {} and self._claimed_as_copy(file, size)

    def _claimed_as_copy(self, file: TailedFile, size: int) -> bool:
        beginning = file.read(HEAD_BYTES, 0)
        digests: dict[int, str] = {}
        for old in list(self._waiting):
            length = old.head.length
            if length not in digests:
                digests[length] = digest(beginning[:length])
            if 0 < length <= size and digests[length] == old.head.digest and holds_content_of(file, size, old):
                waiting = self._found(old)
                if waiting.claim is not None:  # should its own file come back, that is not read once more
                    self._table.copies.expect(waiting.key, old.size, old.head)
                self.part(old, file, waiting.because)
                return True
        return False

    # Parting -----------------------------------------------------------------------------------------------------------

    def part(self, old: Content, copy: TailedFile | None, because: str = GONE) -> None:
        """``old`` is separated from its file for ever; what it had not read comes from ``copy``, or is lost."""
        readable_to = 0
        if copy is not None:
            readable_to = self._go_on(old, copy, because)
        old.file = copy
        lost = old.size - max(readable_to, old.read_to)
        if lost > 0:  # which bytes, is counted when a destination comes to them
            self._report(
                Problem("truncated", f"{old.name}: {lost} bytes were destroyed before they could be read", old.id)
            )
        ended_before = old.finished
        old.seal(readable_to, because)
        self._announce.grew(old)
        if not ended_before:
            self._announce.ended(old)
        if old.idle:
            self._table.idle(old)

    def _go_on(self, old: Content, copy: TailedFile, because: str) -> int:
        """Have ``copy`` read by ``old``; how many bytes of it there are."""
        size = copy.length()
        if copy.text is not None:
            copy.text.begun = True
            self._table.packed.forget(copy)
        copy.stream = old
        copy.copy_of = None
        self._table.copies.remember(copy, size)
        self._table.copies.note(copy, size)
        old.sighted(size, self._clock.monotonic())
        what = "was truncated" if because == GONE else "is gone"
        self._report(Said(f"{old.name} {what}; what was not read yet comes from its copy {copy.path or copy.origin}"))
        return size
