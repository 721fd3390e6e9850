"""What exporters want to find again after a restart: small values by key, written with the acknowledgement they belong to.

So what an exporter remembers of what its destination has is neither older nor newer than the cursors.
"""

from __future__ import annotations

from collections.abc import Mapping

from shipper.ledger.store import Part, atomic


class Kept(Part):
    """Keys and values of each destination; what they mean only its exporter knows."""

    def kept(self, destination: str) -> dict[bytes, bytes]:
        """All of one destination."""
        rows = self._sql.execute("SELECT key, value FROM kept WHERE destination = ?", (destination,))
        return {bytes(key): bytes(value) for key, value in rows}

    @atomic
    def keep(self, destination: str, values: Mapping[bytes, bytes | None]) -> None:
        """Put these in the place of earlier ones; None: there is none any more."""
        gone = [(destination, key) for key, value in values.items() if value is None]
        there = [(destination, key, value) for key, value in values.items() if value is not None]
        self._sql.executemany("DELETE FROM kept WHERE destination = ? AND key = ?", gone)
        self._sql.executemany(
            "INSERT INTO kept VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", there
        )
