"""What a file holds, compared with what was seen of it: it grew, is new, is a copy, or holds something else by now."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from shipper.clock import Clock
from shipper.events import Problem, Reporter
from shipper.sources.file.announce import Announcer
from shipper.sources.file.content import Changed, Content
from shipper.sources.file.handles import Descriptors, TailedFile
from shipper.sources.file.identity import HEAD_BYTES
from shipper.sources.file.rotation import holds_content_of

if TYPE_CHECKING:
    from shipper.sources.file.table import FileTable


class Contents:
    """Decides what the bytes of a table's files are. All methods are synchronous."""

    def __init__(
        self, table: FileTable, pool: Descriptors, announce: Announcer, clock: Clock, report: Reporter
    ) -> None:
        self._table = table
        self._pool = pool
        self._announce = announce
        self._clock = clock
        self._report = report

    def look(self, file: TailedFile, size: int) -> None:
        """Compare ``file``, ``size`` bytes long, with what was seen of it, and act on the difference. Raises OSError."""
        stream = file.stream
        if stream is not None and stream.finished:
            self._look_at_final(file, stream, size)
            return
        if stream is None:
            if size or self._table.partings.awaits(file.key):
                self._begin(file, size)
            return
        before, head = stream.size, stream.head
        try:
            same = stream.look(size)
        except Changed:
            same = False
        if not same:
            self._rewritten(file, stream)
        elif stream.size != before:
            self._table.copies.note(file, size)
            if stream.head != head:
                self._announce.moved(stream)
            self._announce.grew(stream)

    def _look_at_final(self, file: TailedFile, stream: Content, size: int) -> None:
        """A file changed of which a stream that has ended is all that was known."""
        if size >= stream.extent and stream.head.matches(file.read(HEAD_BYTES, 0)):
            if size == stream.extent:
                return
            self._table.copies.remember(file, stream.extent)  # somebody appends to what had ended
            file.stream = None
            self._begin(file, size)
        else:  # truncated, or deleted and its inode in use again
            self._rewritten(file, stream)

    def _begin(self, file: TailedFile, size: int) -> None:
        """Content without a stream: it is new, unless it repeats what a known stream has."""
        if self._table.partings.claimed(file, size):
            return
        head = file.read(min(size, HEAD_BYTES), 0)
        if not head:
            return
        if file.text is not None:
            self._begin_packed(file, size, head)
            return
        start = self._table.copies.passed(file, size, head)
        if not start:
            self._look_at_originals(file, head)
            if file.stream is not None:
                return
            start = self._table.copies.passed(file, size, head)  # it may be one whose original goes on elsewhere
        if not start and self._table.copies.doubt(file, size, head, first_scan=self._table.first_scan):
            return
        if size < start or (size == start and file.key not in self._table.copies.taken):
            return
        stream = self._announce.new_stream(file, size, head, start)
        if stream is None:
            return
        file.stream = stream
        self._table.copies.note(file, size)

    def _look_at_originals(self, file: TailedFile, head: bytes) -> None:
        """Those that ``file`` may be a copy of: they may have been truncated because it is. Raises OSError if one cannot be opened."""
        before = self._pool.refusals
        for original in self._table.copies.originals(file, head):
            self._table.look(original)
        if self._pool.refusals != before:
            raise OSError(errno.EMFILE, "no descriptor is left to look at what it may be a copy of", file.path)

    def _begin_packed(self, file: TailedFile, size: int, head: bytes) -> None:
        """A compressed file of which all is known: nothing is appended to it, and what others had of it is not read again."""
        start = self._table.packed.covered(file, size, head)
        if start < size:
            content = self._announce.new_stream(file, size, head, start)
            if content is None:
                return
            file.stream = content
            rest = 0 if file.text is None or file.text.measured is None else file.text.measured.rest
            content.sighted(size + rest, self._clock.monotonic())
            content.seal(size, "the compressed file is damaged")
            self._table.copies.note(file, size)
            self._announce.grew(content)
            self._announce.ended(content)
        self._table.copies.remember(file, size)
        if file.stream is None or file.stream.idle:
            self._pool.close(file)

    def _rewritten(self, file: TailedFile, old: Content) -> None:
        """The content ``old`` was reading is gone from its file: go on with a copy if there is one, and begin anew."""
        file.stream = None
        self._table.copies.drop(file)
        self._table.copies.unnote(file)
        if old.finished and old.idle:
            old.file = None
        else:
            self._table.partings.separate(old, file)
        file.rewritten = True
        length = file.length()
        if length == old.size:
            self._report(
                Problem(
                    "overwritten",
                    f"{old.name} holds other bytes than were read, at the same size: was it overwritten in place? It is read anew",
                    old.id,
                )
            )
        if length:
            self._begin(file, length)

    def copied(self, content: Content) -> None:
        """Somebody makes a copy of a content, under a name that says what for."""
        if not content.copied:
            content.copied = True
            self._announce.endangered(content)

    def suspect(self, stream: Content) -> None:
        """A read showed that the content of ``stream`` may not be what it was."""
        file = stream.file
        if file is None or file.stream is not stream or stream.finished:
            return
        try:
            size = file.length()
            if size < stream.size or not holds_content_of(file, size, stream):
                self._rewritten(file, stream)
        except OSError as error:
            self._table.refused(file.path, error)
