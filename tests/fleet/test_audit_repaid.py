"""What an audit says of a life whose fallback stood in during an outage: lent, repaid, or given up before it could be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shipper.contracts import Batch
from shipper.fleet.archive import Archive
from shipper.fleet.audit import audit
from shipper.fleet.cover import completed, cover
from shipper.fleet.holdings import Stored
from shipper.testing.clock import START_WALL_NS
from tests.fleet.archives import LINE, SECOND, Writer, batch, claims, statement
from tests.fleet.test_audit_fallback import destination, only, ranges

NOW = START_WALL_NS + 3600 * SECOND


def word(what: str, home: list[tuple[int, int]], rescue: list[tuple[int, int]], **of_home: Any) -> Batch:
    """A statement about thirty lines: what the one and the other have of them."""
    stream = claims(30)
    stream["size"] = 30 * LINE
    stream["destinations"] = {"gw": destination(home, **of_home), "rescue": destination(rescue)}
    ended = {"ends_life": True, "outcome": "drained"} if what == "farewell" else {}
    return statement("a", what, 2, [stream], fallback="rescue", **ended)


def two(directory: Path) -> tuple[Writer, Writer]:
    (directory / "gw").mkdir()
    (directory / "rescue").mkdir()
    return Writer(directory / "gw"), Writer(directory / "rescue")


def test_what_was_repaid_is_there_once(tmp_path: Path) -> None:
    """Both have it, cut differently; with both archives it is neither a duplicate nor an overlap, and counted once."""
    home, rescue = two(tmp_path)
    said = word("farewell", [(0, 30)], [(8, 19)])
    home.put(statement("a", "birth", 1), batch("a", 0, 10), batch("a", 10, 25), batch("a", 25, 30), said)
    rescue.put(statement("a", "birth", 1), batch("a", 8, 12), batch("a", 12, 19), said)
    report = audit(str(home.root), beside=[Archive.open(str(rescue.root))], now_ns=NOW)
    _, stream = only(report)
    assert (stream.counts.archived, stream.counts.duplicates, stream.counts.missing) == (30, 0, 0)
    assert stream.overlapping_ranges == []
    assert report.ok
    _, alone = only(audit(str(rescue.root), now_ns=NOW))
    assert alone.elsewhere_ranges == ranges((0, 8), (19, 30))
    assert alone.ok


def test_what_is_lent_when_a_host_falls_silent_is_said_to_be_there(tmp_path: Path) -> None:
    """Nothing is missing in the archive that was not repaid any more; with both, everything is here."""
    home, rescue = two(tmp_path)
    home.put(statement("a", "birth", 1), batch("a", 0, 10), word("account", [(0, 10)], [(0, 0)]))
    rescue.put(statement("a", "birth", 1), batch("a", 10, 30), word("account", [(0, 10)], [(10, 30)]))
    both = audit(str(home.root), beside=[Archive.open(str(rescue.root))], now_ns=NOW)
    _, stream = only(both)
    assert (stream.counts.archived, stream.counts.missing, both.ok) == (30, 0, True)
    life, alone = only(audit(str(rescue.root), now_ns=NOW))
    assert (alone.counts.missing, alone.elsewhere_ranges) == (0, ranges((0, 10)))
    assert any("the destinations it stood in for have" in note for note in life.notes)


def test_what_was_given_up_for_one_is_at_the_fallback(tmp_path: Path) -> None:
    """A limit took it before it could be repaid: it is not lost, and said to be where it is."""
    home, rescue = two(tmp_path)
    said = word("farewell", [(0, 10), (20, 30)], [(10, 20)], lost_ranges=ranges((10, 20)))
    home.put(statement("a", "birth", 1), batch("a", 0, 10), batch("a", 20, 30), said)
    rescue.put(statement("a", "birth", 1), batch("a", 10, 20), said)
    life, stream = only(audit(str(home.root), now_ns=NOW))
    assert (stream.lost_ranges, stream.elsewhere_ranges) == ([], ranges((10, 20)))
    assert (stream.missing_ranges, any("the fallback 'rescue' has" in note for note in life.notes)) == ([], True)
    _, both = only(audit(str(home.root), beside=[Archive.open(str(rescue.root))], now_ns=NOW))
    assert (both.lost_ranges, both.missing_ranges, both.counts.archived) == ([], [], 30)


def test_a_batch_that_was_repaid_in_part_is_kept_and_named() -> None:
    """The host died on the way: what only the fallback has must not be left out for what both have."""
    whole = cover([Stored(0, 10, 10), Stored(10, 14, 4)])
    found = completed(whole, [Stored(2, 8, 6), Stored(12, 20, 8)])
    assert found.ranges.pairs() == [(0, 20)]
    assert found.overlaps.pairs() == [(12, 14)]
    assert found.spare == []
    assert completed(whole, [Stored(0, 14, 14)]) is whole
