"""Everything about a series that is seldom: opening it, declarations, rotation, a full disk, a descriptor that was taken away.

What changes the file is done by the thread that has the turn. Nobody waits for it but those who cannot go on without (the
very first append, frames that are large), and those who meet a rotation, for a few milliseconds at most.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from time import sleep, time_ns
from typing import TYPE_CHECKING

from shipper.handoff.frame import MAX_BODY, Kind, pack
from shipper.handoff.hello import build_hello
from shipper.handoff.places import check_root
from shipper.sdk.writer.record import Record, declaration, dropped
from shipper.sdk.writer.room import DISK_FULL, IO_ERROR, NO_SPOOL
from shipper.sdk.writer.segments import LARGE, Segments
from shipper.sdk.writer.turn import Claim, Turn

if TYPE_CHECKING:
    from shipper.sdk.writer.series import Series
    from shipper.sdk.writer.spooler import Spooler

TOO_LARGE = "too_large"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_ELSEWHERE = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.EROFS})
_OVERDUE = 2  # a segment that cannot be followed by the next may grow to so many times its size
_WAITS = 50


class Keeper:
    """The seldom half of `Series`."""

    def __init__(self, series: Series, spooler: Spooler) -> None:
        self.segments: Segments | None = None  # whatever there is to do; `Series.segments` is None while there is
        self.turn = Turn()
        self._series = series
        self._spooler = spooler
        self.late: list[Record] = []  # of signal handlers that interrupted the opening

    def append(self, record: Record) -> bool:
        """As `Series.append`, whatever there is to do before."""
        if len(record.body) > MAX_BODY:
            self._series.losses.add(TOO_LARGE, record.worth)
            return False
        if self._spooler.is_child():  # by a fork that ran no hooks
            self._spooler.forked(keep=True)
            return self._series.append(*record)
        done: bool | None = None
        for _ in range(3):
            segments = self._ready()
            if segments is None and (self.turn.interrupted() or self._spooler.interrupted()):
                self.late.append(record)  # the interrupted opening writes it; it cannot be waited for here
                return True
            done = segments is not None and self._write(segments, record)
            if done is not None:
                break
        self._spooler.open_spans.clear(record.slot)
        if not done and self._spooler.waits():
            self._spooler.held.add(self._series, record)
        elif not done and record.worth:
            self._series.losses.add(self._spooler.cause(), record.worth)
        return bool(done)

    def declare(self) -> None:
        """Write declarations that no segment holds yet, for those who refer to them outside of it."""
        if (segments := self._ready()) is not None:
            self._write(segments, None)

    def tell(self) -> None:
        """Write down what was lost, although no record comes; only where something was written before."""
        segments = self.segments
        if segments is not None and segments.pid == os.getpid() and not segments.home.blocked:
            self._write(segments, None)

    def _ready(self) -> Segments | None:
        """The segments to write to; None when there are none, or no room."""
        segments = self.segments
        if segments is None or segments.pid != os.getpid():
            return self._open()
        if segments.home.blocked and not self._spooler.look_again(segments.home):
            return None
        for _ in range(_WAITS):
            if not segments.turning or self.turn.interrupted():
                break
            sleep(0.0002)
        return self.segments

    def _open(self) -> Segments | None:
        mine = Claim()
        try:
            if not self.turn.wait(mine):
                return None
            home = self._spooler.home()
            if home is None or (home.blocked and not self._spooler.look_again(home)):
                return None
            if self.segments is None:
                self.segments = Segments(home, self._series.signal, self._preamble)
        except OSError as error:
            self._spooler.cannot(error)
            return None
        finally:
            self.turn.give_back(mine)
        self._spooler.held.write()
        self._spooler.write_late()
        return self.segments

    def _preamble(self, base: int, number: Callable[[], int]) -> bytes:
        """What a segment begins with."""
        first = number()
        hello = build_hello(self._series.signal, base, first, time_ns(), self._spooler.said_of_process())
        frames = [pack(Kind.HEAD, first, hello.body(), time_ns=hello.created_ns)]
        frames += [declaration(number(), *declared) for declared in tuple(self._series.declared)]
        if totals := self._series.losses.to_tell():
            frames.append(dropped(number(), totals))
        return b"".join(frames)

    def _write(self, segments: Segments, record: Record | None) -> bool | None:
        """Write the record and what must stand before it. False: there is no room; None: try again."""
        series = self._series
        turns, turning = segments.turns, segments.turning
        numbers: list[int] = []
        frames: list[bytes] = []

        def number() -> int:
            numbers.append(segments.number())
            return numbers[-1]

        todo = dict(series.todo)
        totals = series.losses.to_tell() if series.losses.untold else None
        try:
            for (kind, identity), body in todo.items():
                frames.append(declaration(number(), kind, identity, body))
            if totals:
                frames.append(dropped(number(), totals))
            others = len(frames)
            if record is not None:
                others += not record.worth
                frames.append(record.frame(number()))
                self._spooler.open_spans.ending(record.slot, numbers[-1])
        except Exception:
            segments.spare += numbers
            raise
        done = self._put(segments, frames, numbers) if frames else True
        if not done:
            return done
        segments.others += others
        if record is not None and record.worth:
            segments.extra += record.worth - 1
        if totals:
            series.losses.told(totals)
        if segments.turns == turns and not turning and not segments.turning:
            for key in todo:  # no rotation meanwhile: they are in the current segment
                series.todo.pop(key, None)
        self._restore(segments)
        return True

    def _restore(self, segments: Segments) -> None:
        """Let the next append take the short way, unless there is something to do; and see to what is due."""
        if not segments.spare and self.segments is segments:
            self._series.segments = segments
            if segments.turning or segments.home.blocked:
                self._series.segments = None
        if segments.ours() and segments.size() >= segments.attention:
            self.attend(segments)

    def _put(self, segments: Segments, frames: list[bytes], numbers: list[int]) -> bool | None:
        """Write the frames with one call; numbers of those that did not get there are used again."""
        data = b"".join(frames)
        done = 0
        failure: OSError | None = None
        mine = Claim()
        try:
            if len(data) > LARGE:
                self.turn.wait(mine)
            segments.inflight.update(numbers)
            if segments.ours():
                done = os.write(segments.fd, data)
            else:
                failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
        except OSError as error:
            failure = error
        finally:
            segments.inflight.difference_update(numbers)
            self.turn.give_back(mine)
        if done == len(data):
            return True
        end = 0
        for frame, number in zip(frames, numbers, strict=True):
            end += len(frame)
            if end > done:
                segments.spare.append(number)
        return None if self.failed(segments, failure) else False

    def failed(self, segments: Segments, error: OSError | None) -> bool:
        """What a write means that failed or was short (no error): True when it is worth another try."""
        if error is not None and error.errno == errno.EBADF:
            return self._repair(segments)
        if error is not None and error.errno == errno.EFBIG and self._follow(segments):
            return True
        full = error is None or error.errno in _FULL
        self._spooler.block(segments.home, DISK_FULL if full else IO_ERROR, error)
        return False

    def _follow(self, segments: Segments) -> bool:
        """Rotate because a limit on the size of files is reached before ours."""
        mine = Claim()
        try:
            if not self.turn.wait(mine) or segments.size() < 2 * LARGE:  # a new one would be at its limit at once
                return False
            self._rotate(segments, mine)
            return True
        except OSError:
            return False
        finally:
            self.turn.give_back(mine)

    def _rotate(self, segments: Segments, mine: Claim) -> None:
        segments.turner = mine.reference
        self._series.segments = None  # appends come to us, and wait for a moment
        segments.rotate()
        self._restore(segments)

    def _repair(self, segments: Segments) -> bool:
        """The descriptor is closed or another's: go on in a new segment, or in a new directory when the lock is gone too."""
        mine = Claim()
        try:
            if not self.turn.wait(mine):
                return False
            if self.segments is segments and not segments.ours():
                self._spooler.taken_away()
                if segments.home.ours():
                    segments.turner = mine.reference
                    self._series.segments = None
                    segments.replace()
                else:
                    self._spooler.abandon(segments.home)
        except OSError as error:
            self._gone(segments, error)
        finally:
            self.turn.give_back(mine)
        return True

    def attend(self, segments: Segments) -> None:
        """Look at the room, rotate when the segment is large enough, seal old ones; by one thread, others go on."""
        mine = Claim()
        try:
            if not self.turn.take(mine):
                return
            size = segments.size()
            if size < segments.attention:
                return
            home = segments.home
            with home.opened() as directory:
                if cause := home.room.look(directory):
                    self._spooler.block(home, cause)
                elif size >= home.room.segment_bytes:
                    self._rotate(segments, mine)
                    self._spooler.make_room(home, directory)
                else:
                    segments.seal()
            segments.plan()
        except OSError as error:
            self._gone(segments, error)
        except Exception as error:  # the record that led here is written
            self._spooler.fault("attend", error)
        finally:
            self.turn.give_back(mine)

    def _gone(self, segments: Segments, error: OSError) -> None:
        """The directory cannot be used any more (removed, or the service changed its user): begin another, where one can."""
        home = segments.home
        if error.errno == errno.EBADF:
            return  # taken away just now: the next append sees to it
        if error.errno in _FULL:
            self._spooler.block(home, DISK_FULL, error)
        elif error.errno in _ELSEWHERE and check_root(self._spooler.root).usable:
            self._spooler.abandon(home)
        elif not segments.ours() or segments.size() > _OVERDUE * home.room.segment_bytes:
            self._spooler.block(home, NO_SPOOL if error.errno in _ELSEWHERE else IO_ERROR, error)
        else:
            segments.plan()

    def let_go(self, alone: bool = False) -> None:
        """Leave the files; ``alone`` as in `Segments.let_go`."""
        segments, self.segments = self.segments, None
        self._series.segments = None
        if segments is not None:
            segments.let_go(alone)
