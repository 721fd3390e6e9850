"""One signal of this process as a series of frames: the call by which a record gets out of the process.

`Series.append` is what every span and every log record of the service pays for, so it is written flat: draw a number, pack,
one ``fstat`` to see that the descriptor still is ours, one ``write``. Everything seldom is in `Keeper`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import count as counter
from os import fstat, getpid, write
from time import monotonic
from time import time_ns as wall_ns
from typing import TYPE_CHECKING
from zlib import crc32

from shipper.handoff.frame import CRC, HEAD, MAGIC, Kind, pack_resource
from shipper.sdk.writer.keeper import Keeper
from shipper.sdk.writer.losses import Losses
from shipper.sdk.writer.record import Record
from shipper.sdk.writer.segments import LARGE, Segments

if TYPE_CHECKING:
    from shipper.sdk.writer.spooler import Spooler

MAX_DECLARED = 4096  # resources, and scopes; what the sidecar remembers of a series
MAX_ROUTES = 256
FAULT = "unfit"  # a value that does not fit its field, or a fault in us
_MAX_ROUTE_BYTES = 1024
_TELL_SECONDS = 1.0
_pack_head = HEAD.pack
_pack_crc = CRC.pack


class Series:
    """Made by `Spooler.series`. Nothing here raises, and every record that is not handed over is counted by cause."""

    def __init__(self, signal: str, spooler: Spooler) -> None:
        self.signal = signal
        self._spooler = spooler
        self._spans = spooler.open_spans
        self._tell_at = 0.0  # losses are told at once, but not more often than every second
        self.forget()

    def forget(self) -> None:
        """Begin as a new process does, in a forked child: with new files and no declarations."""
        self.reopen()
        self.declared: list[tuple[int, int, bytes]] = []
        self.todo: dict[tuple[int, int], bytes] = {}  # declarations that may be missing in the current segment
        self._next = {kind: counter(1) for kind in (Kind.RESOURCE, Kind.SCOPE, Kind.ROUTE)}
        if self.signal == "traces":
            self._spans.todo = self.todo
        self._resources: dict[Hashable, int] = {}
        self._scopes: dict[Hashable, int] = {}
        self._routes: dict[Hashable, int] = {}

    def reopen(self) -> None:
        """Begin with new files, and the declarations there are."""
        self.losses = Losses()
        self.keeper = Keeper(self, self._spooler)
        self.segments: Segments | None = None  # None: there is something to do before the next append

    def resource(self, key: Hashable, make: Callable[[], tuple[bytes, bytes]]) -> int:
        """The number of a resource; 0 when there are too many. ``make`` gives (stated, guessed) as for `pack_resource`."""
        return self._number(Kind.RESOURCE, self._resources, key, lambda: pack_resource(*make()), MAX_DECLARED)

    def scope(self, key: Hashable, make: Callable[[], bytes]) -> int:
        """The number of a scope; 0 when there are too many. ``make`` gives the content of an InstrumentationScope."""
        return self._number(Kind.SCOPE, self._scopes, key, make, MAX_DECLARED)

    def route(self, text: str) -> int:
        """The number of a route; 0 when there are too many."""
        found = self._routes.get(text)
        if found is not None:
            return found
        return self._number(Kind.ROUTE, self._routes, text, lambda: _cut(text), MAX_ROUTES)

    def _number(
        self, kind: Kind, known: dict[Hashable, int], key: Hashable, make: Callable[[], bytes], most: int
    ) -> int:
        try:
            found = known.get(key)
            if found is not None:
                return found
            if len(known) >= most:
                return 0
            body = make()
            number = next(self._next[kind])
            self.declared.append((kind, number, body))
            self.todo[kind, number] = body
            return known.setdefault(key, number)
        except Exception as error:
            self._spooler.fault("declaration", error)
            return 0

    def append(
        self,
        kind: int,
        body: bytes,
        time_ns: int,
        flags: int = 0,
        resource: int = 0,
        scope: int = 0,
        route: int = 0,
        severity: int = 0,
        count: int = 1,
        duration_ns: int = 0,
        trace: int = 0,
        slot: int = -1,
    ) -> bool:
        """Hand one record over. True: it is in the file, and a SIGKILL does not take it back. False: counted by cause."""
        seq = -1
        segments = self.segments
        try:
            if segments is None or self.todo or len(body) > LARGE or segments.pid != getpid():
                return self.keeper.append(
                    Record(
                        kind, body, time_ns, flags, resource, scope, route, severity, count, duration_ns, trace, slot
                    )
                )
            seq = next(segments.numbers)
            head = _pack_head(
                MAGIC,
                kind,
                flags,
                len(body),
                seq,
                time_ns,
                resource,
                scope,
                route,
                severity,
                0,
                count,
                duration_ns,
                trace,
            )
            data = _pack_crc(crc32(body, crc32(head))) + head + body
            if slot >= 0:
                self._spans.ending(slot, seq)
            inflight = segments.inflight
            done = -1
            try:
                inflight.add(seq)
                fd = segments.fd
                found = fstat(fd)
                if found.st_ino in segments.inodes and found.st_nlink and found.st_dev == segments.device:
                    done = write(fd, data)
            except OSError as error:
                self.keeper.failed(segments, error)
            finally:
                inflight.discard(seq)
            if done != len(data):
                segments.spare.append(seq)
                return self.keeper.append(
                    Record(
                        kind, body, time_ns, flags, resource, scope, route, severity, count, duration_ns, trace, slot
                    )
                )
            if slot >= 0:
                self._spans.clear(slot)
            if count != 1:
                segments.extra += count - 1
            if found.st_size >= segments.attention:
                self.keeper.attend(segments)
            return True
        except Exception as error:
            if seq >= 0 and segments is not None:
                segments.spare.append(seq)
                self.segments = None  # so that the next append uses it
            self._spans.clear(slot)
            self._spooler.fault("append", error)
            self.losses.add(FAULT, count)
            return False

    def drop(self, cause: str, count: int = 1) -> None:
        """``count`` records of this series were not handed over, because of ``cause``."""
        try:
            self.losses.add(cause, count)
            self.segments = None  # so that the next append tells of it
            now = monotonic()
            if now >= self._tell_at:
                self._tell_at = now + _TELL_SECONDS
                self.keeper.tell()
        except Exception as error:
            self._spooler.fault("drop", error)

    def note(self, text: str) -> None:
        """A sentence for the person who asks the sidecar how this service is."""
        try:
            self.keeper.append(Record(Kind.NOTE, text.encode("utf-8", "replace"), wall_ns()))
        except Exception as error:
            self._spooler.fault("note", error)


def _cut(text: str) -> bytes:
    return text.encode("utf-8", "replace")[:_MAX_ROUTE_BYTES]
