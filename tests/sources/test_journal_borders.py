"""Which entries are an earlier life's: all of its boot, and of the present boot what it had seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.events import Reporter
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger
from shipper.sources.journal.borders import draw, take, told_only
from shipper.sources.journal.settings import Choice, JournalSettings
from shipper.sources.journal.source import recall, row_of
from shipper.testing.clock import FakeClock
from tests.sources.journal_kit import BOOT, OTHER_BOOT, needs_remote, write

pytestmark = needs_remote
REPORT = Reporter(FakeClock())


def ledger(path: Path) -> Ledger:
    return Ledger.open(path, report=REPORT)


@pytest.fixture
def journal(tmp_path: Path) -> JournalSettings:
    """Ten entries of the earlier boot, five of the present one."""
    write(tmp_path / "j" / "a.journal", [f"old {n}" for n in range(10)], boot=OTHER_BOOT)
    write(tmp_path / "j" / "a.journal", [f"new {n}" for n in range(5)], first=11, boot=BOOT)
    return JournalSettings(directories=(str(tmp_path / "j"),), choice=Choice(boot=bytes.fromhex(OTHER_BOOT)))


def sequence(settings: JournalSettings) -> str:
    data = (Path(settings.directories[0]) / "a.journal").read_bytes()
    return data[72:88].hex()


def test_an_earlier_boot_is_the_earlier_lifes_to_its_last_entry(tmp_path: Path, journal: JournalSettings) -> None:
    """Though it had seen only three of its entries; the new life goes on behind, whenever it is told."""
    old, new, of = ledger(tmp_path / "old.db"), ledger(tmp_path / "new.db"), sequence(journal)
    old.put_stream(row_of(journal, of, 1024, 4 * 1024))
    for _ in range(2):
        drawn = draw(old, [journal], {}, other_boot=journal.choice.boot, report=REPORT)
        take(new, drawn)
    (row,) = old.streams()
    assert (row.size, row.finished) == (11 * 1024, True)
    assert recall(new, "journal") == ([], True, {of: 11})


def test_a_life_that_was_killed_before_it_looked_still_owns_its_boot(tmp_path: Path, journal: JournalSettings) -> None:
    """Entries of its boot that it never saw are shipped as its own, unless it was told to leave them out."""
    old = ledger(tmp_path / "old.db")
    draw(old, [journal], {}, other_boot=journal.choice.boot, report=REPORT)
    (row,) = old.streams()
    assert (row.start, row.size, row.finished) == (1024, 11 * 1024, True)
    late = JournalSettings(directories=journal.directories, choice=journal.choice, from_beginning=False)
    other = ledger(tmp_path / "other.db")
    assert draw(other, [late], {}, other_boot=journal.choice.boot, report=REPORT) == {}


def test_in_the_present_boot_it_owns_what_it_had_seen(tmp_path: Path, journal: JournalSettings) -> None:
    """Another container on the same kernel: the border is the end it had seen, or what a destination says it has."""
    of = sequence(journal)
    for name, told, end in (("a", {}, 13), ("b", {f"journal-{of}": IntervalSet([(11 * 1024, 14 * 1024)])}, 14)):
        old = ledger(tmp_path / f"{name}.db")
        old.put_stream(row_of(journal, of, 11 * 1024, 13 * 1024))
        assert draw(old, [journal], told, other_boot=b"", report=REPORT) == {"journal": {of: end}}


def test_a_life_without_a_ledger_is_told_by_destinations(journal: JournalSettings) -> None:
    """What they say they have of it, from its beginning on, is not read again; other streams are nothing of ours."""
    of = sequence(journal)
    told = {f"app-logs-{of}": IntervalSet([(0, 5 * 1024 + 1), (9 * 1024, 10 * 1024)]), "file-1": IntervalSet([(0, 9)])}
    assert told_only(told) == {"app-logs": {of: 6}}
