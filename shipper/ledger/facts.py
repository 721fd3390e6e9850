"""Small facts that outlive the process: the life, and how its accounts are numbered."""

from __future__ import annotations

from shipper.ledger.store import Part, atomic


class Facts(Part):
    """Key and value, and the (run, seq) numbers of the account."""

    def get(self, key: str) -> str | None:
        """The fact, or None when it was never put."""
        row = self._sql.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    @atomic
    def put(self, key: str, value: str) -> None:
        """Remember a fact in place of the earlier one."""
        self._sql.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
        )

    @atomic
    def begin_run(self) -> int:
        """Number the run that begins now (1, 2, ...); its accounts are numbered from 1 again."""
        run = int(self.get("run") or 0) + 1
        self.put("run", str(run))
        self.put("seq", "0")
        return run

    @atomic
    def next_seq(self) -> int:
        """The number of the next account of this run; a number is never given twice, whatever dies in between."""
        seq = int(self.get("seq") or 0) + 1
        self.put("seq", str(seq))
        return seq
