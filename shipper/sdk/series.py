"""One signal of this process as a series of frames: the call by which a record gets out of the process.

`Series.append` is what every span and every log record of the service pays for, so it is written flat: draw a number, pack,
one ``fstat`` to see that the descriptor still is ours, one ``write``. Everything seldom is in `Keeper`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import count as counter
from os import fstat, getpid, write
from time import time_ns as wall_ns
from typing import TYPE_CHECKING
from zlib import crc32

from shipper.handoff.frame import CRC, HEAD, MAGIC, Kind, pack_resource
from shipper.sdk.keeper import Keeper
from shipper.sdk.losses import Losses
from shipper.sdk.segments import LARGE, Segments

if TYPE_CHECKING:
    from shipper.sdk.spooler import Spooler

MAX_ROUTES = 256
MAX_IDS = 0xFFFF
_pack_head = HEAD.pack
_pack_crc = CRC.pack


class Series:
    """Made by `Spooler.series`. Nothing here raises, and every record that is not handed over is counted by cause."""

    def __init__(self, signal: str, spooler: Spooler) -> None:
        self.signal = signal
        self._spooler = spooler
        self._spans = spooler.open_spans
        self.forget()

    def forget(self) -> None:
        """Begin as a new process does: in a forked child."""
        self.losses = Losses()
        self.keeper = Keeper(self, self._spooler)
        self.segments: Segments | None = None  # None: there is something to do before the next append
        self.declared: list[tuple[int, int, bytes]] = []
        self.todo: dict[tuple[int, int], bytes] = {}  # declarations that may be missing in the current segment
        self._ids: dict[tuple[int, Hashable], int] = {}
        self._next_id = {Kind.RESOURCE: counter(1), Kind.SCOPE: counter(1), Kind.ROUTE: counter(1)}

    def resource(self, key: Hashable, make: Callable[[], tuple[bytes, bytes]]) -> int:
        """The number of a resource. ``make`` gives (stated, guessed) attributes as `pack_resource` takes them."""
        number = self._ids.get((Kind.RESOURCE, key))
        return self._declare(Kind.RESOURCE, key, lambda: pack_resource(*make())) if number is None else number

    def scope(self, key: Hashable, make: Callable[[], bytes]) -> int:
        """The number of a scope. ``make`` gives the content of an InstrumentationScope."""
        number = self._ids.get((Kind.SCOPE, key))
        return self._declare(Kind.SCOPE, key, make) if number is None else number

    def route(self, text: str) -> int:
        """The number of a route; 0 when there are too many."""
        number = self._ids.get((Kind.ROUTE, text))
        if number is not None:
            return number
        if len([1 for kind, *_ in self.declared if kind == Kind.ROUTE]) >= MAX_ROUTES:
            return 0
        return self._declare(Kind.ROUTE, text, lambda: text.encode("utf-8", "replace")[:1024])

    def _declare(self, kind: Kind, key: Hashable, make: Callable[[], bytes]) -> int:
        try:
            body = make()
            number = next(self._next_id[kind])
            if number > MAX_IDS:
                return 0
            self.declared.append((kind, number, body))
            self.todo[kind, number] = body
            return self._ids.setdefault((kind, key), number)
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
        try:
            segments = self.segments
            if segments is None or self.todo or len(body) > LARGE or segments.pid != getpid():
                return self.keeper.append(
                    (kind, body, time_ns, flags, resource, scope, route, severity, count, duration_ns, trace, slot)
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
                if found.st_ino in segments.inodes and found.st_dev == segments.device:
                    done = write(fd, data)
            except OSError as error:
                self.keeper.failed(segments, error)
            finally:
                inflight.discard(seq)
            if done != len(data):
                segments.spare.append(seq)
                return self.keeper.append(
                    (kind, body, time_ns, flags, resource, scope, route, severity, count, duration_ns, trace, slot)
                )
            if slot >= 0:
                self._spans.clear(slot)
            if count != 1:
                segments.extra += count - 1
            if found.st_size >= segments.attention:
                self.keeper.attend(segments)
            return True
        except Exception as error:
            self._spooler.fault("append", error)
            self.losses.add("fault", count)
            return False

    def drop(self, cause: str, count: int = 1) -> None:
        """``count`` records of this series were not handed over, because of ``cause``."""
        self.losses.add(cause, count)
        self.segments = None  # so that the next append tells of it

    def note(self, text: str) -> None:
        """A sentence for the person who asks the sidecar how this service is."""
        self.append(Kind.NOTE, text.encode("utf-8", "replace"), wall_ns())
