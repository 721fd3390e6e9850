"""An archive in a directory: written by ourselves (temporary file, fsync, rename, fsync of the directory), because an
acknowledgement follows.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from shipper.errors import ShipperError
from shipper.fleet.store import Store, Stored, StoreUnavailable, StoreUnusable, Tagged

TEMPORARY = "shipper/tmp"
STALE_SECONDS = 3600.0  # a temporary file of this age belongs to nobody any more
# what a directory can recover from without anybody changing its set-up
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EINTR, errno.EAGAIN, errno.ESTALE}
_PASSING |= {errno.ETIMEDOUT, errno.ENOMEM, errno.EBUSY}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_VERSION = re.compile(r"\d{1,18}", re.ASCII)


class Directory(Store):
    """A directory of this host (or mounted on it)."""

    def __init__(self, root: str, *, create: bool = False) -> None:
        self._root = os.path.abspath(root)
        self._tidied = not create
        if not create and not os.path.isdir(self._root):
            raise StoreUnusable(f"{root} is not a directory")

    def list(self, prefix: str = "") -> Iterator[Stored]:
        def failed(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise _file_trouble(error) from error

        for folder, folders, files in os.walk(os.path.join(self._root, prefix), onerror=failed):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                key = os.path.relpath(path, self._root)
                if key.startswith(TEMPORARY):
                    continue
                try:
                    status = os.stat(path)
                except FileNotFoundError:
                    continue
                yield Stored(key, status.st_size, status.st_mtime_ns)

    def get(self, key: str) -> bytes | None:
        try:
            with open(self._path(key), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _file_trouble(error) from error

    async def put(self, key: str, data: bytes, *, once: bool = False, storage_class: str = "") -> None:
        await asyncio.to_thread(self._write, key, data, once)

    def _path(self, key: str) -> str:
        path = os.path.normpath(os.path.join(self._root, key))
        if not path.startswith(self._root + os.sep):
            raise StoreUnusable(f"{key!r} does not lie inside of {self._root}")
        return path

    def _write(self, key: str, data: bytes, once: bool) -> None:
        path = self._path(key)
        if once and os.path.exists(path):  # renaming is atomic, so it is whole
            return
        temporary = os.path.join(self._root, TEMPORARY, secrets.token_hex(8))
        try:
            _make_directories(os.path.dirname(temporary))
            self._tidy()
            try:
                _write_through(temporary, data)
                _make_directories(os.path.dirname(path))
                os.rename(temporary, path)
            except OSError:
                if os.path.exists(temporary):
                    os.unlink(temporary)
                raise
            _sync_directory(os.path.dirname(path))
        except OSError as error:
            raise _file_trouble(error) from error

    def _tidy(self) -> None:
        """Remove what a killed writer left, once; another writer's work is younger than that."""
        if self._tidied:
            return
        self._tidied = True
        for item in os.scandir(os.path.join(self._root, TEMPORARY)):
            with suppress(FileNotFoundError):  # its writer just finished
                if item.is_file(follow_symlinks=False) and time.time() - item.stat().st_mtime > STALE_SECONDS:
                    os.unlink(item.path)

    def read(self, key: str) -> Tagged:
        """See `Store.read`. A cell is a folder with a file for each version, of which the highest counts."""
        while True:
            version = max(self._versions(key), default=0)
            if not version:
                return Tagged(None, "0")
            data = self.get(f"{key}/{version}")
            if data is not None:  # else a later version was made, and this one removed, since we looked
                return Tagged(data, str(version))

    async def swap(self, key: str, data: bytes, tag: str) -> bool:
        return await asyncio.to_thread(self._swap, key, data, int(tag))

    def _swap(self, key: str, data: bytes, version: int) -> bool:
        """Make the next version exclusively: link() does that on network file systems, too.

        Versions are removed only when a higher one is there, so who made one that was made and removed before sees that.
        """
        folder = self._path(key)
        temporary = os.path.join(self._root, TEMPORARY, secrets.token_hex(8))
        made = os.path.join(folder, str(version + 1))
        try:
            _make_directories(os.path.dirname(temporary))
            _make_directories(folder)
            _write_through(temporary, data)
            try:
                os.link(temporary, made)
            except FileExistsError:
                return False
            finally:
                os.unlink(temporary)
            versions = self._versions(key)
            if max(versions) > version + 1:
                os.unlink(made)
                return False
            for old in versions:
                if old <= version:
                    with suppress(FileNotFoundError):  # somebody else tidies, too
                        os.unlink(os.path.join(folder, str(old)))
            return True
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise StoreUnusable(f"{folder}: this file system has no hard links, which a lease needs") from error
            raise _file_trouble(error) from error

    def _versions(self, key: str) -> Sequence[int]:
        try:
            return [int(name) for name in os.listdir(self._path(key)) if _VERSION.fullmatch(name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _file_trouble(error) from error


def _write_through(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directories(path: str) -> None:
    """Create ``path``; each new directory is durable in its parent before anything is put into it."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    _make_directories(parent)
    try:
        os.mkdir(path, 0o750)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    _sync_directory(parent)


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _file_trouble(error: OSError) -> ShipperError:
    said = f"{error.filename or 'archive directory'}: {error.strerror or error}"
    return StoreUnavailable(said) if error.errno in _PASSING else StoreUnusable(said)
