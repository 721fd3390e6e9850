"""The root of the hand-off, in which anybody may make a name: what is a process directory, and what is not."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection
from contextlib import suppress

from shipper.errors import StateError
from shipper.handoff.jobs import is_job
from shipper.handoff.liveness import is_alive
from shipper.handoff.places import ALIVE, CARD, SIGNALS, parse_process
from shipper.sources.services.place import Place, Strange

_OURS = frozenset({CARD, *SIGNALS})


def claim(path: str) -> int:
    """A descriptor that keeps other sidecars from reading the same root; -1 where it cannot be read, which is said elsewhere.

    Two of them would ship everything twice and delete what the other has not shipped. Raises `StateError`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StateError(
            f"another sidecar ships what services put in {path}: give this one a spool_dir of its own, or services.enabled: false"
        ) from None
    except OSError:
        pass  # a file system without locks
    return descriptor


class Root:
    """Looks through the root. ``say`` gets (kind of problem, sentence, about)."""

    def __init__(self, path: str, max_per_user: int, say: Callable[[str, str, str], None]) -> None:
        self.path = path
        self._max_per_user = max_per_user
        self._say = say

    def names(self) -> set[str]:
        """Names of what may be process directories. Raises OSError."""
        found: set[str] = set()
        others = 0
        example = ""
        with os.scandir(self.path) as entries:
            for entry in entries:
                if parse_process(entry.name) is not None:
                    found.add(entry.name)
                elif entry.name not in _OURS and not entry.name.startswith(".") and not is_job(entry.name):
                    others += 1
                    example = entry.name
        if others:
            self._say(
                "services-stranger",
                f"{self.path} has {others} entries that no service made (such as {example[:80]!r}); they are ignored",
                "name",
            )
        return found

    def places(self, names: Collection[str], known: dict[int, int]) -> list[Place]:
        """The directories of these names that are to be followed. ``known``: how many are, by user; it is counted on."""
        taken: list[Place] = []
        for name in sorted(names):
            try:
                place = Place.at(self.path, name)
            except FileNotFoundError:
                continue
            except (OSError, Strange) as problem:
                self._say("services-stranger", f"{os.path.join(self.path, name)} is ignored: {problem}", "entry")
                continue
            if known.get(place.uid, 0) >= self._max_per_user:
                self._say(
                    "services-many",
                    f"uid {place.uid} has more than {self._max_per_user} processes in {self.path}: further ones wait "
                    "until some of these are gone",
                    str(place.uid),
                )
                continue
            known[place.uid] = known.get(place.uid, 0) + 1
            taken.append(place)
        return taken

    def sweep(self, before: float) -> None:
        """Remove what a death left that came before its directory, or our card, had its name; last changed ``before``
        (seconds since the epoch). What cannot be removed harms nobody and stays."""
        with suppress(OSError):
            for name in os.listdir(self.path):
                if name.startswith(f".{CARD}-") and os.lstat(self._at(name)).st_uid == os.geteuid():
                    os.unlink(self._at(name))
                elif name.startswith(".") and parse_process(name[1:]) is not None:
                    self._sweep(name, before)

    def _sweep(self, name: str, before: float) -> None:
        with suppress(OSError, Strange):
            with Place.at(self.path, name).opened() as directory:
                if os.fstat(directory).st_mtime >= before:
                    return
                with suppress(FileNotFoundError):
                    if is_alive(self._at(os.path.join(name, ALIVE))):
                        return
                    os.unlink(ALIVE, dir_fd=directory)
            os.rmdir(self._at(name))

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name)
