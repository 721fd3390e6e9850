"""What a destination refuses for good is kept on disk with the reason, so that a 4xx never loses a record.

An entry is two files in a directory only the owner can read: ``<id>.binpb``, the request's bytes as they would be sent, and
``<id>.json``, what they are. The second is what makes it an entry: it is written last and removed first. The id follows from
destination and batch key, so a batch that is refused once more after a crash is still one entry.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from shipper.clock import Clock, SystemClock
from shipper.contracts import Batch, Cut, Member, Signal, StreamKind
from shipper.errors import QuarantineFull, ShipperError, StateDamaged, StateError, StateUnwritable

DIRECTORY = "quarantine"  # in the state directory
VERSION = 1
MAX_BYTES = 256 << 20
_ID = re.compile(r"[0-9a-f]{16}")
_PLAIN = (
    "id",
    "destination",
    "reason",
    "status",
    "at_ns",
    "size",
    "crc32",
)  # fields of an entry, as they are in its JSON
_PAYLOAD, _SIDECAR, _UNFINISHED = ".binpb", ".json", ".tmp"


class NotInQuarantine(ShipperError):
    """There is no entry of that id; another process may just have removed it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch set aside. ``status`` is the fixed word (``rejected``, ``too_large``), ``reason`` the destination's own.

    ``size`` (bytes) and ``crc32`` are of the payload; ``at_ns`` is the wall time it was set aside. ``batch`` carries no
    payload when it comes from `Quarantine.list`. ``name``: what people call its stream, a path for instance; empty where an
    older version set it aside.
    """

    id: str
    destination: str
    reason: str
    status: str
    at_ns: int
    size: int
    crc32: int
    batch: Batch
    name: str = ""


class Quarantine:
    """A directory (0700) of entries (0600). One process puts; others may list, read and remove at the same time."""

    def __init__(self, directory: Path, *, max_bytes: int = MAX_BYTES, clock: Clock | None = None) -> None:
        """Use ``directory``, which is made when first needed; hold at most ``max_bytes`` in it."""
        self._directory = Path(directory)
        self._max_bytes = max_bytes
        self._clock = clock or SystemClock()
        self._swept = False
        self._putting = threading.Lock()

    def put(self, batch: Batch, destination: str, reason: str, status: str, name: str = "") -> str:
        """Keep a batch of the stream that people call ``name`` durably; its id. May be called from several threads.

        Raises `StateUnwritable` when the disk does not take it (full, read-only): then nothing is kept, and the same call may
        be made again later. Raises `QuarantineFull` when ``max_bytes`` would be exceeded.
        """
        entry = Entry(
            id=entry_id(destination, batch.key),
            destination=destination,
            reason=reason,
            status=status,
            at_ns=self._clock.wall_ns(),
            size=len(batch.payload),
            crc32=zlib.crc32(batch.payload),
            batch=batch,
            name=name,
        )
        sidecar = json.dumps(_plain(entry), indent=1).encode()
        try:
            with self._putting:
                self._make_ready()
                self._check_room(entry, len(sidecar) + len(batch.payload))
                self._write(entry.id, ((_PAYLOAD, batch.payload), (_SIDECAR, sidecar)))
        except OSError as error:
            raise StateUnwritable(f"{self._directory}: {batch.key} cannot be set aside: {error.strerror}") from error
        return entry.id

    def holds(self, destination: str, key: str) -> bool:
        """Whether the batch of this key was set aside for ``destination``, whole."""
        return self._path(entry_id(destination, key), _SIDECAR).exists()

    def list(self) -> Sequence[Entry]:
        """All entries, oldest first, without payloads; those that cannot be read are left out, see `damaged`."""
        found = []
        for id_ in self._ids():
            try:
                found.append(self._describe(id_))
            except (StateDamaged, NotInQuarantine):  # `damaged` says the one, which every list shown goes with
                continue
        return sorted(found, key=lambda entry: (entry.at_ns, entry.id))

    def damaged(self) -> Sequence[StateDamaged]:
        """What is wrong with the entries that cannot be read, payloads included."""
        problems = []
        for id_ in self._ids():
            try:
                self.read(id_)
            except StateDamaged as problem:
                problems.append(problem)
            except NotInQuarantine:
                continue
        return problems

    def read(self, id_: str) -> Entry:
        """An entry with its payload. Raises `NotInQuarantine`, `StateDamaged`, or `StateError` when it may not be read."""
        entry = self._describe(id_)
        path = self._path(id_, _PAYLOAD)
        try:
            payload = path.read_bytes()
        except FileNotFoundError as error:
            raise StateDamaged(str(path), "the payload is missing") from error
        except OSError as error:
            raise StateError(f"{path} cannot be read: {error.strerror}") from error
        if len(payload) != entry.size or zlib.crc32(payload) != entry.crc32:
            raise StateDamaged(str(path), "the payload is not what was set aside")
        return replace(entry, batch=replace(entry.batch, payload=payload))

    def remove(self, id_: str) -> None:
        """Forget an entry. Raises `NotInQuarantine`, or `StateError` when it may not be removed."""
        try:
            self._path(id_, _SIDECAR).unlink()
        except FileNotFoundError as error:
            raise self._unknown(id_) from error
        except OSError as error:
            raise StateError(f"{self._path(id_, _SIDECAR)} cannot be removed: {error.strerror}") from error
        self._path(id_, _PAYLOAD).unlink(missing_ok=True)

    def _describe(self, id_: str) -> Entry:
        path = self._path(id_, _SIDECAR)
        try:
            return _parse(json.loads(path.read_bytes()))
        except FileNotFoundError as error:
            raise self._unknown(id_) from error
        except OSError as error:
            raise StateError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateDamaged(str(path), f"not a description of an entry: {error!r}") from error

    def _unknown(self, id_: str) -> NotInQuarantine:
        return NotInQuarantine(f"nothing in quarantine has the id {id_} (in {self._directory})")

    def _path(self, id_: str, suffix: str) -> Path:
        if not _ID.fullmatch(id_):  # it may have been typed: no path may come of it
            raise self._unknown(id_)
        return self._directory / f"{id_}{suffix}"

    def _names(self) -> Sequence[str]:
        try:
            return sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StateError(f"{self._directory} cannot be read: {error.strerror}") from error

    def _ids(self) -> Sequence[str]:
        names = (name.removesuffix(_SIDECAR) for name in self._names() if name.endswith(_SIDECAR))
        return [name for name in names if _ID.fullmatch(name)]

    def _make_ready(self) -> None:
        """Make the directory, and once a process remove what a crash left half-written."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._swept:
            return
        os.chmod(self._directory, 0o700)
        whole = set(self._ids())
        for name in self._names():
            if name.endswith(_UNFINISHED) or (name.endswith(_PAYLOAD) and name.removesuffix(_PAYLOAD) not in whole):
                (self._directory / name).unlink(missing_ok=True)
        self._swept = True

    def _check_room(self, entry: Entry, size: int) -> None:
        held = 0
        for name in self._names():
            if not name.startswith(entry.id):  # which is written anew
                try:
                    held += os.stat(self._directory / name).st_size
                except FileNotFoundError:  # removed by `shipper quarantine retry` this very moment
                    continue
        if held + size > self._max_bytes:
            raise QuarantineFull(
                f"{self._directory} holds {held} bytes of at most {self._max_bytes}: {entry.batch.key} does not fit; "
                "see: shipper quarantine ls"
            )

    def _write(self, id_: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Write the files of an entry in order, each whole or not at all; of a failed entry nothing is left."""
        existed = self._path(id_, _SIDECAR).exists()
        try:
            for suffix, data in files:
                unfinished = self._path(id_, suffix + _UNFINISHED)
                _write_durably(unfinished, data)
                os.rename(unfinished, self._path(id_, suffix))
            _sync_directory(self._directory)
        except BaseException:
            for suffix, _ in files:
                self._path(id_, suffix + _UNFINISHED).unlink(missing_ok=True)
                if not existed:  # else what was there is still right: the same batch gives the same bytes
                    self._path(id_, suffix).unlink(missing_ok=True)
            raise


def entry_id(destination: str, key: str) -> str:
    """The id of a batch (by its key) in the quarantine of a destination."""
    return hashlib.sha256(f"{destination}\0{key}".encode()).hexdigest()[:16]


def _plain(entry: Entry) -> dict[str, Any]:
    """An entry as the JSON beside the payload."""
    batch = entry.batch
    return {
        "version": VERSION,
        "id": entry.id,
        "destination": entry.destination,
        "status": entry.status,
        "reason": entry.reason,
        "at_ns": entry.at_ns,
        "key": batch.key,
        "life": batch.life,
        "stream": batch.stream,
        "name": entry.name,
        "signal": batch.signal,
        "kind": batch.kind,
        "cut": asdict(batch.cut),
        "members": [asdict(member) for member in batch.members],
        "size": entry.size,
        "crc32": entry.crc32,
    }


def _parse(plain: dict[str, Any]) -> Entry:
    """The entry, without its payload."""
    if plain["version"] != VERSION:
        raise ValueError(f"version {plain['version']}")
    cut = Cut(**{field.name: int(plain["cut"][field.name]) for field in fields(Cut)})
    members = tuple(Member(**{**values, "kind": StreamKind(values["kind"])}) for values in plain["members"])
    batch = Batch(plain["life"], plain["stream"], Signal(plain["signal"]), cut, b"", StreamKind(plain["kind"]), members)
    return Entry(batch=batch, name=str(plain.get("name", "")), **{name: plain[name] for name in _PLAIN})


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        os.fsync(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
