"""An archive in a bucket of S3, Google Cloud Storage or Azure; the only file that knows obstore."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from shipper.errors import MissingExtra, ShipperError
from shipper.fleet.store import (
    SLOWEST,
    Store,
    Stored,
    StoredTooLarge,
    StoreUnavailable,
    StoreUnusable,
    Tagged,
    endpoint_of,
)

GETS_AT_ONCE = 16
PARTS_FROM = 64 << 20  # bytes from which an object goes in parts, of which only those that fail are sent again
PART = 16 << 20
PARTS_AT_ONCE = 4
_NO_BUCKET_SERVICE = ("redirect", "Unable to extract metadata from headers")  # a wrong region; a login page
_STATUS = re.compile(r"status code: (\d{3})")


class Bucket(Store):
    """A bucket, by obstore; credentials come from ``options`` or the usual environment of the cloud."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        try:
            import obstore
            from obstore.store import from_url
        except ModuleNotFoundError as missing:
            raise MissingExtra("an archive in a bucket", "sidecar") from missing
        client: dict[str, Any] = {"timeout": timedelta(seconds=120 + PARTS_FROM / SLOWEST)}  # of one request
        if endpoint_of(url, options).startswith("http://"):  # who names such an endpoint wants plain HTTP
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

    async def put(self, key: str, data: bytes, *, once: bool = False, storage_class: str = "") -> None:
        """See `Store.put`. One request up to `PARTS_FROM`: billed once, and nothing half-uploaded is left behind by a death."""
        known = self._obstore.exceptions
        how: dict[str, Any] = {"attributes": {"Storage-Class": storage_class}} if storage_class else {}
        if once:  # parts cannot be put on a condition
            how |= {"mode": "create", "use_multipart": False}
        else:
            how |= {"use_multipart": len(data) > PARTS_FROM, "chunk_size": PART, "max_concurrency": PARTS_AT_ONCE}
        try:
            await self._obstore.put_async(self._store, key, data, **how)
        except (known.AlreadyExistsError, known.PreconditionError, FileExistsError):
            if not once:
                raise
        except (known.BaseError, OSError) as error:
            raise self._trouble(error) from error

    def read(self, key: str) -> Tagged:
        try:
            found = self._obstore.get(self._store, key)
            version = found.meta
            # which of the two tells versions apart depends on the cloud
            return Tagged(bytes(found.bytes()), f"{version['e_tag'] or ''}\n{version['version'] or ''}")
        except FileNotFoundError:
            return Tagged(None, "")
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise self._trouble(error) from error

    async def swap(self, key: str, data: bytes, tag: str) -> bool:
        """See `Store.swap`: a put on the condition that the object is not there, or still has its entity tag."""
        known = self._obstore.exceptions
        e_tag, _, version = tag.partition("\n")
        named = {"e_tag": e_tag, "version": version}
        mode: Any = {name: value for name, value in named.items() if value} if tag else "create"
        try:
            await self._obstore.put_async(self._store, key, data, mode=mode, use_multipart=False)
        except (known.AlreadyExistsError, known.PreconditionError, FileExistsError):
            return False
        except (known.NotSupportedError, NotImplementedError) as error:
            raise StoreUnusable(f"{self._url}: this bucket cannot put on a condition, which a lease needs") from error
        except (known.BaseError, OSError) as error:
            raise self._trouble(error) from error
        return True

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


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
