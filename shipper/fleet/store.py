"""Where an archive lies: a directory, or a bucket of S3, Google Cloud Storage or Azure; what both have in common.

Writing is async, for the exporter; reading is plain, for the commands.
"""

from __future__ import annotations

import ipaddress
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from shipper.errors import ShipperError

BUCKET_SCHEMES = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss")
SLOWEST = 128 << 10
"""Bytes a second, a megabit, below which a connection is of no use: whoever waits for a transfer allows for its size by this."""
_ENDPOINT_VARIABLES: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("s3", "s3a"), ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
)
_ENDPOINT_VARIABLES |= dict.fromkeys(("az", "adl", "azure", "abfs", "abfss"), ("AZURE_STORAGE_ENDPOINT",))

_OF_CONNECTIONS = frozenset(
    {
        *("allow_http", "allow_invalid_certificates", "connect_timeout", "default_content_type", "proxy_url"),
        *("proxy_ca_certificate", "proxy_excludes", "pool_idle_timeout", "pool_max_idle_per_host", "timeout"),
        *("http1_only", "http2_only", "http2_keep_alive_interval", "http2_keep_alive_timeout", "http2_max_frame_size"),
        *("http2_keep_alive_while_idle", "randomize_addresses", "read_timeout", "user_agent"),
    }
)
"""Options that obstore knows of connections. Among those of a bucket it answers them with a panic instead of an error."""


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


@dataclass(frozen=True, slots=True)
class Tagged:
    """Bytes (None: nothing there) with a tag that names this version of them."""

    data: bytes | None
    tag: str


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
    async def put(self, key: str, data: bytes, *, once: bool = False, storage_class: str = "") -> None:
        """Write, or overwrite, so that it is all there or not at all; returns when it is durable.

        ``once``: what is already there stays, and counts as written. ``storage_class``: a bucket's own name for one.
        """

    @abstractmethod
    def read(self, key: str) -> Tagged:
        """What lies under ``key`` with a tag of its version: for what several write, by `swap` only."""

    @abstractmethod
    async def swap(self, key: str, data: bytes, tag: str) -> bool:
        """Write if what lies there still has the tag that `read` gave; False when somebody was faster.

        Whoever reads sees the old or the new, never nothing and never a part. Raises `StoreUnusable` also where the place
        cannot do that.
        """


def open_store(url: str, options: Mapping[str, str] | None = None, *, create: bool = False) -> Store:
    """The store at ``url``: a path, ``file://``, ``s3://``, ``gs://`` or ``az://``.

    ``options`` are obstore's for that kind of bucket. With ``create`` a directory is made when something is first put.
    Raises `StoreUnusable` when it cannot be one.
    """
    path = local_path(url)
    if path is not None:
        from shipper.fleet.directory import Directory

        return Directory(path, create=create)
    if problem := wrong_option(options or {}):
        raise StoreUnusable(f"{url}: {problem}")
    scheme = urlsplit(url).scheme
    if scheme not in BUCKET_SCHEMES:
        raise StoreUnusable(f"{url}: unknown kind of archive {scheme!r}; a directory, file://, s3://, gs:// or az://")
    from shipper.fleet.bucket import Bucket  # here, as who keeps a directory needs none of its parts

    return Bucket(url, options or {})


def local_path(url: str) -> str | None:
    """The directory that ``url`` names; None when it is a bucket (or nothing known)."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme == "file" and parts.netloc in ("", "localhost") else None


def wrong_option(options: Mapping[str, str]) -> str:
    """What is wrong with the names of a bucket's options, as far as that is known without opening it; empty: nothing."""
    for name in options:
        if name.lower() in _OF_CONNECTIONS:
            return f"{name} is no option of a bucket; for plain HTTP an endpoint that begins with http:// is enough"
    return ""


def is_local(url: str, options: Mapping[str, str]) -> bool:
    """True when the place is on this host: a directory, or a bucket service on a loopback address."""
    if local_path(url) is not None:
        return True
    host = urlsplit(endpoint_of(url, options)).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def endpoint_of(url: str, options: Mapping[str, str]) -> str:
    """Where the bucket service is said to be, by the options or else the cloud's usual environment; empty: its own place."""
    for name, value in options.items():
        if name.lower().removeprefix("aws_").removeprefix("azure_storage_") in ("endpoint", "endpoint_url"):
            return value
    variables = _ENDPOINT_VARIABLES.get(urlsplit(url).scheme, ())
    return next((value for name in variables if (value := os.environ.get(name, ""))), "")
