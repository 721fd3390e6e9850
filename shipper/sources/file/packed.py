"""Compressed files: when they are whole, how long their text is, and which of it nobody has read yet.

A rotated log is compressed by somebody else's hand. It is left alone while that hand has it open, then measured, which takes
unpacking all of it, in a thread; and a few are read at a time, oldest first, for each costs memory while it is read. Text
that a stream has, or had, is not read again.
"""

from __future__ import annotations

import asyncio
import math
import os
from typing import TYPE_CHECKING

from shipper.clock import Clock
from shipper.events import Problem, Reporter
from shipper.sources.file.content import Content
from shipper.sources.file.ended import EndedContents
from shipper.sources.file.handles import TailedFile
from shipper.sources.file.identity import NAME_BYTES, digest, rotation_bases, same_content
from shipper.sources.file.lease import has_writers
from shipper.sources.file.rotation import agreement
from shipper.sources.file.unpack import Measured, measure

if TYPE_CHECKING:
    from shipper.sources.file.table import FileTable

AT_ONCE = 16  # compressed files that are read at the same time; each may take a megabyte
AT_ONCE_IN_A_HURRY = 64
QUIET = (
    5.0  # seconds without growth after which one that is not whole, or whose writers cannot be told, is taken as it is
)


class Packed:
    """The compressed files of a table. `run` has to run for any of them to be read."""

    def __init__(self, table: FileTable, clock: Clock, report: Reporter) -> None:
        self.ended = EndedContents()
        self.hurry = False  # a drain: what can be read is to be known soon
        self._table = table
        self._clock = clock
        self._report = report
        self._waiting: dict[TailedFile, tuple[int, float]] = {}  # how many bytes it had, and since when
        self._reading: set[Content] = set()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def waiting(self) -> list[str]:
        """The paths of those that are not read yet."""
        return [file.path for file in self._waiting]

    def settled(self, file: TailedFile, status: os.stat_result) -> bool:
        """Whether the text of ``file`` is known and may be read; else it is seen to, as far as anybody has not read it."""
        text = file.text
        if text is None:
            return True
        if text.begun and text.measured is not None and text.measured.packed == status.st_size:
            return True
        if not self._table.partings.awaits(file.key) and self._table.copies.is_known_packed(file, status.st_size):
            return False
        known = self._waiting.get(file)
        if known is None or known[0] != status.st_size:
            self._waiting[file] = (status.st_size, self._clock.monotonic())
        self._wake.set()
        return False

    def forget(self, file: TailedFile) -> None:
        """The file is not followed any more."""
        self._waiting.pop(file, None)

    def done(self, content: Content) -> None:
        """Every destination has all of a content."""
        if content in self._reading:
            self._reading.discard(content)
            self._room.set()

    def tick(self) -> None:
        """Time has passed."""
        if self._waiting:
            self._wake.set()

    # Measuring ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Have what waits read, one after another, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for file in sorted(self._waiting, key=self._turn):
                try:
                    await self._take(file)
                except OSError as error:
                    self._waiting.pop(file, None)  # looked at again with everything else
                    file.size = -1
                    self._report(
                        Problem("unreadable", f"{file.path} is not read: {error.strerror or error}", file.path)
                    )

    def _turn(self, file: TailedFile) -> tuple[bool, float]:
        """Those that a stream of an earlier run waits for come first: what they turn out to hold is not new elsewhere."""
        try:
            return not self._table.partings.awaits(file.key), file.status().st_mtime
        except OSError:  # what cannot be asked comes last
            return True, math.inf

    async def _take(self, file: TailedFile) -> None:
        """Have it read if it is ready for that. Raises OSError."""
        size, since = self._waiting.get(file, (0, 0.0))
        if self._table.of(file.key) is not file or file.text is None:
            self._waiting.pop(file, None)
            return
        file.raw(1, 0)  # opens it
        writers = has_writers(file.fd)
        if writers or not size:
            return
        measured = file.text.measured
        if measured is None or measured.packed != size:
            measured = await self._measure(file, size)
        quiet = self._clock.monotonic() - since >= QUIET
        if self._waiting.get(file) != (size, since) or file.status().st_size != size:
            self._table.look(file, force=True)  # it went on meanwhile
            return
        file.text.accept(measured)
        if not quiet and (measured.damage or writers is None):
            return
        while len(self._reading) >= (AT_ONCE_IN_A_HURRY if self.hurry else AT_ONCE):
            self._room.clear()
            await self._room.wait()
        self._begin(file, measured)

    async def _measure(self, file: TailedFile, size: int) -> Measured:
        fd = os.dup(file.fd)  # the table may close its own meanwhile
        try:
            return await asyncio.to_thread(measure, lambda count, position: os.pread(fd, count, position), size)
        finally:
            os.close(fd)

    def measure_now(self, file: TailedFile) -> bool:
        """Measure it on the spot, because what is in it is needed now; whether it is whole. Raises OSError."""
        if file.text is None:
            return True
        size = file.status().st_size
        if file.text.measured is None or file.text.measured.packed != size:
            file.text.accept(measure(file.raw, size))
        return file.text.measured is not None and not file.text.measured.damage

    def _begin(self, file: TailedFile, measured: Measured) -> None:
        self._waiting.pop(file, None)
        if file.text is None:
            return
        file.text.begun = True
        if measured.damage:
            self._report(
                Problem(
                    "damaged",
                    f"{file.path} is damaged ({measured.damage}): {measured.size} bytes of text can be read of it,"
                    f" {measured.rest} compressed bytes cannot",
                    file.path,
                )
            )
        self._table.look(file, force=True)
        if file.stream is not None and not file.stream.idle:
            self._reading.add(file.stream)

    # What of it is new -------------------------------------------------------------------------------------------------

    def covered(self, file: TailedFile, size: int, head: bytes) -> int:
        """How many bytes at the beginning of its text other streams have, or had. Raises OSError."""
        others = [self._table.at(base) for base in rotation_bases(file.path)]
        others += self._table.copies.alike(digest(head[:NAME_BYTES])) if size >= NAME_BYTES else self._small(head)
        covered = [self._covered_by(file, size, other) for other in others if other is not None and other is not file]
        return max([self.ended.covers(file, size, head), *covered])

    def _small(self, head: bytes) -> list[TailedFile]:
        """The files with streams that begin as ``head``, which is all there is of a text."""
        digests = {length: digest(head[:length]) for length in range(1, len(head) + 1)}
        return [
            file
            for file in self._table
            if file.stream is not None and digests.get(file.stream.head.length) == file.stream.head.digest
        ]

    def _covered_by(self, file: TailedFile, size: int, other: TailedFile) -> int:
        self._table.look(other)  # it may have grown a moment before it was compressed
        content = other.stream
        if content is None or content.size == content.start == 0:
            return 0
        agreed = agreement(file, size, content)
        if agreed is None:
            return 0
        if agreed and content.size <= size:
            return content.size
        common = min(size, content.extent)
        return common if same_content(file, other, common) else 0
