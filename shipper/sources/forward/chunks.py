"""Which chunks were taken in: a client that did not get its acknowledgement sends the same chunk again.

The truth is the frames in the spool, each of which says what it holds. But frames are deleted once they are delivered, so the
digests are written to a small file beside them too: rows of fixed length, only ever appended, rewritten when half of them is
too old. What the file lost in a crash is in frames that are still there, for nothing is delivered in that moment.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from shipper.events import Problem, Reporter
from shipper.spool import FrameHeader, Spool

KEPT_NS = 3600 * 1_000_000_000
MOST = 65_536
"""Digests remembered; at a thousand records a chunk and 150,000 records a second, those of the last seven minutes."""

_DIGEST = 16
_READ = 4 << 20
_ROW = struct.Struct(f"<{_DIGEST}sQQB")  # digest, when (ns), position behind its frame, which spool
_MARK = bytes(_DIGEST)  # instead of a digest: up to this position all is in the file


def digest(peer: str, tag: bytes, chunk: bytes, part: int) -> str:
    """By what a part of a chunk is recognised; ``part`` -1 is the whole.

    A chunk's id is unique to its sender only, and Fluent Bit makes it from the content: so sender and tag belong to it.
    """
    said = b"".join((struct.pack("<iII", part, len(peer), len(tag)), peer.encode(), tag, chunk))
    return hashlib.blake2b(said, digest_size=_DIGEST).hexdigest()


class Chunks:
    """Remembers the digests of an hour, or the last ``most``. ``spools``: where frames with digests are, in a fixed order."""

    def __init__(self, directory: Path, spools: Sequence[Spool], report: Reporter, most: int = MOST) -> None:
        self._path = directory / "chunks"
        self._spools = spools
        self._report = report
        self._most = most
        self._known: dict[bytes, tuple[int, int, int]] = {}  # in the order in which they came: when, position, spool
        self._indexed = [0] * len(spools)
        self._rows = 0
        self._file = -1

    def open(self, now: int) -> None:
        """Read the file, and the frames that it does not know of."""
        found = b""
        with contextlib.suppress(FileNotFoundError):
            found = self._path.read_bytes()
        for known, at, position, spool in _ROW.iter_unpack(found[: len(found) - len(found) % _ROW.size]):
            if spool < len(self._spools):
                self._learn(known, at, position, spool)
        for number, spool in enumerate(self._spools):
            for text, position in _held(spool, max(self._indexed[number], spool.first())):
                self._learn(bytes.fromhex(text), now, position, number)
        self._forget(now)
        self._rewrite(now)

    def __contains__(self, text: str) -> bool:
        return bytes.fromhex(text) in self._known

    def add(self, texts: Iterable[str], position: int, spool: int, now: int) -> None:
        """Remember digests of what is in a spool, below ``position``."""
        new = [(bytes.fromhex(text), now, position, spool) for text in texts]
        for row in new:
            self._learn(*row)
        self._forget(now)
        if self._rows + len(new) > 2 * self._most:
            self._rewrite(now)
        else:
            self._append(new)

    def mark(self, now: int) -> None:
        """Write down that everything which is in the spools now needs not be looked at again."""
        for number, spool in enumerate(self._spools):
            if (position := spool.frontier()) > self._indexed[number]:
                self._learn(_MARK, now, position, number)
                self._append([(_MARK, now, position, number)])

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _learn(self, known: bytes, at: int, position: int, spool: int) -> None:
        self._indexed[spool] = max(self._indexed[spool], position)
        if known != _MARK:
            self._known[known] = (at, position, spool)

    def _forget(self, now: int) -> None:
        while self._known:
            oldest = next(iter(self._known))
            if len(self._known) <= self._most and now - self._known[oldest][0] <= KEPT_NS:
                return
            del self._known[oldest]

    def _append(self, rows: Sequence[tuple[bytes, int, int, int]]) -> None:
        data = b"".join([_ROW.pack(*row) for row in rows])
        try:
            if os.write(self._file, data) != len(data):
                self._rewrite(rows[-1][1])  # the disk is full in the middle of a row: what follows would be misread
            self._rows += len(rows)
        except OSError as error:
            self._complain(error)

    def _rewrite(self, now: int) -> None:
        """Write all that is remembered into a new file, in the place of the old one."""
        self.close()
        marks = [(_MARK, now, position, number) for number, position in enumerate(self._indexed)]
        rows = [*marks, *((known, *rest) for known, rest in self._known.items())]
        fresh = self._path.with_suffix(".tmp")
        try:
            fresh.write_bytes(b"".join([_ROW.pack(*row) for row in rows]))
            os.replace(fresh, self._path)
            self._rows = len(rows)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        said = (
            f"{self._path} cannot be written ({error.strerror}): after a restart, chunks sent again are not recognised"
        )
        self._report(Problem("chunks", said, str(self._path)))


def _held(spool: Spool, at: int) -> Iterator[tuple[str, int]]:
    """The digests in the frames of a spool from ``at`` on, each with the position behind its frame."""
    while frames := spool.frames(at, _READ):
        for frame in frames:
            with contextlib.suppress(ValueError):  # no header of ours: whoever ships the frame says so
                for text in FrameHeader.decode(frame.header).tokens:
                    yield text, frame.end
        at = frames[-1].end
