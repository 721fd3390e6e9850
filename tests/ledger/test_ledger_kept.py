"""What exporters keep in the ledger: small values by destination and key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.events import Reporter
from shipper.ledger import Ledger
from shipper.testing.clock import FakeClock


def opened(path: Path) -> Ledger:
    return Ledger.open(path, report=Reporter(FakeClock()))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = opened(tmp_path / "ledger.db")
    yield found
    found.close()


def test_the_last_value_of_a_key_is_found_again(ledger: Ledger) -> None:
    """A value takes the place of the earlier one, None takes it away, and each destination has its own."""
    ledger.keep("a", {b"x": b"1", b"y": b"2", b"": b""})
    ledger.keep("b", {b"x": b"9"})
    ledger.keep("a", {b"x": b"3", b"y": None, b"z": None})
    ledger.close()
    again = opened(ledger._store.path)
    assert again.kept("a") == {b"x": b"3", b"": b""}
    assert again.kept("b") == {b"x": b"9"}
    assert again.kept("c") == {}
    again.close()


def test_it_is_part_of_the_transaction(ledger: Ledger) -> None:
    """Where what it belongs to fails, nothing is kept."""

    def acknowledge() -> None:
        with ledger.transaction():
            ledger.keep("a", {b"x": b"1"})
            ledger.acknowledge("a", "no such request")

    with pytest.raises((LookupError, ValueError)):
        acknowledge()
    assert ledger.kept("a") == {}


def test_a_ledger_of_before(tmp_path: Path) -> None:
    """A ledger of a version that kept nothing is taken over, with all that is in it."""
    path = tmp_path / "ledger.db"
    before = opened(path)
    before.put("life", "x")
    before.close()
    with sqlite3.connect(path) as old:
        old.execute("DROP TABLE kept")
        old.execute("PRAGMA user_version=1")
    old.close()
    now = opened(path)
    assert now.get("life") == "x"
    now.keep("a", {b"x": b"1"})
    assert now.kept("a") == {b"x": b"1"}
    now.close()
