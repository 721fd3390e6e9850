"""Whose end a drain waits for, where the configuration says so (``drain.wait_for``).

Each is looked at from the start of the run on, for two reasons. A name that was never seen alive (a typing error, a service
of another host) says nothing when it is not there: "gone" and "never was" must not be mixed up. And a process is held by a
descriptor from then on, so that another one that gets its number later is not taken for it.
"""

from __future__ import annotations

import os
import re
import select
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from shipper.clock import Clock
from shipper.drain import cgroups
from shipper.errors import ConfigError
from shipper.events import Problem, Reporter

LOOK_SECONDS = 2.0  # how often all are looked at while no drain is under way
SEARCH_SECONDS = 1.0  # how often a control group that is not there is searched for, at most
WHERE = "drain.wait_for"
KINDS = "unit:NAME, cgroup:PATH, pid:NUMBER, pidfile:PATH or container:ID"


class Ending(ABC):
    """One whose end can be waited for."""

    def __init__(self, entry: str) -> None:
        self.entry = entry
        self._seen = False

    def ended(self, now: float) -> bool | None:
        """True it was seen alive and is gone, False it lives, None that cannot be told (``now``: monotonic seconds)."""
        alive = self._alive(now)
        if alive:
            self._seen = True
            return False
        return None if alive is None or not self._seen else True

    @abstractmethod
    def _alive(self, now: float) -> bool | None:
        """Whether it is there now; None when it cannot be looked at."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of descriptors."""


class GroupEnding(Ending):
    """A unit, a container or a control group: it lives while a process is in its group or below it."""

    def __init__(self, entry: str, root: Path, part: str, *, whole: bool) -> None:
        """``part``: the name of the group, or with ``whole`` false a part of it, or an absolute path."""
        super().__init__(entry)
        self._root = root
        self._part = part
        self._whole = whole
        self._groups = [Path(part)] if part.startswith("/") else []
        self._fixed = bool(self._groups)
        self._search_at = float("-inf")

    def _alive(self, now: float) -> bool | None:
        answers = [cgroups.populated(group) for group in self._groups]
        if True in answers:
            return True
        if not self._fixed and now >= self._search_at:  # not yet found, or it was restarted elsewhere
            self._search_at = now + SEARCH_SECONDS
            try:
                found = cgroups.find(self._root, self._part, whole=self._whole)
            except OSError:
                return None
            self._groups = found or self._groups
            answers = [cgroups.populated(group) for group in self._groups]
        if not answers or None in answers:
            return None
        return True in answers


class PidEnding(Ending):
    """A process by its number, as it was when it was first looked at."""

    def __init__(self, entry: str, pid: int) -> None:
        super().__init__(entry)
        self._process = Process(pid)

    def _alive(self, now: float) -> bool | None:
        return self._process.alive()

    def close(self) -> None:
        """See `Ending.close`."""
        self._process.close()


class PidFileEnding(Ending):
    """The process whose number stands in a file; when another number stands there, that one."""

    def __init__(self, entry: str, path: Path) -> None:
        super().__init__(entry)
        self._path = path
        self._process: Process | None = None

    def _alive(self, now: float) -> bool | None:
        pid = self._read()
        if pid is not None and (self._process is None or self._process.pid != pid):
            self.close()
            self._process = Process(pid)
        # A file that is gone or empty says nothing: daemons remove it before they end.
        return self._process.alive() if self._process is not None else None

    def _read(self) -> int | None:
        try:
            with open(self._path, "rb") as file:
                text = file.read(32).strip()
        except OSError:
            return None
        return int(text) if text.isdigit() and int(text) > 0 else None

    def close(self) -> None:
        """See `Ending.close`."""
        if self._process is not None:
            self._process.close()
            self._process = None


class Process:
    """One process, held by a descriptor so that its number can be given away without our being fooled."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._gone = False
        self._fd = -1
        self._open()

    def alive(self) -> bool | None:
        """Whether it has not ended; None when it cannot be looked at."""
        if self._gone:
            return False
        if self._fd < 0 and not self._open():
            return False if self._gone else None
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if poll.poll(0):  # readable once it has ended, also while its parent has not yet asked
            self._gone = True
            self.close()
            return False
        return True

    def close(self) -> None:
        """Let go of the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        try:
            self._fd = os.pidfd_open(self.pid)
        except (ProcessLookupError, OverflowError):
            self._gone = True
        except OSError:  # not allowed here, or a kernel before 5.3
            return False
        return self._fd >= 0


def parse(entry: str, where: str, root: Path = Path("/")) -> Ending:
    """An entry of ``drain.wait_for``. Raises `ConfigError` naming ``where`` it stands."""
    kind, _, rest = entry.partition(":")
    rest = rest.strip()
    if not rest:
        raise ConfigError(where, f"{entry!r} names nobody; wanted is {KINDS}")
    if kind == "unit":
        if "/" in rest:
            raise ConfigError(where, f"{rest!r} is not the name of a unit")
        return GroupEnding(entry, root, rest if "." in rest else f"{rest}.service", whole=True)
    if kind == "cgroup":
        path = rest if rest.startswith("/sys/fs/cgroup/") else "/sys/fs/cgroup/" + rest.strip("/")
        return GroupEnding(entry, root, str(root / path.lstrip("/")), whole=True)
    if kind == "container":
        if not re.fullmatch(r"[0-9a-f]{12,64}", rest):
            raise ConfigError(where, f"{rest!r} is not a container's id: 12 to 64 of 0-9 and a-f, not its name")
        return GroupEnding(entry, root, rest, whole=False)
    if kind == "pid":
        if not (rest.isascii() and rest.isdigit() and 0 < int(rest) < 1 << 22):
            raise ConfigError(where, f"{rest!r} is not the number of a process")
        return PidEnding(entry, int(rest))
    if kind == "pidfile":
        if not rest.startswith("/"):
            raise ConfigError(where, f"{rest!r} is not an absolute path")
        return PidFileEnding(entry, Path(rest))
    raise ConfigError(where, f"{entry!r} is not known; wanted is {KINDS}")


class Endings:
    """All whose end is waited for. ``entries`` as they stand in the configuration; raises `ConfigError` for a wrong one."""

    def __init__(self, entries: Sequence[str], *, clock: Clock, report: Reporter, root: Path = Path("/")) -> None:
        self._clock = clock
        self._report = report
        self._all = [parse(entry, f"{WHERE}[{index}]", root) for index, entry in enumerate(entries)]
        self._unknown: set[str] = set()

    async def run(self) -> None:
        """Get to know them, until cancelled; then let go of them."""
        try:
            while True:
                self._look()
                await self._clock.sleep(LOOK_SECONDS)
        finally:
            for ending in self._all:
                ending.close()

    def ended(self) -> bool | None:
        """False while any of them lives, True when all have ended, None when that cannot be told of some (or none is named).

        One that cannot be told is said, once; a drain then goes by the others and by quiet.
        """
        answers = self._look()
        for entry, answer in answers.items():
            if answer is None and entry not in self._unknown:
                self._unknown.add(entry)
                self._report(
                    Problem("wait-for", f"{entry} was not seen alive here: the drain does not wait for it", entry)
                )
        if False in answers.values():
            return False
        return None if None in answers.values() or not answers else True

    def describe(self) -> list[str]:
        """Each entry with what is known of it."""
        words = {True: "ended", False: "alive", None: "never seen"}
        return [f"{entry} ({words[answer]})" for entry, answer in self._look().items()]

    def _look(self) -> dict[str, bool | None]:
        now = self._clock.monotonic()
        return {ending.entry: ending.ended(now) for ending in self._all}
