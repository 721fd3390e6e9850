"""What streams of this life held that have ended: a rotated file that is compressed later must not be read once more.

By then the file it was made of is often gone, and the stream done with. What is kept of it is what it began with, how far it
reached, and the guards of a few positions; that is enough to tell its text from any other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from shipper.ledger import Ledger
from shipper.sources.file.identity import GUARD_BYTES, Head, Readable, digest, guard_of

MOST = 4096  # contents that are remembered, the latest ones
_POSITIONS = 4  # at the end of each


@dataclass(frozen=True, slots=True)
class Ended:
    """A content that nothing will be appended to. ``guards``: positions, and the guards of the bytes before them."""

    head: Head
    size: int
    guards: tuple[tuple[int, int], ...]

    def covers(self, file: Readable, size: int) -> int:
        """How many of the ``size`` bytes of ``file``, which begins alike, are this content. Raises OSError."""
        agreed = 0
        for position, guard in self.guards:
            if position > size:
                continue
            start = max(0, position - GUARD_BYTES)
            if guard_of(file.read(position - start, start)) != guard:
                return 0
            agreed = min(size, self.size)
        return agreed


class EndedContents:
    """All that is known of them, by what they begin with."""

    def __init__(self) -> None:
        self._known: OrderedDict[Ended, None] = OrderedDict()
        self._alike: dict[int, dict[str, list[Ended]]] = {}  # by length and fingerprint of the beginning

    def add(self, head: Head, size: int, guards: Iterable[tuple[int, int]]) -> None:
        """A stream ended that read a content of ``size`` bytes."""
        told = tuple([each for each in guards if each[1]][-_POSITIONS:])
        ended = Ended(head, size, told)
        if not head.length or not told or ended in self._known:
            return
        self._known[ended] = None
        self._alike.setdefault(head.length, {}).setdefault(head.digest, []).append(ended)
        if len(self._known) > MOST:
            self._forget(self._known.popitem(last=False)[0])

    def _forget(self, ended: Ended) -> None:
        alike = self._alike[ended.head.length]
        alike[ended.head.digest].remove(ended)
        if not alike[ended.head.digest]:
            del alike[ended.head.digest]
        if not alike:
            del self._alike[ended.head.length]

    def covers(self, file: Readable, size: int, head: bytes) -> int:
        """How many bytes at the beginning of ``file``, which begins with ``head``, were some stream's. Raises OSError."""
        found = [
            ended
            for length, alike in self._alike.items()
            if length <= len(head)
            for ended in alike.get(digest(head[:length]), ())
        ]
        return max((ended.covers(file, size) for ended in found), default=0)


def recall_ended(ledger: Ledger, source: str, destinations: tuple[str, ...]) -> list[Ended]:
    """What the ledger knows of the streams of a source that have ended. Runs on the ledger's thread."""
    found = []
    for account in ledger.account(()):
        row = account.stream
        if row.source != source or not row.finished or "head" not in row.meta:
            continue
        length, fingerprint = row.meta["head"]
        cursors = [ledger.cursor(name, row.id) for name in destinations]
        guards = sorted({(cursor.cut_to, cursor.guard) for cursor in cursors if cursor.guard})
        found.append(Ended(Head(int(length), str(fingerprint)), row.size, tuple(guards)))
    return found[-MOST:]
