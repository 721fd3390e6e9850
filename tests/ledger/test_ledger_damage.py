"""Files that are not what a ledger should be, and disks that do not take it."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.contracts import Cut, Signal, StreamKind
from shipper.errors import LedgerFull, StateDamaged, StateError, StateLocked, StateUnwritable
from shipper.events import Reporter
from shipper.ledger import Ledger, StreamRow
from shipper.testing.clock import FakeClock


def open_ledger(path: Path) -> Ledger:
    """Open a ledger with a clock nobody moves."""
    return Ledger.open(path, report=Reporter(FakeClock()))


def make(path: Path) -> None:
    """A ledger with a stream, something acknowledged and something in flight."""
    ledger = open_ledger(path)
    ledger.put_stream(StreamRow("a", StreamKind.DATA, Signal.LOGS, "test", "a", 0))
    ledger.commit("otlp", "r1", Signal.LOGS, [("a", Cut(0, 10, 0, 10, 3, 1))])
    ledger.acknowledge("otlp", "r1")
    ledger.commit("otlp", "r2", Signal.LOGS, [("a", Cut(10, 20, 10, 20, 3, 1))])
    ledger.close()


def run_sql(statement: str) -> Callable[[Path], None]:
    """A way to damage a ledger."""

    def damage(path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    return damage


def overwrite(offset: int, data: bytes) -> Callable[[Path], None]:
    """Another way: bytes of the file change under it."""

    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    return damage


def cut_short(path: Path) -> None:
    """The end of the file is gone."""
    os.truncate(path, path.stat().st_size - 4096 - 100)


DAMAGES = {
    "not a database": overwrite(0, b"this is a log file, not a ledger\n" * 8),
    "pages of zeros": overwrite(4096, bytes(3 * 4096)),
    "pages of noise": overwrite(4096, b"\xa5\x17" * 6000),
    "truncated": cut_short,
    "of another program": run_sql("PRAGMA application_id=77"),
    "of a newer version": run_sql("PRAGMA user_version=99"),
    "a table is missing": run_sql("DROP TABLE intervals"),
    "counts that do not add up": run_sql('UPDATE cursors SET "read" = "read" + 1'),
    "a range that is nowhere": run_sql("DELETE FROM intervals"),
    "a range that is twice": run_sql('UPDATE intervals SET "end" = 15'),
    "a cursor on no stream": run_sql("DELETE FROM streams"),
    "a request that is no JSON": run_sql("UPDATE requests SET cuts = '['"),
    "a request on no stream": run_sql("UPDATE requests SET cuts = replace(cuts, '\"a\"', '\"b\"')"),
    "an unknown signal": run_sql("UPDATE streams SET signal = 'smoke'"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_ledger_is_set_aside_and_a_new_one_begun(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """A file that cannot be trusted is moved away as it is, the error says where, and opening again begins anew."""
    path = tmp_path / "ledger.db"
    make(path)
    damage(path)
    with pytest.raises(StateDamaged) as caught:
        open_ledger(path)
    assert caught.value.set_aside == f"{path}.damaged-1"
    assert Path(caught.value.set_aside).exists()
    assert not list(tmp_path.glob("ledger.db-*"))
    ledger = open_ledger(path)
    assert ledger.streams() == []
    ledger.close()


def test_each_damaged_file_gets_a_name_of_its_own(tmp_path: Path) -> None:
    """A second damaged ledger does not replace the first one set aside; its log goes with it."""
    path = tmp_path / "ledger.db"
    for number in (1, 2):
        path.write_bytes(b"rubbish" * 1000)
        Path(f"{path}-wal").write_bytes(b"rubbish")
        with pytest.raises(StateDamaged) as caught:
            open_ledger(path)
        assert caught.value.set_aside == f"{path}.damaged-{number}"


def test_an_empty_file_is_a_new_ledger(tmp_path: Path) -> None:
    """A file of no bytes, as a crash right after its creation leaves it, is simply begun."""
    path = tmp_path / "ledger.db"
    path.touch()
    open_ledger(path).close()


def test_the_files_are_private(tmp_path: Path) -> None:
    """The ledger and its companions can be read by their owner only, whatever the umask says."""
    old = os.umask(0)
    try:
        ledger = open_ledger(tmp_path / "ledger.db")
        ledger.put("a", "b")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(old)
    ledger.close()
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


def test_places_where_no_ledger_can_be(tmp_path: Path) -> None:
    """A directory in its place or a missing parent is a clear error that names the path."""
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(StateError, match=r"ledger\.db is a directory"):
        open_ledger(tmp_path / "ledger.db")
    with pytest.raises(StateUnwritable, match=r"nowhere/ledger\.db cannot be opened"):
        open_ledger(tmp_path / "nowhere" / "ledger.db")


def test_a_ledger_held_by_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write lock that does not go away is said to be another process, and nothing changes."""
    monkeypatch.setattr("shipper.ledger.store.BUSY_MILLISECONDS", 1)
    ledger = open_ledger(tmp_path / "ledger.db")
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateLocked, match="another process"):
        ledger.put("a", "b")
    other.execute("ROLLBACK")
    other.close()
    assert ledger.get("a") is None
    ledger.put("a", "b")
    ledger.close()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from shipper.contracts import Cut, Signal, StreamKind
