"""A planned shutdown, hours ahead: systemd-logind writes it to ``/run/systemd/shutdown/scheduled`` (shutdown(8), systemctl --when).

The file is there as soon as somebody plans, goes when it is called off, and can be read without D-Bus and without rights. It is
polled: logind replaces the file and sends no signal for its property, and one open(2) a second costs nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from shipper.clock import Clock
from shipper.notice import Notice, NoticeBoard, NoticeKind, NoticeWatcher
from shipper.notices.times import Times

PATH = "run/systemd/shutdown/scheduled"
LOOK_SECONDS = 1.0
MAX_BYTES = 4096
SAME_LIFE = frozenset({"soft-reboot"})  # user space only: the kernel's boot id stays, and so does the life
OUTLIVED_SECONDS = 300.0  # a host that lives so long after its time is not going down because of it
_LATEST_USEC = 253_402_300_799_000_000  # the year 9999


@dataclass(frozen=True, slots=True)
class Planned:
    """What the file says: when (microseconds since the epoch), what (poweroff, reboot, ...), and whether it is only a rehearsal."""

    usec: int
    mode: str
    dry_run: bool


def read_planned(text: str) -> Planned:
    """Understand the file's text. Raises ValueError with a sentence on what is wrong with it."""
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    usec, mode = fields.get("USEC", "").strip(), fields.get("MODE", "").strip()
    if not (usec.isascii() and usec.isdigit()):
        raise ValueError(f"USEC= is {usec[:40]!r}, no number" if "USEC" in fields else "it has no USEC=")
    if not 0 < int(usec[:20]) <= _LATEST_USEC:
        raise ValueError(f"USEC={usec[:40]} is no time")
    if not mode.isprintable() or len(mode) > 40:
        raise ValueError("its MODE= makes no sense")
    dry = mode.startswith("dry-") or fields.get("DRY_RUN", "").strip() == "1"
    return Planned(int(usec), mode.removeprefix("dry-") or "shutdown", dry)


class ShutdownFileWatcher(NoticeWatcher):
    """Reads the file once a second. ``root``: where the file tree begins."""

    name = "shutdown-file"
    _KEY = "scheduled"

    def __init__(self, *, clock: Clock, times: Times, root: str = "/") -> None:
        self._clock = clock
        self._times = times
        self._path = os.path.join(root, PATH)
        self._said: Notice | None = None
        self._planned: Planned | None = None

    async def run(self, board: NoticeBoard) -> None:
        """See `NoticeWatcher.run`."""
        while True:
            self.look(board)
            await self._clock.sleep(LOOK_SECONDS)

    def look(self, board: NoticeBoard) -> None:
        """Look once, and say what is there."""
        try:
            planned = read_planned(self._text())
        except (FileNotFoundError, NotADirectoryError):
            self._absent(board)
        except (OSError, ValueError) as problem:
            board.unknown(self.name, f"/{PATH}: {getattr(problem, 'strerror', None) or problem}")
        else:
            self._present(board, planned)

    def _present(self, board: NoticeBoard, planned: Planned) -> None:
        board.seen(self.name)
        if planned.dry_run:
            self._take_back(board, "what is planned is a rehearsal")
        elif (
            planned != self._planned
        ):  # converted once: the wall clock may be set meanwhile, the plan's moment was fixed by it
            self._planned = planned
            what = f"{planned.mode} is scheduled (/{PATH})"
            deadline = self._times.monotonic_of(planned.usec * 1000)
            ends_life = planned.mode not in SAME_LIFE
            self._said = Notice(
                self.name, NoticeKind.SCHEDULED, what, deadline, "systemd", self._KEY, ends_life=ends_life
            )
            board.notice(self._said)
        else:
            assert self._said is not None
            board.notice(self._said)

    def _absent(self, board: NoticeBoard) -> None:
        board.seen(self.name)
        if self._said is None or self._said.deadline is None:
            return
        over = self._clock.monotonic() - self._said.deadline
        if over < -LOOK_SECONDS:
            self._take_back(board, "the shutdown was called off")
        elif over > OUTLIVED_SECONDS:
            self._take_back(board, f"the time of the shutdown passed {over:.0f} s ago and this host still lives")
        # else its time has come: newer systemd removes the file when it begins, and that is no calling off

    def _take_back(self, board: NoticeBoard, why: str) -> None:
        self._planned = None
        if self._said is not None:
            self._said = None
            board.withdrawn(self.name, self._KEY, why)

    def _text(self) -> str:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            return os.read(descriptor, MAX_BYTES).decode("utf-8", "replace")
        finally:
            os.close(descriptor)
