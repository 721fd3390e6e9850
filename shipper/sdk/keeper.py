"""Everything about a series that is seldom: opening it, declarations, rotation, a full disk, a descriptor that was taken away.

One `Keeper` belongs to one series. What changes the file is done by the thread that has the turn; nobody else waits for it
but those who cannot go on without (the very first append, and frames that are large).
"""

from __future__ import annotations

import errno
import json
import os
from time import monotonic, sleep, time_ns
from typing import TYPE_CHECKING

from shipper.handoff.frame import MAX_BODY, Kind, pack
from shipper.handoff.hello import build_hello
from shipper.handoff.places import check_root
from shipper.sdk.room import DISK_FULL
from shipper.sdk.segments import LARGE, Segments
from shipper.sdk.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipper.sdk.series import Series
    from shipper.sdk.spooler import Spooler

NO_SPOOL = "no_spool"
TOO_LARGE = "too_large"
IO_ERROR = "io_error"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_ELSEWHERE = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.EROFS})
_OVERDUE = 4  # segments that cannot be followed by the next may grow to so many times their size
Record = tuple[int, bytes, int, int, int, int, int, int, int, int, int, int]
_FIELD = {Kind.RESOURCE: "resource", Kind.SCOPE: "scope", Kind.ROUTE: "route"}


