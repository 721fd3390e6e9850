"""Where the hand-off lies, and what its directories and files are called.

The root is made by the sidecar or by ``shipper bake``, never by a service: a service that may make it could be made to
make it where somebody else wants it. A place below /tmp that can be guessed is none for the same reason.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shipper.paths import SYSTEM_STATE_DIR, default_state_dir

ALIVE = "alive"
"""The file whose POSIX lock says that the process lives; it holds the table of open spans."""
CARD = "host.json"
"""What the sidecar says about the host, in the root."""
SIGNALS = ("logs", "traces", "metrics")
_PROCESS = re.compile(r"p(\d{1,10})-([0-9a-f]{16})", re.ASCII)
_SEGMENT = re.compile(r"(logs|traces|metrics)-(\d{20})\.seg", re.ASCII)


@dataclass(frozen=True, slots=True)
class Root:
    """A place for the hand-off. ``why_not`` is empty when this process can use it, else a sentence for a person."""

    path: str
    why_not: str = ""

    @property
    def usable(self) -> bool:
        """Whether a process directory can be made in it."""
        return not self.why_not


def root_places(env: Mapping[str, str]) -> tuple[str, ...]:
    """Where a root may be, or come to be: what the environment names, else the host's place and then the user's own."""
    if stated := _stated(env):
        return (stated,)
    return tuple(os.path.join(state, "spool") for state in dict.fromkeys((SYSTEM_STATE_DIR, default_state_dir(env))))


def find_root(env: Mapping[str, str]) -> Root:
    """Where this process hands over: the first of `root_places` that it can use, else the first, with why not."""
    return first_usable(root_places(env))


def first_usable(places: Sequence[str]) -> Root:
    """The first place that this process can use, else the first of all, with why not."""
    first = check_root(places[0])
    if first.usable:
        return first
    return next((root for root in map(check_root, places[1:]) if root.usable), first)


def root_path(env: Mapping[str, str]) -> str:
    """Where a sidecar with these variables and no other setting has its root."""
    return _stated(env) or os.path.join(default_state_dir(env), "spool")


def _stated(env: Mapping[str, str]) -> str:
    if spool := env.get("SHIPPER_SPOOL_DIR"):
        return spool
    state = env.get("SHIPPER_STATE_DIR")
    return os.path.join(state, "spool") if state else ""


def check_root(path: str) -> Root:
    """Whether this process can make its directory there, and if not, why."""
    if not os.path.isabs(path):
        return Root(path, f"the spool directory {path} is not an absolute path")
    try:
        descriptor = open_root(path)
    except OSError as error:
        return Root(path, why_not_open(path, error))
    try:
        if os.access(".", os.W_OK | os.X_OK, dir_fd=descriptor, effective_ids=True):
            return Root(path)
        return Root(path, _why_not_written(path, descriptor))
    finally:
        os.close(descriptor)


def open_root(path: str) -> int:
    """A descriptor by which names below the root are reached; raises OSError, for a symbolic link too.

    ``O_PATH``, because services may write and search the root but not list it.
    """
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def why_not_open(path: str, error: OSError) -> str:
    """A sentence on why the root could not be opened."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return f"there is no spool directory {path}: no sidecar has run here, or it is in a volume that is not mounted"
    except OSError as failed:
        return f"the spool directory {path} cannot be reached: {failed.strerror}"
    if stat.S_ISLNK(mode):
        return f"the spool directory {path} is a symbolic link, which is not followed"
    if not stat.S_ISDIR(mode):
        return f"{path} is not a directory"
    return f"the spool directory {path} cannot be opened: {error.strerror}"


def _why_not_written(path: str, descriptor: int) -> str:
    found = os.fstat(descriptor)
    if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
        return f"the spool directory {path} is on a file system that is mounted read-only"
    return (
        f"the spool directory {path} (mode {stat.S_IMODE(found.st_mode):04o}, uid {found.st_uid}) cannot be written by "
        f"uid {os.geteuid()}"
    )


def process_name(pid: int) -> str:
    """A new name of a process directory; nobody can guess it."""
    return f"p{pid}-{os.urandom(8).hex()}"


def parse_process(name: str) -> int | None:
    """The pid (in its own PID namespace) in the name of a process directory; None for another name."""
    match = _PROCESS.fullmatch(name)
    return int(match[1]) if match else None


def segment_name(signal: str, base: int) -> str:
    """The name of the segment of ``signal`` whose first byte has the position ``base``."""
    return f"{signal}-{base:020d}.seg"


def parse_segment(name: str) -> tuple[str, int] | None:
    """Signal and base in the name of a segment; None for another name."""
    match = _SEGMENT.fullmatch(name)
    return (match[1], int(match[2])) if match else None
