"""How a life ended, by its own word, by its silence, and by what a later life said in its place."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from shipper.fleet.audit import audit
from shipper.fleet.report import LifeReport
from shipper.fleet.table import console, show
from shipper.testing.clock import START_WALL_NS
from tests.fleet.archives import LINE, NOW, SECOND, Writer, batch, claims, statement

WORD = {"kind": "imminent", "source": "gce", "evidence": "preempted: TRUE", "deadline_ns": START_WALL_NS + 30 * SECOND}


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """An archive that hosts write into."""
    return Writer(tmp_path)


def only(writer: Writer, now_ns: int = NOW) -> LifeReport:
    """The one life of an archive."""
    [life] = audit(str(writer.root), now_ns=now_ns).lives
    return life


def shown(writer: Writer) -> str:
    """The audit as a person reads it."""
    out = io.StringIO()
    show(audit(str(writer.root), now_ns=NOW), console(out))
    return out.getvalue()


def adopted(what: str, seq: int, *streams: dict[str, Any], **more: Any) -> Any:
    """A statement of another life in the place of host a's."""
    return statement("a", what, seq, list(streams), run=2, adopted_by="life-b", **more)


def test_silence_shows_the_last_exposure_known(writer: Writer) -> None:
    """Bytes seen and not acknowledged by the last statement, and how old the oldest of them was, are what may be lost."""
    stated = claims(10, 6, size=12)
    writer.put(statement("a", "birth", 1), batch("a", 0, 6))
    writer.put(statement("a", "account", 2, [stated], exposure={"p99": 0.2, "oldest": 1.25}))
    life = only(writer)
    assert (life.ended, life.adopted_by, life.adoption) == ("silent", "", "")
    assert life.exposed is not None
    assert (life.exposed.bytes, life.exposed.oldest) == (6 * LINE, 1.25)
    text = shown(writer)
    assert "ended in silence, unknown after" in text
    assert f"then exposed: {6 * LINE} bytes, the oldest for 1.250 s" in text


def test_a_notice_without_a_farewell_says_what_the_word_was(writer: Writer) -> None:
    """A life that had word of its end and fell silent ended after a notice, whose evidence is shown."""
    writer.put(statement("a", "birth", 1), statement("a", "notice", 2, notice=WORD))
    assert only(writer).ended == "notice"
    assert "had a notice: imminent from gce, by " in shown(writer)


def test_a_notice_in_an_earlier_run_is_not_the_end_of_a_later_one(writer: Writer) -> None:
    """What was withdrawn before a restart says nothing about a silence after it."""
    writer.put(statement("a", "birth", 1), statement("a", "notice", 2, notice=WORD), statement("a", "birth", 1, run=2))
    assert only(writer).ended == "silent"


def test_the_word_notice_in_a_note_is_no_notice(writer: Writer) -> None:
    """Only the statement counts, not what a note happens to say."""
    writer.put(statement("a", "birth", 1, notes=["a notice board was set aside"]))
    assert only(writer).ended == "silent"


def test_what_a_later_life_ships_is_pending_until_it_says_farewell(writer: Writer) -> None:
    """While the remains are on their way nothing of them is missing, and the life is not called alive."""
    writer.put(statement("a", "birth", 1), batch("a", 0, 6), statement("a", "account", 2, [claims(10, 6)]))
    writer.put(adopted("birth", 1, at_ns=NOW - 10 * SECOND))
    life = only(writer)
    assert (life.ended, life.adopted_by, life.adoption) == ("silent", "life-b", "under way")
    assert life.unknown_after_ns == START_WALL_NS + 2 * SECOND
    assert (life.counts.missing, life.counts.pending) == (0, 4)
    assert only(writer, NOW + 3600 * SECOND).counts.missing == 4, "who adopted it fell silent, too"


def test_remains_that_all_arrived_close_the_life(writer: Writer) -> None:
    """Everything is here, under the life that wrote it; it ended in silence, and who shipped the rest is named."""
    writer.put(statement("a", "birth", 1), batch("a", 0, 6), statement("a", "account", 2, [claims(10, 6)]))
    writer.put(adopted("birth", 1, at_ns=NOW - 10 * SECOND), batch("a", 6, 12))
    writer.put(adopted("farewell", 2, claims(12), ends_life=True, outcome="drained", reason="ended in silence; ..."))
    life = only(writer)
    assert (life.ended, life.adoption, life.ok, life.runs) == ("silent", "drained", True, 1)
    assert (life.counts.read, life.counts.archived, life.counts.missing) == (12, 12, 0)
    assert "ended in silence, unknown after" in (text := shown(writer))
    assert "adopted by life-b, all of it sent" in text


def test_what_an_adoption_had_to_leave_is_missing(writer: Writer) -> None:
    """Where time was up for the remains as well, the farewell in the life's place names the ranges, and they are missing."""
    left = [{"stream": "f1", "destination": "gw", "start": 6 * LINE, "end": 10 * LINE}]
    writer.put(statement("a", "birth", 1), batch("a", 0, 6), statement("a", "account", 2, [claims(10, 6)]))
    writer.put(adopted("farewell", 1, claims(10, 6), ends_life=True, outcome="expired", left=left))
    life = only(writer)
    assert (life.ended, life.adoption, life.ok) == ("silent", "expired", False)
    assert life.streams[0].missing_ranges == [(6 * LINE, 10 * LINE)]
    assert "not all of it sent" in shown(writer)


@pytest.mark.parametrize(("ends_life", "ended"), [(True, "drained"), (False, "stopped")])
def test_a_life_that_said_farewell_keeps_its_own_ending(writer: Writer, ends_life: bool, ended: str) -> None:
    """What was written between the farewell and the reboot is shipped later; that does not make the end a silent one."""
    writer.put(statement("a", "birth", 1), batch("a", 0, 6))
    writer.put(statement("a", "farewell", 2, [claims(6)], ends_life=ends_life, outcome="drained", reason="SIGTERM"))
    writer.put(batch("a", 6, 8), adopted("farewell", 1, claims(8), ends_life=True, outcome="drained"))
    life = only(writer)
    assert (life.ended, life.adoption, life.unknown_after_ns, life.exposed) == (ended, "drained", None, None)
    assert (life.counts.archived, life.ok) == (8, True)
