"""What earlier lives of this host left in the state directory: one directory each, until all of it is shipped."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass

from shipper.labels.aside import move
from shipper.labels.life import LIFE_FILE, REMAINS, SET_ASIDE, SPOOL, LifeRecord
from shipper.labels.state import read_private, sync_directory

_MAX_BYTES = 64 * 1024
_DONE = ".done-"


@dataclass(frozen=True, slots=True)
class EarlierLife:
    """A life that has ended, and where its remains lie; ``spool``: what services handed over in it."""

    record: LifeRecord
    directory: str
    spool: str

    @property
    def life(self) -> str:
        """Its id."""
        return self.record.life


def earlier_lives(state_dir: str, spool_dir: str) -> tuple[list[EarlierLife], list[str]]:
    """All of which something is left, the oldest first; and directories that nobody can tell the life of.

    Raises OSError.
    """
    home = os.path.join(state_dir, REMAINS)
    found: list[EarlierLife] = []
    unknown: list[str] = []
    try:
        names = os.listdir(home)
    except FileNotFoundError:
        return [], []
    for name in names:
        directory = os.path.join(home, name)
        if name.startswith(_DONE):
            _remove(state_dir, spool_dir, name.removeprefix(_DONE))
            continue
        try:
            record = LifeRecord.parse(read_private(os.path.join(directory, LIFE_FILE), _MAX_BYTES))
        except (OSError, ValueError):
            unknown.append(directory)
        else:
            found.append(EarlierLife(record, directory, spool_of(state_dir, spool_dir, name)))
    return sorted(found, key=lambda earlier: (earlier.record.born_ns, earlier.life)), sorted(unknown)


def spool_of(state_dir: str, spool_dir: str, name: str) -> str:
    """Where directories of processes of that life go: beside its ledger, or beside the spool on another file system."""
    with suppress(OSError):
        if os.stat(spool_dir).st_dev != os.stat(state_dir).st_dev:
            return os.path.join(spool_dir, f".{REMAINS}-{name}")
    return os.path.join(state_dir, REMAINS, name, SPOOL)


def delete(earlier: EarlierLife) -> None:
    """All of it is shipped: remove it. After a crash in the middle the next look goes on. Raises OSError."""
    home, name = os.path.split(earlier.directory)
    os.rename(earlier.directory, os.path.join(home, _DONE + name))
    sync_directory(home)
    if os.path.dirname(earlier.spool) != earlier.directory:
        shutil.rmtree(earlier.spool, ignore_errors=True)
    shutil.rmtree(os.path.join(home, _DONE + name), ignore_errors=True)


def set_aside(state_dir: str, directory: str) -> str:
    """It cannot be shipped: put it where nothing is shipped from; where it is now. Raises OSError."""
    return move(directory, os.path.join(state_dir, SET_ASIDE))


def _remove(state_dir: str, spool_dir: str, name: str) -> None:
    shutil.rmtree(os.path.join(spool_dir, f".{REMAINS}-{name}"), ignore_errors=True)
    shutil.rmtree(os.path.join(state_dir, REMAINS, _DONE + name), ignore_errors=True)
