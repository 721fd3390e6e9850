"""What the ledger keeps in memory beside the file, taken back whenever the file's transaction is.

Values are never changed in place: a changed value replaces the old one, and the journal remembers the old one until the
COMMIT. So a call that fails, or a COMMIT that fails, leaves memory exactly as the file is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Any = object()


class Journal:
    """The old values of everything that changed since the last COMMIT, in order."""

    def __init__(self) -> None:
        self._entries: list[tuple[dict[Any, Any], Any, Any]] = []

    def remember(self, values: dict[Any, Any], key: Any) -> None:
        """Note the present value of ``key``; call before changing it."""
        self._entries.append((values, key, values.get(key, _ABSENT)))

    def mark(self) -> int:
        """A point to return to with `undo`."""
        return len(self._entries)

    def undo(self, mark: int) -> None:
        """Restore every value changed since ``mark``."""
        while len(self._entries) > mark:
            values, key, old = self._entries.pop()
            if old is _ABSENT:
                values.pop(key, None)
            else:
                values[key] = old

    def forget(self) -> None:
        """The changes are committed."""
        self._entries.clear()


class Mirror(Generic[K, V]):
    """A mapping whose changes follow the transaction they were made in."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._values: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value, or None."""
        return self._values.get(key)

    def set(self, key: K, value: V) -> None:
        """Put a new value in place of the old one."""
        self._journal.remember(self._values, key)
        self._values[key] = value

    def delete(self, key: K) -> None:
        """Take the value out."""
        self._journal.remember(self._values, key)
        del self._values[key]

    def values(self) -> Iterable[V]:
        """All values, in no promised order."""
        return self._values.values()

    def items(self) -> Iterable[tuple[K, V]]:
        """All pairs, in no promised order."""
        return self._values.items()
