"""What a demo service says that it wrote, counted outside of everything that is being proved.

The count lies in a small mapped file, so that it survives SIGKILL as the log itself does. A line is announced before its
write and confirmed behind it; a service killed between the two leaves them one apart, and then the log file decides. A span
is counted when the call that ended it returned: that is what the SDK promises.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_COUNTS = struct.Struct("<QQQQQ")  # announced, confirmed, requests, errors, spans


@dataclass(frozen=True, slots=True)
class Truth:
    """What one service emitted: lines in its log, the requests and errors that some of them are, and spans."""

    lines: int
    requests: int
    errors: int
    spans: int


class TruthFile:
    """Written by a service; one process, one thread."""

    def __init__(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, _COUNTS.size)
            self._map = mmap.mmap(descriptor, _COUNTS.size)
        finally:
            os.close(descriptor)
        self._counts = [0, 0, 0, 0, 0]

    def announce(self) -> None:
        """A line is about to be written."""
        self._counts[0] += 1
        self._store()

    def confirm(self, *, request: bool, error: bool) -> None:
        """The line's write returned."""
        self._counts[1] += 1
        self._counts[2] += request
        self._counts[3] += error
        self._store()

    def span_ended(self) -> None:
        """The call that ended a span returned."""
        self._counts[4] += 1
        self._store()

    def _store(self) -> None:
        _COUNTS.pack_into(self._map, 0, *self._counts)


def read_truth(path: Path, logs: list[Path]) -> Truth:
    """What the service emitted. ``logs``: its log files, asked only when it died between announcing and confirming.

    Without a truth file it was killed before it emitted anything.
    """
    if not path.exists():
        return Truth(0, 0, 0, 0)
    announced, confirmed, requests, errors, spans = _COUNTS.unpack(path.read_bytes())
    if announced == confirmed:
        return Truth(confirmed, requests, errors, spans)
    written = b"".join(log.read_bytes() for log in logs)
    lines = written.count(b"\n")
    return Truth(lines, written.count(b" status="), written.count(b" status=5"), spans)
