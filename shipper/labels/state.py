"""The state directory: made private, proved writable, held by one sidecar at a time, written atomically.

Files are opened without following symbolic links: a directory others may write in must not make us write elsewhere.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from types import TracebackType

from shipper.errors import StateError, StateLocked, StateUnwritable

LOCK_FILE = "lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_held: set[tuple[int, int]] = set()  # POSIX locks do not exclude the own process, so that is done here


def prepare_state_dir(path: str) -> None:
    """Make the directory (mode 0711) if it is missing, and see that it can be written.

    Others may pass it, because services hand over in the spool below, and see nothing: what is private in it is 0600.

    Raises `StateUnwritable`, whose text names the mount to add. A directory that exists keeps its mode: who made it
    (systemd, an image) decided it.
    """
    try:
        os.makedirs(path, mode=0o711, exist_ok=True)
    except FileExistsError:
        raise StateUnwritable(f"{path} is not a directory; set SHIPPER_STATE_DIR to one that can be written") from None
    except OSError as error:
        raise unwritable(path, error) from error
    if not os.access(path, os.W_OK | os.X_OK):
        code = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
        raise unwritable(path, OSError(code, os.strerror(code)))


def unwritable(path: str, error: OSError) -> StateUnwritable:
    """The error for a state directory that cannot be written, with what to do about it."""
    what = f"the state directory {path} cannot be written ({(error.strerror or str(error)).lower()})"
    if error.errno in _FULL:
        return StateUnwritable(f"{what}: make room on that disk, or set SHIPPER_STATE_DIR to another")
    return StateUnwritable(
        f"{what}: mount a writable directory at {path} (docker: -v shipper-state:{path}; Kubernetes: an emptyDir "
        f"with mountPath: {path}; systemd: StateDirectory=shipper), or set SHIPPER_STATE_DIR"
    )


class StateLock:
    """A held state directory; releases it when closed, and when the process dies in whatever way."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._key = _key(descriptor)
        _held.add(self._key)

    def close(self) -> None:
        """Let go of the directory; may be called again."""
        if self._descriptor >= 0:
            _held.discard(self._key)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> StateLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def lock_state(path: str) -> StateLock:
    """Take the state directory for this process. Raises `StateLocked` naming the pid of who has it, `StateUnwritable`."""
    prepare_state_dir(path)
    name = os.path.join(path, LOCK_FILE)
    if _is_held_here(name):  # before opening: closing any descriptor of the file would release the lock we hold
        raise StateLocked(f"{path} is in use by this process already (pid {os.getpid()})")
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _not_openable(name, path, error) from error
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise StateError(f"{name} cannot be locked ({error.strerror}); use a local disk for the state") from error
        who = f"pid {holder}" if holder.isdecimal() else "its pid is not known"
        raise StateLocked(
            f"another shipper ({who}) runs on {path}; stop it, or set SHIPPER_STATE_DIR to a directory of its own"
        ) from None
    lock = StateLock(path, descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        if error.errno not in _FULL:  # on a full disk the lock holds all the same; only the pid cannot be told
            lock.close()
            raise unwritable(path, error) from error
    return lock


def _not_openable(name: str, path: str, error: OSError) -> StateError:
    if error.errno == errno.ELOOP:
        return StateError(f"{name} is a symbolic link, which is not followed; remove it")
    if error.errno == errno.EISDIR:
        return StateError(f"{name} is a directory; remove it")
    return unwritable(path, error)


def _is_held_here(name: str) -> bool:
    try:
        found = os.lstat(name)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) in _held


def _key(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def read_private(path: str, limit: int) -> bytes:
    """The content of one of our files. Raises OSError; also (ELOOP) for a symbolic link and (EINVAL) for what is no file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    with open(descriptor, "rb") as file:
        return file.read(limit)


def write_atomically(path: str, content: bytes, mode: int = 0o600) -> None:
    """Replace a file so that after a crash it holds the old content or the new, on disk. Raises OSError."""
    directory, name = os.path.split(path)
    draft = os.path.join(directory, f".{name}.{os.getpid()}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask says
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, path)
    except OSError:
        os.unlink(draft)
        raise
    sync_directory(directory)


def sync_directory(path: str) -> None:
    """Make renames within a directory durable."""
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
