"""All files in which journald goes on counting: one sequence of entries, spread over files that are rotated, deleted, or per user.

An entry is visible in its file before a later one is visible in another (one process writes both). So what is below the highest
number seen is all there, provided that the files are looked at once more, and looked for once more, after that number was seen.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from shipper.sources.journal.file import Entry, Fields, Gap, JournalFile, Understand
from shipper.sources.journal.layout import ARCHIVED

GONE = "journald deleted these entries before they could be read"


class Chain:
    """The files of one sequence id. Positions here are sequence numbers; `frontier` is behind the last one that is shown."""

    def __init__(self, sequence_id: bytes, understand: Understand) -> None:
        self.id = sequence_id
        self.files: dict[tuple[int, int], JournalFile] = {}
        self.frontier = 0
        self.awaited = False  # files of it may exist that cannot be opened just now
        self.suspect: Callable[[], bool] = lambda: False  # look whether the files still are what they were: not so?
        self._understand = understand
        self._vanished: list[Gap] = []

    def add(self, file: JournalFile) -> None:
        """One more file."""
        file.fields = Fields(file, self._understand)
        self.files[file.key] = file

    def vanished(self, head: int, behind: int, why: str) -> None:
        """A file with numbers in ``[head, behind)`` is gone: those that are in no other one cannot be read."""
        self._vanished.append(Gap(head, behind, why))
        self._vanished.sort(key=lambda gap: (gap.start, gap.end))

    def release(self, below: int) -> None:
        """Nobody needs lower numbers any more."""
        self._vanished = [gap for gap in self._vanished if gap.end > below]

    @property
    def lowest(self) -> int | None:
        """The first number that can still be read; None where there is nothing."""
        return min((file.header.head for file in self.files.values() if not file.empty), default=None)

    def tail(self) -> int:
        """Behind the highest number that any file has."""
        return max((file.header.tail + 1 for file in self.files.values() if not file.empty), default=0)

    def refresh(self, failed: Callable[[JournalFile, Exception], None]) -> bool:
        """Look how far the files reach that are still written; True when one has grown, or changed its state."""
        changed = False
        for file in list(self.files.values()):
            if file.header.state == ARCHIVED:
                continue
            before = file.header
            try:
                file.refresh()
            except (OSError, ValueError) as problem:
                failed(file, problem)
            changed = changed or file.header != before
        return changed

    def boot_span(self, boot: bytes) -> tuple[int, int] | None:
        """The number of the first entry of a boot, and the one behind its last; None where there is none of it. Raises OSError."""
        spans = [span for file in self.files.values() if not file.empty and (span := file.boot_span(boot))]
        return (min(first for first, _ in spans), max(end for _, end in spans)) if spans else None

    def entries(self, seq: int) -> Iterator[tuple[Entry, JournalFile] | Gap]:
        """The entries from a number on up to the frontier, each once, and gaps where some cannot be read. Raises OSError."""
        return self._without_vanished(seq) if self._vanished else self._merged(seq)

    def _without_vanished(self, seq: int) -> Iterator[tuple[Entry, JournalFile] | Gap]:
        for found in self._merged(seq):
            start, end = (found.start, found.end) if isinstance(found, Gap) else (found[0].seq, found[0].seq + 1)
            yield from self._gaps(seq, start)
            yield found
            seq = end
        yield from self._gaps(seq, self.frontier)

    def _gaps(self, start: int, end: int) -> Iterator[Gap]:
        """What has vanished of these numbers, none of which is in a file."""
        for gap in self._vanished:
            start = max(start, gap.start)
            if start < min(end, gap.end):
                yield Gap(start, min(end, gap.end), gap.why)
                start = min(end, gap.end)

    def _merged(self, seq: int) -> Iterator[tuple[Entry, JournalFile] | Gap]:
        """The same as the files say it."""
        waiting = [file for file in self.files.values() if not file.empty and file.header.tail >= seq]
        waiting.sort(key=lambda file: file.header.head, reverse=True)
        heads: list[tuple[int, int, Entry | Gap, Iterator[Entry | Gap], JournalFile]] = []
        last = seq - 1
        while waiting or heads:
            while waiting and (not heads or waiting[-1].header.head <= heads[0][0]):
                file = waiting.pop()
                _push(heads, file.entries(seq), file, len(waiting))
            if not heads:
                continue
            number, order, found, more, file = heapq.heappop(heads)
            if number >= self.frontier:
                return
            if isinstance(found, Gap):
                end = min([found.end, *(each[0] for each in heads[:1]), *(each.header.head for each in waiting[-1:])])
                if end > max(number, last + 1):
                    yield Gap(max(number, last + 1), end, found.why)
                    last = end - 1
                rest = max(end, number + 1)
                if rest < found.end:
                    heapq.heappush(heads, (rest, order, Gap(rest, found.end, found.why), more, file))
                    continue
            elif number > last:  # else the same entry lies in two files
                yield found, file
                last = number
            _push(heads, more, file, order)


def _push(
    heads: list[tuple[int, int, Entry | Gap, Iterator[Entry | Gap], JournalFile]],
    more: Iterator[Entry | Gap],
    file: JournalFile,
    order: int,
) -> None:
    found = next(more, None)
    if found is not None:
        heapq.heappush(heads, (found.seq if isinstance(found, Entry) else found.start, order, found, more, file))
