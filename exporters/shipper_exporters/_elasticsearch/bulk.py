"""Bodies of bulk requests (https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk): made, cut and picked from.

A body is two lines for each document: what to do, and the document. The action is always ``create`` with an id made from where the
record stood in its stream, so that what is sent again is found to be there and not stored twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
from isal import isal_zlib

NDJSON = "application/x-ndjson"
_GZIP_LEVEL = 1
_GZIP_FORMAT = 31  # the zlib way to ask for a gzip header, here with its time stamp 0
_LONGEST_STREAM = 256  # an id may have 512 bytes, and has other parts
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Run:
    """Documents in a row that go to one index; the id of each is ``prefix`` and a name."""

    index: str
    prefix: str
    names: Sequence[object]


@dataclass(frozen=True, slots=True)
class Part:
    """One HTTP request: the documents from ``first`` on, ``count`` of them."""

    data: bytes = field(repr=False)
    first: int
    count: int


@dataclass(frozen=True)
class BulkBody:
    """Bulk requests that carry a `Request`.

    ``index``: the one in the URL. ``runs``: the ids of all documents in order; none when the destination makes them.
    ``owners``: for each document the numbers of the records that it carries, none when each carries the one of its own number.
    ``left_out``: how many records have no document, and ``why``.
    """

    index: str
    parts: tuple[Part, ...]
    records: int
    compressed: bool
    runs: tuple[Run, ...] = ()
    owners: tuple[tuple[int, ...], ...] = ()
    left_out: int = 0
    why: str = ""

    @property
    def wire_bytes(self) -> int:
        """Size of all requests."""
        return sum(len(part.data) for part in self.parts)

    def ids(self, part: Part) -> Iterator[tuple[str, str]]:
        """Index and id of each document of a part; nothing when the destination makes the ids."""
        every = ((run.index, f"{run.prefix}{name}") for run in self.runs for name in run.names)
        return islice(every, part.first, part.first + part.count)

    def of(self, document: int) -> Sequence[int]:
        """The records that a document carries."""
        return self.owners[document] if self.owners else (document,)

    def pick(self, part: Part, chosen: Collection[int]) -> bytes:
        """The body of a request with some documents of a part only, named by their numbers in the whole."""
        raw = isal_zlib.decompress(part.data, wbits=_GZIP_FORMAT) if self.compressed else part.data
        lines = raw.split(b"\n")  # the documents have none within: in JSON a line feed is escaped
        picked = []
        for number in sorted(chosen):
            at = 2 * (number - part.first)
            picked += lines[at : at + 2]
        return squeeze(b"\n".join([*picked, b""]), self.compressed)


def squeeze(data: bytes, compressed: bool) -> bytes:
    """A body as it goes over the wire."""
    if not compressed:
        return data
    squeezer = _squeezer()
    return bytes(squeezer.compress(data) + squeezer.flush())


def _squeezer() -> Any:
    return isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)


def id_prefix(life: str, stream: str, start: int) -> str:
    """What the ids of a batch's records begin with: equal for every resend, whoever sends it."""
    if len(stream) > _LONGEST_STREAM:
        stream = hashlib.sha256(stream.encode()).hexdigest()
    return f"{life}.{stream}.{start}."


def action(index: str, prefix: str) -> bytes:
    """The action's line up to the last part of the id; ``index`` only where it is not that of the URL."""
    where = b'"_index":%b,' % _encode(index) if index else b""
    return b'{"create":{%b"_id":%b' % (where, _encode(prefix)[:-1])


class Writer:
    """Gathers documents and cuts them into requests of at most ``most`` bytes before compression, if more than one."""

    def __init__(self, most: int, compressed: bool) -> None:
        self._most = most
        self._pending: list[bytes] = []
        self._squeezer = _squeezer() if compressed else None
        self._size = 0
        self._first = self._count = 0
        self.parts: list[Part] = []

    def add(self, items: Sequence[bytes]) -> None:
        """Append documents, each with its action before it and a line feed after both."""
        size = sum(map(len, items))
        if self._size + size <= self._most:
            self._take(items, size)
            return
        for item in items:
            if self._size + len(item) > self._most and self._size:
                self.cut()
            self._take((item,), len(item))

    def cut(self) -> None:
        """End the request under way, if there is any."""
        if self._count:
            if self._squeezer is not None:
                self._pending.append(self._squeezer.flush())
                self._squeezer = _squeezer()
            self.parts.append(Part(b"".join(self._pending), self._first, self._count))
        self._first += self._count
        self._pending, self._size, self._count = [], 0, 0

    def _take(self, items: Sequence[bytes], size: int) -> None:
        if self._squeezer is None:
            self._pending.extend(items)
        else:
            self._pending.append(self._squeezer.compress(b"".join(items)))
        self._size += size
        self._count += len(items)
