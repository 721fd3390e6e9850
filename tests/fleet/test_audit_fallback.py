"""What an audit says of a life whose rest went to the fallback of its drain: complete with both archives, told with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from shipper.cli import main
from shipper.contracts import Batch
from shipper.fleet.archive import Archive
from shipper.fleet.audit import audit
from shipper.fleet.report import AuditReport, LifeReport, StreamReport
from shipper.testing.clock import START_WALL_NS
from tests.fleet.archives import LINE, SECOND, Writer, batch, claims, statement

NOW = START_WALL_NS + 3600 * SECOND


def ranges(*pairs: tuple[int, int]) -> list[tuple[int, int]]:
    """Lines as positions."""
    return [(start * LINE, end * LINE) for start, end in pairs]


def destination(acknowledged: list[tuple[int, int]], **more: Any) -> dict[str, Any]:
    """What a host says of one destination."""
    lines = sum(end - start for start, end in acknowledged)
    return {
        "read_to": max(end for _, end in acknowledged) * LINE,
        "read": lines,
        "acknowledged": lines,
        "acknowledged_ranges": ranges(*acknowledged),
        **more,
    }


def last_words(**more: Any) -> Batch:
    """The farewell of a drain in value order: the last words and the beginning went to ``gw``, most of the rest to ``rescue``."""
    stream = claims(30)
    stream["size"] = 30 * LINE
    stream["destinations"] = {
        "gw": destination([(0, 5), (25, 30)], skipped_ranges=ranges((5, 25)), unread=20 * LINE),
        "rescue": destination([(5, 20)], unread=15 * LINE),
    }
    left = [{"stream": stream["id"], "destination": "gw", "start": 20 * LINE, "end": 25 * LINE}]
    return statement(
        "a", "farewell", 2, [stream], ends_life=True, outcome="expired", fallback="rescue", **{"left": left, **more}
    )


def archives(directory: Path, *, rest: bool) -> tuple[Writer, Writer]:
    """The two archives; ``rest``: what the farewell says was left arrived after all."""
    (directory / "gw").mkdir()
    (directory / "rescue").mkdir()
    primary, rescue = Writer(directory / "gw"), Writer(directory / "rescue")
    primary.put(statement("a", "birth", 1), batch("a", 0, 5), batch("a", 25, 30), last_words())
    rescue.put(statement("a", "birth", 1), batch("a", 5, 20), last_words())
    if rest:
        primary.put(batch("a", 20, 25))
    return primary, rescue


def only(report: AuditReport) -> tuple[LifeReport, StreamReport]:
    """The only life and its only stream."""
    (life,) = report.lives
    (stream,) = life.streams
    return life, stream


def test_one_archive_tells_where_the_rest_is(tmp_path: Path) -> None:
    """Each archive alone has nothing missing but what nobody has, and says what the other one must have."""
    primary, rescue = archives(tmp_path, rest=False)
    for writer, name, elsewhere in (
        (primary, "gw", ranges((5, 20))),
        (rescue, "rescue", ranges((0, 5), (25, 30))),
    ):
        life, stream = only(audit(str(writer.root), now_ns=NOW))
        assert stream.destination == name
        assert stream.elsewhere_ranges == elsewhere
        assert stream.missing_ranges == ranges((20, 25))
        assert stream.counts.unread == 5 * LINE
        assert stream.counts.missing == 0, "nobody read them, so nobody knows how many records they were"
        assert any("that are not here" in note for note in life.notes)


def test_both_archives_together_are_complete(tmp_path: Path) -> None:
    """With both, everything is there once; what the fallback said to have and has not would be missing."""
    primary, rescue = archives(tmp_path, rest=True)
    life, stream = only(audit(str(primary.root), now_ns=NOW, beside=[Archive.open(str(rescue.root))]))
    assert life.ok
    assert stream.elsewhere_ranges == []
    assert (stream.counts.archived, stream.counts.missing, stream.counts.duplicates) == (30, 0, 0)
    assert stream.counts.unread == 0, "what one destination did not read, the other did"
    assert audit(str(primary.root), now_ns=NOW).ok
    empty = tmp_path / "empty"
    empty.mkdir()
    Writer(empty).put(statement("b", "birth", 1))
    report = audit(str(primary.root), now_ns=NOW, beside=[Archive.open(str(empty))])
    assert not report.ok
    assert next(row for row in report.lives if row.host == "a").streams[0].missing_ranges == ranges((5, 20))


def test_the_command_takes_both(tmp_path: Path) -> None:
    """``shipper audit A --with B``."""
    primary, rescue = archives(tmp_path, rest=True)
    alone = CliRunner().invoke(main, ["audit", str(primary.root)])
    both = CliRunner().invoke(main, ["audit", str(primary.root), "--with", str(rescue.root)])
    assert (alone.exit_code, both.exit_code) == (0, 0), (alone.output, both.output)
    assert "rescue" in alone.output