class Keeper:
    """The seldom half of `Series`."""

    def __init__(self, series: Series, spooler: Spooler) -> None:
        self.segments: Segments | None = None
        self.turn = Turn()
        self._series = series
        self._spooler = spooler
        self._late: list[Record] = []  # of signal handlers that interrupted the opening

    def append(self, record: Record) -> bool:
        """As `Series.append`, whatever there is to do before."""
        if len(record[1]) > MAX_BODY:
            self._series.losses.add(TOO_LARGE, record[8])
            return False
        for _ in range(3):
            segments = self.ready()
            if segments is None:
                if self.turn.mine():
                    self._late.append(record)
                    return True
                break
            done = self._write(segments, record)
            if done:
                self._spooler.open_spans.clear(record[11])
                return True
            if done is False:
                break
        if record[0] in (Kind.SPAN, Kind.LOG, Kind.REQUEST):
            self._series.losses.add(self._cause(), record[8])
        return False

    def _cause(self) -> str:
        home = self.segments.home if self.segments else None
        return (home.blocked if home else "") or NO_SPOOL

    def ready(self) -> Segments | None:
        """The segments to write to; None when there are none, or no room."""
        segments = self.segments
        if segments is None or segments.pid != os.getpid():
            return self._open()
        if segments.home.blocked and not self._spooler.look_again(segments.home):
            return None
        return segments

    def _open(self) -> Segments | None:
        if not hold(self.turn):
            return None
        try:
            if self.segments is not None and self.segments.pid == os.getpid():
                return self.segments
            home = self._spooler.home()
            if home is None or home.blocked:
                return None
            try:
                self.segments = Segments(home, self._series.signal, self._preamble)
            except OSError as error:
                self._spooler.block(home, DISK_FULL if error.errno in _FULL else IO_ERROR, error)
                return None
        finally:
            self.turn.give_back()
        while self._late:
            self._series.append(*self._late.pop(0))
        return self.segments

    def _preamble(self, base: int, first: int, number: Callable[[], int]) -> tuple[bytes, int]:
        """What a segment begins with."""
        hello = build_hello(self._series.signal, base, first, time_ns(), self._spooler.said_of_process())
        frames = [pack(Kind.HEAD, first, hello.body(), time_ns=hello.created_ns)]
        frames += [_declaration(number(), *declared) for declared in tuple(self._series.declared)]
        if totals := self._series.losses.totals():
            frames.append(_dropped(number(), totals))
        return b"".join(frames), len(frames)

    def _write(self, segments: Segments, record: Record) -> bool | None:
        """Write the record and what must stand before it. False: there is no room; None: try again."""
        series = self._series
        turns = segments.turns
        todo = dict(series.todo)
        numbers = []
        frames = []
        for (kind, identity), body in todo.items():
            numbers.append(segments.number())
            frames.append(_declaration(numbers[-1], kind, identity, body))
        totals = series.losses.totals() if series.losses.untold else None
        if totals:
            numbers.append(segments.number())
            frames.append(_dropped(numbers[-1], totals))
        numbers.append(segments.number())
        kind, body, at, flags, resource, scope, route, severity, count, duration, trace, slot = record
        frames.append(
            pack(
                kind, numbers[-1], body, time_ns=at, flags=flags, resource=resource, scope=scope, route=route,
                severity=severity, count=count, duration_ns=duration, trace=trace,
            )
        )  # fmt: skip
        if slot >= 0:
            self._spooler.open_spans.ending(slot, numbers[-1])
        done = self._put(segments, frames, numbers)
        if not done:
            return done
        segments.others += len(frames) - 1
        segments.extra += count - 1
        if totals:
            series.losses.told(totals)
        if turns == segments.turns and not turns & 1:  # no rotation meanwhile: they are in the current segment
            for key in todo:
                series.todo.pop(key, None)
        if not segments.spare:
            series.segments = segments
            if segments.home.blocked:
                series.segments = None
        if os.fstat(segments.fd).st_size >= segments.attention:
            self.attend(segments)
        return True

    def _put(self, segments: Segments, frames: list[bytes], numbers: list[int]) -> bool | None:
        data = b"".join(frames)
        held = len(data) > LARGE and hold(self.turn)
        done = 0
        try:
            segments.inflight.update(numbers)
            if segments.ours():
                done = os.write(segments.fd, data)
                if done < len(data):
                    self._spooler.block(segments.home, DISK_FULL)
                outcome: bool | None = done == len(data)
            else:
                outcome = None
        except OSError as error:
            outcome = self.failed(segments, error)
        finally:
            segments.inflight.difference_update(numbers)
            if held:
                self.turn.give_back()
        end = 0
        for frame, number in zip(frames, numbers, strict=True):
            end += len(frame)
            if end > done:
                segments.spare.append(number)
        if outcome is None:
            self._repair(segments)
        return outcome

    def failed(self, segments: Segments, error: OSError) -> bool | None:
        """What a failed write means: False: no room, None: try again (the descriptor is not ours any more)."""
        if error.errno == errno.EBADF:
            return None
        if error.errno == errno.EFBIG and self._follow(segments):
            return None
        self._spooler.block(segments.home, DISK_FULL if error.errno in _FULL else IO_ERROR, error)
        return False

    def _follow(self, segments: Segments) -> bool:
        if not hold(self.turn):
            return False
        try:
            segments.rotate()
        except OSError:
            return False
        finally:
            self.turn.give_back()
        return True

    def _repair(self, segments: Segments) -> None:
        """The descriptor is closed or another's: go on in a new segment, or in a new directory when the lock is gone too."""
        if not hold(self.turn):
            return
        try:
            if self.segments is not segments or segments.ours():
                return
            self._spooler.taken_away()
            if not segments.home.ours():
                self._spooler.abandon(segments.home)
                return
            try:
                segments.replace()
            except OSError as error:
                self._gone(segments, error)
        finally:
            self.turn.give_back()

    def attend(self, segments: Segments) -> None:
        """Look at the room, rotate when the segment is large enough, seal old ones; by one thread, others go on."""
        if not self.turn.take():
            return
        try:
            size = os.fstat(segments.fd).st_size
            with segments.home.opened() as directory:
                if cause := segments.home.room.look(directory):
                    self._spooler.block(segments.home, cause)
                if size >= segments.home.room.segment_bytes:
                    segments.rotate()
                    self._spooler.make_room(segments.home, directory)
            segments.seal()
            segments.plan(os.fstat(segments.fd).st_size)
        except OSError as error:
            self._gone(segments, error)
        finally:
            self.turn.give_back()

    def _gone(self, segments: Segments, error: OSError) -> None:
        """The directory cannot be used any more (removed, or the service changed its user): begin another, where one can."""
        home = segments.home
        if error.errno in _FULL:
            self._spooler.block(home, DISK_FULL, error)
        elif error.errno in _ELSEWHERE and check_root(self._spooler.root).usable:
            self._spooler.abandon(home)
        elif not segments.ours() or os.fstat(segments.fd).st_size > _OVERDUE * home.room.segment_bytes:
            self._spooler.block(home, IO_ERROR, error)
        else:
            segments.plan(os.fstat(segments.fd).st_size)

    def tell(self) -> None:
        """Write down what was lost, without a record."""
        segments = self.segments
        totals = self._series.losses.totals()
        if segments is not None and segments.pid == os.getpid():
            number = segments.number()
            if self._put(segments, [_dropped(number, totals)], [number]):
                self._series.losses.told(totals)

    def let_go(self) -> None:
        """Close the files."""
        segments, self.segments = self.segments, None
        self._series.segments = None
        if segments is not None:
            segments.let_go()


def hold(turn: Turn) -> bool:
    """Wait for the turn; False when the caller's own interrupted code has it, or it does not come within some seconds."""
    give_up = monotonic() + 5.0
    while not turn.take():
        if turn.mine() or monotonic() > give_up:
            return False
        sleep(0.0002)
    return True


def _declaration(number: int, kind: int, identity: int, body: bytes) -> bytes:
    return pack(kind, number, body, **{_FIELD[Kind(kind)]: identity})


def _dropped(number: int, totals: dict[str, int]) -> bytes:
    return pack(Kind.DROPPED, number, json.dumps(totals).encode(), time_ns=time_ns())
