"""The SQLite file under the ledger: opened, checked, migrated, set aside when damaged; and its transactions.

WAL with ``synchronous=NORMAL``: a COMMIT is a write into the page cache, so it costs microseconds and survives any death
of the process; what a power cut takes back is only a recent tail, and then the same ranges are shipped once more.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from shipper.errors import LedgerFull, StateDamaged, StateError, StateLocked, StateUnwritable
from shipper.ledger.journal import Journal
from shipper.ledger.schema import APPLICATION_ID, MIGRATIONS, VERSION

BUSY_MILLISECONDS = 2000
WAL_KEEP_BYTES = 8 << 20  # what a burst leaves of the log file after a checkpoint
CACHE_KIB = 1024

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNWRITABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_FAILING = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM}

P = ParamSpec("P")
T = TypeVar("T")


class Unfit(Exception):
    """The file is readable SQLite but not a ledger that can be trusted; the text says why."""


class Store:
    """One connection to one ledger file, and the journal of what memory changed since the last COMMIT."""

    def __init__(self, path: Path, *, power_safe: bool = False) -> None:
        """Open or create ``path`` (0600). ``power_safe``: every COMMIT is forced to disk.

        Raises `StateDamaged` with the file set aside, `StateUnwritable`, `StateLocked`, `LedgerFull`.
        """
        self.path = path
        self.journal = Journal()
        self._synchronous = "FULL" if power_safe else "NORMAL"
        _create(path)
        try:
            self.sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
        except sqlite3.Error as error:
            raise self._meaning(error, opening=True) from error
        try:
            self._prepare()
        except (Unfit, sqlite3.Error) as error:
            raise self.unusable(error) from error

    def unusable(self, error: Exception) -> Exception:
        """Close a file that could not be opened properly and say why: set aside, unless the disk or its owner is at fault."""
        meaning = self._meaning(error, opening=True) if isinstance(error, sqlite3.Error) else error
        if isinstance(meaning, StateError) and not isinstance(meaning, StateDamaged):
            self.sql.close()
            return meaning
        return self._set_aside(str(error))

    def _prepare(self) -> None:
        """Pragmas, the check for corruption, and the present schema."""
        self.sql.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
        self.sql.execute("PRAGMA journal_mode=WAL")
        self.sql.execute(f"PRAGMA synchronous={self._synchronous}")
        self.sql.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        self.sql.execute(f"PRAGMA journal_size_limit={WAL_KEEP_BYTES}")
        found = self.sql.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise Unfit(str(found).replace("\n", " "))
        version = int(self.sql.execute("PRAGMA user_version").fetchone()[0])
        owner = int(self.sql.execute("PRAGMA application_id").fetchone()[0])
        empty = self.sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if owner != APPLICATION_ID and not empty:
            raise Unfit("it is a database of another program")
        if version > VERSION:
            raise Unfit(f"it was written by a newer Shipper (schema {version}, this one knows {VERSION})")
        if version < VERSION:
            self._migrate(version)

    def _migrate(self, version: int) -> None:
        """Bring the file from ``version`` to the present schema, all or nothing."""
        with self.transaction():
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    self.sql.execute(statement)
            self.sql.execute(f"PRAGMA application_id={APPLICATION_ID}")
            self.sql.execute(f"PRAGMA user_version={VERSION}")

    def _set_aside(self, reason: str) -> StateDamaged:
        """Close, and move the file and its companions out of the way; the error to raise says where to."""
        self.sql.close()
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        for companion in ("-wal", "-shm", ""):  # the log first: left beside a new file it would be replayed into it
            try:
                os.rename(f"{self.path}{companion}", f"{aside}{companion}")
            except FileNotFoundError:
                continue
            except OSError as error:
                return StateDamaged(str(self.path), f"{reason}; it cannot be moved: {error.strerror}")
        return StateDamaged(str(self.path), reason, str(aside))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is done inside takes effect at the end or, on any error, not at all; may be nested.

        Raises `LedgerFull` when the disk is full or fails: then nothing inside happened, in the file or in memory.
        """
        nested = self.sql.in_transaction
        mark = self.journal.mark()
        try:
            self.sql.execute("SAVEPOINT inner" if nested else "BEGIN IMMEDIATE")
            yield
            self.sql.execute("RELEASE inner" if nested else "COMMIT")
        except BaseException as error:
            self.journal.undo(mark)
            self._roll_back(nested)
            if isinstance(error, sqlite3.Error):
                raise self._meaning(error) from error
            raise
        if not nested:
            self.journal.forget()

    def _roll_back(self, nested: bool) -> None:
        """Undo the innermost transaction. SQLite undoes a failing one by itself, then there is nothing left to undo."""
        if not self.sql.in_transaction:
            return
        if nested:
            self.sql.execute("ROLLBACK TO inner")
            self.sql.execute("RELEASE inner")
        else:
            self.sql.execute("ROLLBACK")

    def _meaning(self, error: sqlite3.Error, *, opening: bool = False) -> Exception:
        """The Shipper error for what SQLite says; an error that only a bug can cause is returned as it is."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED:
            return StateDamaged(str(self.path), str(error))
        if code in _LOCKED:
            return StateLocked(f"{self.path} is in use by another process ({error})")
        if code in _UNWRITABLE and opening:
            return StateUnwritable(f"{self.path} cannot be opened for writing ({error})")
        if code in _FAILING or code in _UNWRITABLE:
            return LedgerFull(f"{self.path} cannot be written ({error}); free space on its disk")
        return error

    def close(self) -> None:
        """Close the file; its log is folded into it."""
        self.sql.close()


class Part:
    """One concern of the ledger. All parts share the store; `Ledger` is the sum of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sql = store.sql


L = TypeVar("L", bound=Part)


def atomic(method: Callable[Concatenate[L, P], T]) -> Callable[Concatenate[L, P], T]:
    """Make a method a transaction of its own, unless it is called inside one.

    Methods check their arguments before they write, so that a refused call inside a larger transaction changed nothing.
    """

    @wraps(method)
    def inside(self: L, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self._sql.in_transaction:
            return method(self, *args, **kwargs)
        with self._store.transaction():
            return method(self, *args, **kwargs)

    return inside


def _create(path: Path) -> None:
    """Make the file with the right mode before SQLite does; its companions take the mode over."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except IsADirectoryError as error:
        raise StateError(f"{path} is a directory where the ledger should be; move it away") from error
    except OSError as error:
        raise StateUnwritable(f"{path} cannot be opened for writing ({error.strerror})") from error