from shipper.errors import LedgerFull
from shipper.events import Reporter
from shipper.ledger import Ledger, StreamRow
from shipper.testing.clock import FakeClock

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger.open(Path(sys.argv[1]), report=Reporter(FakeClock()))
ledger.put_stream(StreamRow("a", StreamKind.DATA, Signal.LOGS, "test", "a", 0))
at, failed = 0, 0
for round in range(4):
    resource.setrlimit(resource.RLIMIT_FSIZE, ((round + 1) * 64 * 1024, -1))  # no file may grow beyond
    while True:
        before = ledger.cursor("otlp", "a"), ledger.open_requests("otlp")
        try:
            ledger.commit("otlp", f"r{at}", Signal.LOGS, [("a", Cut(at, at + 5, at, at + 5, 2, 1))])
        except LedgerFull as error:
            assert "cannot be written" in str(error), error
            assert before == (ledger.cursor("otlp", "a"), ledger.open_requests("otlp"))
            failed += 1
            break
        at += 5
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    ledger.commit("otlp", f"r{at}", Signal.LOGS, [("a", Cut(at, at + 5, at, at + 5, 2, 1))])
    at += 5
ledger.close()
ledger = Ledger.open(Path(sys.argv[1]), report=Reporter(FakeClock()))
assert ledger.cursor("otlp", "a").cut_to == at
assert len(ledger.open_requests("otlp")) == at // 5
print("failed", failed)
"""


def test_a_write_that_fails_changes_nothing_and_may_be_repeated(tmp_path: Path) -> None:
    """When the system refuses to write, `LedgerFull` is raised, memory and file are as before, and later it works."""
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "ledger.db")], capture_output=True, text=True, check=False
    )
    assert child.stdout == "failed 4\n", child.stderr


def test_a_full_database_is_no_damage(tmp_path: Path) -> None:
    """SQLite's own word for a full disk is `LedgerFull`, and once there is room the same call succeeds."""
    ledger = open_ledger(tmp_path / "ledger.db")
    ledger.put("a", "small")
    ledger._store.sql.execute("PRAGMA max_page_count=1")
    with pytest.raises(LedgerFull, match="full"):
        ledger.put("a", "x" * 100_000)
    assert ledger.get("a") == "small"
    ledger._store.sql.execute("PRAGMA max_page_count=1000")
    ledger.put("a", "x" * 100_000)
    ledger.close()


def test_requests_without_an_outcome_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Opening a ledger with requests in flight says that they will be sent again."""
    make(tmp_path / "ledger.db")
    with caplog.at_level("INFO", logger="shipper"):
        open_ledger(tmp_path / "ledger.db").close()
    assert "1 requests without an outcome" in caplog.text
