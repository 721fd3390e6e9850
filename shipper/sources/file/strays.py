"""Files that no pattern matches any more: rotated away, or deleted. They are followed while somebody writes to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipper.clock import Clock
from shipper.sources.file.announce import Announcer
from shipper.sources.file.handles import NO_DESCRIPTORS, Descriptors, TailedFile
from shipper.sources.file.lease import has_writers

if TYPE_CHECKING:
    from shipper.sources.file.table import FileTable

QUIET = 5.0  # seconds without growth after which a file without a name is let go where its writers cannot be told


class Strays:
    """Those that there are, and when each is let go."""

    def __init__(self, table: FileTable, pool: Descriptors, announce: Announcer, clock: Clock) -> None:
        self._table = table
        self._pool = pool
        self._announce = announce
        self._clock = clock
        self._files: set[TailedFile] = set()

    def __contains__(self, file: TailedFile) -> bool:
        return file in self._files

    def add(self, file: TailedFile) -> None:
        """No pattern matches a file any more."""
        self._files.add(file)

    def discard(self, file: TailedFile) -> None:
        """It is none any more, or known no more."""
        self._files.discard(file)

    def tick(self) -> None:
        """Writers that went away, which no event tells."""
        for file in list(self._files):
            self._table.look(file)
            self.review(file)

    def review(self, file: TailedFile) -> None:
        """A file that no pattern matches any more is let go once nobody writes to it."""
        if file.wanted:
            self.discard(file)
            return
        if file.fd < 0 and not self._reopened(file):
            return
        if file.fd >= 0 and self._has_writers(file):
            return
        self._table.look(file)  # what the last writer wrote before it closed
        self.discard(file)
        stream = file.stream
        if stream is not None and not stream.finished:
            stream.seal(stream.size, "")
            self._announce.grew(stream)
            self._announce.ended(stream)
        if stream is None or stream.idle:
            self._table.forget(file)

    def _reopened(self, file: TailedFile) -> bool:
        """Open a file without a name where it lay: behind a link that leads elsewhere now. False where that has to wait."""
        if file.stream is not None and file.stream.finished:
            return True
        try:
            self._pool.open(file)
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                return False
            if file.unopened:
                self._announce.missed(file, file.unopened)
            return True  # it is gone
        self._announce.follow(file)
        return True

    def _has_writers(self, file: TailedFile) -> bool:
        writers = has_writers(file.fd)
        if writers is None:
            grown_at = file.since if file.stream is None else file.stream.grown_at
            return self._clock.monotonic() - grown_at < QUIET
        return writers
