"""What one gateway knows of deploys and hosts as a document: in its own ledger, and beside the archive for the others.

Each gateway writes one file of its own and reads those of the others; all that is in them can be taken in twice and in any
order. So a deploy told to one gateway is kept alive by whichever holds the lease.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shipper.errors import ShipperError
from shipper.events import Problem, Reporter
from shipper.fleet.deploys.model import DeployEvent
from shipper.fleet.deploys.sightings import COARSE_NS, Sighting
from shipper.fleet.episodes import HostLife
from shipper.fleet.store import Store

PREFIX = "shipper/deploys/"
_VERSION = 1
_MAX_BYTES = 64 << 20  # unpacked


class BadDocument(ShipperError):
    """A document cannot be read; nothing of it is taken."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a gateway knows."""

    events: Sequence[DeployEvent]
    sightings: Sequence[Sighting]


def encode(known: Known) -> str:
    """The document; the same knowledge always gives the same, but for signs of life within `COARSE_NS`."""
    document = {
        "version": _VERSION,
        "events": [_event_row(event) for event in known.events],
        "lives": sorted(_life_row(one) for one in known.sightings),
    }
    return json.dumps(document, separators=(",", ":"))


def decode(document: str | bytes) -> Known:
    """Read a document. Raises `BadDocument`."""
    try:
        value = json.loads(document)
        if value["version"] != _VERSION:
            raise BadDocument(f"it is of version {value['version']!r}; this program knows version {_VERSION}")
        return Known(list(_events(value["events"])), [_sighting(row) for row in value["lives"]])
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise BadDocument(f"it is no document of deploys: {problem!r}") from problem


class Share:
    """The documents beside an archive. ``me``: the name of ours, our life. Methods never raise for a store in trouble."""

    def __init__(self, store: Store, me: str, *, keep_ns: int, report: Reporter) -> None:
        self._store = store
        self._key = f"{PREFIX}{me}.json.z"
        self._keep_ns = keep_ns
        self._report = report
        self._read: dict[str, tuple[int, int]] = {}  # what of the others was read: size and time
        self._written = ""

    async def read(self, now_ns: int) -> list[Known]:
        """What is new from the others."""
        try:
            return await asyncio.to_thread(self._read_new, now_ns)
        except ShipperError as problem:
            self._report(Problem("deploys", f"what other gateways know of deploys cannot be read: {problem}", "share"))
            return []

    async def write(self, document: str) -> None:
        """Make ours known, if it changed."""
        if document == self._written:
            return
        try:
            await self._store.put(self._key, zlib.compress(document.encode(), 3))
        except ShipperError as problem:
            self._report(Problem("deploys", f"other gateways cannot be told of deploys: {problem}", "share"))
        else:
            self._written = document

    def _read_new(self, now_ns: int) -> list[Known]:
        found = []
        for stored in self._store.list(PREFIX):
            version = stored.size, stored.modified_ns
            old = stored.modified_ns < now_ns - self._keep_ns
            if stored.key == self._key or old or self._read.get(stored.key) == version:
                continue
            data = self._store.get(stored.key)
            if data is None:
                continue
            try:
                found.append(decode(_unpack(data)))
            except BadDocument as problem:
                self._report(Problem("deploys", f"{stored.key} is passed over: {problem}", stored.key))
            self._read[stored.key] = version
        return found


def _unpack(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, _MAX_BYTES)
    except zlib.error as problem:
        raise BadDocument(f"it is damaged: {problem}") from problem
    if not unpacker.eof:
        raise BadDocument("it is cut off, or too large")
    return unpacked


def _event_row(event: DeployEvent) -> dict[str, Any]:
    return {name: value for name in _EMPTY if (value := getattr(event, name))}


def _life_row(one: Sighting) -> list[str | int]:
    host = one.host
    seen = one.seen_ns - one.seen_ns % COARSE_NS
    about = (host.life, host.service, host.env, host.generation, host.release, host.image)
    return [*about, host.born_ns, host.ended_ns, seen]


def _events(rows: Sequence[Mapping[str, Any]]) -> Iterator[DeployEvent]:
    for row in rows:
        event = DeployEvent(**row)
        now_ns = event.at_ns  # what lies in the future was refused by whoever took it in
        problem = "" if all(type(value) is type(_EMPTY[name]) for name, value in row.items()) else "a field's type"
        problem = problem or next(event.problems(now_ns), "")
        if problem:
            raise BadDocument(f"an event cannot be taken: {problem}")
        yield event


_EMPTY = asdict(DeployEvent(at_ns=0, service=""))


def _sighting(row: Sequence[Any]) -> Sighting:
    life, service, env, generation, release, image, born, ended, seen = row
    texts = (life, service, env, generation, release, image)
    if not (all(type(text) is str for text in texts) and all(type(at) is int for at in (born, ended, seen))):
        raise BadDocument("a life is not as it should be")
    return Sighting(HostLife(*texts, born_ns=born, ended_ns=ended), seen)
