"""Where an archive lies: a directory, or a bucket of S3, Google Cloud Storage or Azure; the only file that knows obstore.

A directory is written by ourselves (temporary file, fsync, rename, fsync of the directory), because an acknowledgement
follows. Writing is async, for the exporter; reading is plain, for the commands.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from shipper.errors import MissingExtra, ShipperError

BUCKET_SCHEMES = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss")
TEMPORARY = "shipper/tmp"
GETS_AT_ONCE = 16
STALE_SECONDS = 3600.0  # a temporary file of this age belongs to nobody any more
# what a directory can recover from without anybody changing its set-up
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EINTR, errno.EAGAIN, errno.ESTALE}
_PASSING |= {errno.ETIMEDOUT, errno.ENOMEM, errno.EBUSY}
_NO_BUCKET_SERVICE = ("redirect", "Unable to extract metadata from headers")  # a wrong region; a login page
_ENDPOINT_VARIABLES: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("s3", "s3a"), ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
)
_ENDPOINT_VARIABLES |= dict.fromkeys(("az", "adl", "azure", "abfs", "abfss"), ("AZURE_STORAGE_ENDPOINT",))
_STATUS = re.compile(r"status code: (\d{3})")


class StoreUnavailable(ShipperError):
    """The place cannot be used now; the same may work later (network, 5xx, disk full)."""


class StoreUnusable(ShipperError):
    """The place cannot be used as it is set up: not there, no permission, a wrong option."""


class StoredTooLarge(ShipperError):
    """The place does not take objects of this size."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One thing in a store; ``modified_ns``: when it was last written, by the store's clock."""

    key: str
    size: int
    modified_ns: int


class Store(ABC):
    """A flat set of keys with bytes. Methods raise `StoreUnavailable` or `StoreUnusable`, ``put`` also `StoredTooLarge`."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Everything below ``prefix`` (a folder ending in ``/``, or empty), in no particular order."""

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """The bytes under ``key``; None when there is no such key."""

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """The bytes under each of many small keys, in their order."""
        return ((key, self.get(key)) for key in keys)

    @abstractmethod
    async def put(self, key: str, data: bytes) -> None:
        """Write, or overwrite, so that it is all there or not at all; returns when it is durable."""


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

    async def put(self, key: str, data: bytes) -> None:
        await asyncio.to_thread(self._write, key, data)

    def _path(self, key: str) -> str:
        path = os.path.normpath(os.path.join(self._root, key))
        if not path.startswith(self._root + os.sep):
            raise StoreUnusable(f"{key!r} does not lie inside of {self._root}")
        return path

    def _write(self, key: str, data: bytes) -> None:
        path = self._path(key)
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


class Bucket(Store):
    """A bucket, by obstore; credentials come from ``options`` or the usual environment of the cloud."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        try:
            import obstore
            from obstore.store import from_url
        except ModuleNotFoundError as missing:
            raise MissingExtra("an archive in a bucket", "sidecar") from missing
        client: dict[str, Any] = {"timeout": timedelta(seconds=120)}
        if _endpoint(url, options).startswith("http://"):  # who names such an endpoint wants plain HTTP
            client["allow_http"] = True  # left out otherwise: False would undo what the environment says
        # retries are the caller's: it knows the deadline; one silent retry chain inside would hide an outage
        self._obstore: Any = obstore
        opener: Any = from_url  # typed for literal options of one cloud at a time
        try:
            self._store: Any = opener(
                url,
                config=dict(options),
                client_options=client,
                retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=120)},
            )
        except (obstore.exceptions.BaseError, ValueError) as error:
            raise StoreUnusable(f"{url}: {_first_line(error)}") from error
        self._url = url

    def list(self, prefix: str = "") -> Iterator[Stored]:
        try:
            for chunk in self._obstore.list(self._store, prefix or None, chunk_size=1000):
                for item in chunk:
                    yield Stored(item["path"], item["size"], int(item["last_modified"].timestamp() * 1e9))
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise self._trouble(error) from error

    def get(self, key: str) -> bytes | None:
        try:
            return bytes(self._obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise self._trouble(error) from error

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """See `Store.get_many`: several at a time, as each waits for the network."""
        names = list(keys)
        with ThreadPoolExecutor(GETS_AT_ONCE) as pool:
            yield from zip(names, pool.map(self.get, names), strict=True)

    async def put(self, key: str, data: bytes) -> None:
        try:
            # one request: atomic, billed once, and nothing half-uploaded is left behind by a death
            await self._obstore.put_async(self._store, key, data, use_multipart=False)
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> ShipperError:
        """Tell set-up from weather: obstore has classes for some, and only the status in its text for the rest."""
        known = self._obstore.exceptions
        said = f"{self._url}: {_first_line(error)}"
        status = _STATUS.search(str(error))
        code = int(status.group(1)) if status else 0
        if code == 413:
            return StoredTooLarge(said)
        refused = 400 <= code < 500 and code not in (408, 429)
        setup = (known.PermissionDeniedError, known.UnauthenticatedError, known.InvalidPathError, FileNotFoundError)
        if refused or isinstance(error, setup) or any(sign in str(error) for sign in _NO_BUCKET_SERVICE):
            return StoreUnusable(said)
        return StoreUnavailable(said)


def open_store(url: str, options: Mapping[str, str] | None = None, *, create: bool = False) -> Store:
    """The store at ``url``: a path, ``file://``, ``s3://``, ``gs://`` or ``az://``.

    ``options`` are obstore's for that kind of bucket. With ``create`` a directory is made when something is first put.
    Raises `StoreUnusable` when it cannot be one.
    """
    path = local_path(url)
    if path is not None:
        return Directory(path, create=create)
    scheme = urlsplit(url).scheme
    if scheme not in BUCKET_SCHEMES:
        raise StoreUnusable(f"{url}: unknown kind of archive {scheme!r}; a directory, file://, s3://, gs:// or az://")
    return Bucket(url, options or {})


def local_path(url: str) -> str | None:
    """The directory that ``url`` names; None when it is a bucket (or nothing known)."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme == "file" and parts.netloc in ("", "localhost") else None


def is_local(url: str, options: Mapping[str, str]) -> bool:
    """True when the place is on this host: a directory, or a bucket service on a loopback address."""
    if local_path(url) is not None:
        return True
    host = urlsplit(_endpoint(url, options)).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _endpoint(url: str, options: Mapping[str, str]) -> str:
    """Where the bucket service is said to be, by the options or else the cloud's usual environment; empty: its own place."""
    for name, value in options.items():
        if name.lower().removeprefix("aws_").removeprefix("azure_storage_") in ("endpoint", "endpoint_url"):
            return value
    variables = _ENDPOINT_VARIABLES.get(urlsplit(url).scheme, ())
    return next((value for name in variables if (value := os.environ.get(name, ""))), "")


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


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
