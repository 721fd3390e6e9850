"""The hand-off of this process: one directory, one series of segments for each signal, one table of open spans.

Nothing is opened before something is handed over, no thread is started, and nothing is kept across a fork: a child has its
own directory, as its own process that can live and die by itself.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, time_ns
from typing import Any

from shipper.handoff.places import check_root, first_usable
from shipper.handoff.table import SLOTS
from shipper.sdk.writer.forks import tell_of_forks
from shipper.sdk.writer.held import Held
from shipper.sdk.writer.home import Home
from shipper.sdk.writer.oldest import drop_oldest
from shipper.sdk.writer.once import Once
from shipper.sdk.writer.open_spans import OpenSpans, Table
from shipper.sdk.writer.room import DISK_FULL, IO_ERROR, NO_SPOOL, WHY, Limits, Room
from shipper.sdk.writer.series import Series
from shipper.sdk.writer.turn import Claim, Turn

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Spooler:
    """``hello`` says who this process is (fields of `handoff.hello.Hello`), asked for every segment; ``say`` tells a person.

    ``places``: where the root may come to be, if not at ``root`` only. While it is nowhere the latest records are kept.
    Never raises into the service.
    """

    def __init__(
        self,
        root: str,
        *,
        hello: Callable[[], Mapping[str, Any]],
        say: Callable[[str], None],
        limits: Limits | None = None,
        now: Callable[[], float] = monotonic,
        places: Sequence[str] = (),
    ) -> None:
        self.root = root
        self._places = tuple(places) or (root,)
        self.open_spans = OpenSpans(self._table, self._announce, self._slots_taken, self.fault)
        self._hello = hello
        self._say = say
        self._now = now
        self._limits = limits or Limits()
        self._series: dict[str, Series] = {}
        self._epoch = 0
        self._registered = False
        self.taken = 0  # how often the service closed a descriptor of ours
        self._begin()
        tell_of_forks(self)

    def _begin(self) -> None:
        self._home: Home | None = None
        self._turn = Turn()
        self._retry_at = 0.0
        self._refused = NO_SPOOL  # why there is no directory
        self.held = Held(self._limits.held_records, self._limits.held_bytes)
        self._once = Once(self._say)

    def series(self, signal: str) -> Series:
        """The series of a signal (``logs``, ``traces``, ``metrics``)."""
        found = self._series.get(signal)
        return found if found is not None else self._series.setdefault(signal, Series(signal, self))

    def usable(self) -> bool:
        """Whether records can be handed over now; leaves nothing behind."""
        home = self._home
        return (home is not None and home.ours()) or first_usable(self._places).usable

    def dropped(self) -> dict[str, int]:
        """Records that were not handed over, and faults in us, by cause."""
        totals = self._once.losses.totals()
        for series in tuple(self._series.values()):
            for cause, count in series.losses.totals().items():
                totals[cause] = totals.get(cause, 0) + count
        return totals

    def flush(self) -> None:
        """Hand over what was kept for want of a root, if there is one now. There is nothing else to flush."""
        try:
            self._retry_at = 0.0
            if self.held and self.home() is not None:
                self.held.write()
        except Exception as error:
            self.fault("flush", error)

    def close(self) -> None:
        """The process has nothing more to say: let the sidecar have all at once. What comes later begins a new directory."""
        try:
            self.flush()
            self._tell()
            if (home := self._home) is not None and home.ours():
                self._mark_ended()
                self.abandon(home, void=False)
        except Exception as error:
            self.fault("close", error)

    # what follows is for the other files of the hand-off

    def is_child(self) -> bool:
        """Whether this process was forked from the one that made the directory, and no hook told us."""
        home = self._home
        return home is not None and home.pid != os.getpid()

    def home(self) -> Home | None:
        """The process's directory, made when there is none; None when it cannot be made now."""
        if self._home is not None or self._now() < self._retry_at:
            return self._home
        mine = Claim()
        try:
            if self._turn.wait(mine) and self._home is None:
                self._home = self._make_home()
        finally:
            self._turn.give_back(mine)
        return self._home

    def interrupted(self) -> bool:
        """Whether the caller's own interrupted code is about to make the directory."""
        return self._turn.interrupted()

    def write_late(self) -> None:
        """Write what signal handlers left that interrupted an opening."""
        for series in tuple(self._series.values()):
            while series.keeper.late:
                series.append(*series.keeper.late.pop(0))

    def waits(self) -> bool:
        """Whether there is no directory because there is no root (yet)."""
        return self._home is None and self._refused == NO_SPOOL

    def _make_home(self) -> Home | None:
        root = first_usable(self._places)
        cause, why = NO_SPOOL, root.why_not
        retry = self._limits.missing_seconds if why else self._limits.retry_seconds
        try:
            if not why:
                self.root = root.path
                room = Room(self.root, self._limits)
                if not room.at_first:
                    self._at_exit()
                    return self._moved_in(Home(self.root, room, self._epoch))
                cause, why = room.at_first, WHY[room.at_first]
        except OSError as error:
            cause = DISK_FULL if error.errno in _FULL else NO_SPOOL
            why = f"no directory can be made: {error.strerror}"
        self._refused = cause
        self._at_exit()
        self._retry_at = self._now() + retry
        self._drops(cause, why)
        return None

    def _moved_in(self, home: Home) -> Home:
        room = home.room
        self._epoch += 1
        self.open_spans.table = home.table
        if room.memory:
            self._once.say(
                "memory", f"{self.root} is in memory: no more than {room.process_bytes:,} bytes are put aside"
            )
        if home.table is None:
            self._once.say("table", f"no room in {self.root} to note which spans are open when the process dies")
        return home

    def _drops(self, cause: str, why: str) -> None:
        what = "all but the latest records are dropped" if cause == NO_SPOOL else "records are dropped"
        self._once.say(cause, f"{what}: {why}" + ("" if self.root in why else f" ({self.root})"))

    def _table(self) -> Table | None:
        """The table of open spans, if there is one and records can be written."""
        if self.is_child():
            self.forked(keep=True)
        home = self.home()
        return home.table if home else None

    def _announce(self) -> None:
        """Have the declarations written that a slot is about to refer to."""
        traces = self._series.get("traces")
        if traces is not None and traces.todo:
            traces.keeper.declare()

    def _slots_taken(self, untracked: int) -> None:
        """Told at the first, the tenth, the hundredth ... span, where `shipper status` shows it."""
        if untracked == 10 ** (len(str(untracked)) - 1):
            said = (
                f"{SLOTS:,} spans are open at a time; {untracked:,} further ones would not be ended if the process died"
            )
            self._once.say("slots", said)
            self.series("traces").note(said)

    def cause(self) -> str:
        """Why a record could not be written."""
        home = self._home
        return self._refused if home is None else home.blocked or IO_ERROR

    def cannot(self, error: OSError) -> None:
        """A file could not be made."""
        home = self._home
        if home is None:
            return
        if check_root(self.root).usable and error.errno not in _FULL | {errno.EMFILE, errno.ENFILE}:
            self.abandon(home)
            self._retry_at = self._now() + self._limits.retry_seconds
        else:
            self.block(home, DISK_FULL if error.errno in _FULL else IO_ERROR, error)

    def said_of_process(self) -> dict[str, Any]:
        """What a HEAD frame says of this process."""
        facts = {"pid": os.getpid(), "argv": [text[:200] for text in sys.argv[:2]]}
        try:
            return {**facts, **self._hello()}
        except Exception as error:
            self.fault("hello", error)
            return facts

    def block(self, home: Home, cause: str, error: OSError | None = None) -> None:
        """Nothing can be written for a while: records are dropped and counted, the service goes on."""
        home.look_at = self._now() + self._limits.retry_seconds
        home.blocked = cause
        for series in tuple(self._series.values()):
            series.segments = None
        why = WHY.get(cause, cause)
        self._drops(cause, f"{why}: {error.strerror}" if error and error.strerror else why)

    def look_again(self, home: Home) -> bool:
        """Whether there is room again; looked at not more often than every few seconds."""
        if self._now() < home.look_at:
            return False
        mine = Claim()
        try:
            return home.turn.take(mine) and self._look(home)
        finally:
            home.turn.give_back(mine)

    def _look(self, home: Home) -> bool:
        home.look_at = self._now() + self._limits.retry_seconds
        try:
            with home.opened() as directory:
                cause = home.room.look(directory)
        except OSError:
            if check_root(self.root).usable:
                self.abandon(home)
            return False
        if cause:
            self.block(home, cause)
        else:
            home.blocked = ""
        return not cause

    def make_room(self, home: Home, directory: int) -> None:
        """Keep to what the process may put aside. Raises OSError."""
        if drop_oldest(tuple(self._series.values()), home, directory):
            self._once.say("oldest", f"the oldest records are dropped: {self.root} may not take more of this process")

    def taken_away(self) -> None:
        """The service closed one of our descriptors, or somebody deleted a file of ours."""
        self.taken += 1
        self._once.say("taken", "a file of the hand-off was closed by this program, or deleted; a new one is used")

    def abandon(self, home: Home, void: bool = True) -> None:
        """Leave the directory to the sidecar, as a process does that ends; the next record begins another.

        ``void``: the spans that are open go on, so nobody may take them for ended by a death.
        """
        if self._home is not home:
            return
        self._home = None
        self._retry_at = 0.0
        self.open_spans.table = None
        if void and home.table is not None:
            home.table.void()
        for series in tuple(self._series.values()):
            series.keeper.let_go()
            series.losses.leave()
        home.let_go()

    def forked(self, keep: bool = False) -> None:
        """This process is a child of the one that used this object: nothing of that one is ours.

        ``keep`` the declarations, because those who have their numbers were not told of the fork.
        """
        home = self._home
        self.open_spans.table = None
        self._begin()
        for series in tuple(self._series.values()):
            series.keeper.let_go(alone=True)
            if keep:
                series.reopen()
            else:
                series.forget()
        if home is not None:
            home.let_go()

    def fault(self, where: str, error: BaseException) -> None:
        """Something went wrong in us: counted and said once, never raised."""
        self._once.fault(where, error)

    def _at_exit(self) -> None:
        if not self._registered:
            self._registered = True
            atexit.register(self._exit)

    def _exit(self) -> None:
        try:
            self.flush()
            self.held.lose()
            self._tell()
            self._mark_ended()
        except Exception as error:
            self.fault("exit", error)

    def _tell(self) -> None:
        for series in tuple(self._series.values()):
            if series.losses.untold:
                series.keeper.tell()

    def _mark_ended(self) -> None:
        home = self._home
        if home is not None and home.table is not None and home.pid == os.getpid():
            home.table.ended(time_ns())
