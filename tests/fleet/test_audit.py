"""What an audit says of lives that ended, go on, lied, or said nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shipper.contracts import Batch
from shipper.fleet.audit import Which, audit
from shipper.fleet.report import AuditReport, LifeReport, StreamReport
from shipper.testing.clock import START_WALL_NS
from tests.fleet.archives import LINE, SECOND, Writer, batch, claims, gateway_batch, statement

NOW = START_WALL_NS + 3600 * SECOND
SOON = START_WALL_NS + 10 * SECOND


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """An empty archive."""
    return Writer(tmp_path)


def run(writer: Writer, **more: Any) -> AuditReport:
    """The audit, an hour later unless said otherwise."""
    return audit(str(writer.root), now_ns=more.pop("now_ns", NOW), **more)


def only(report: AuditReport) -> tuple[LifeReport, StreamReport]:
    """The only host and its only stream."""
    (life,) = (life for life in report.lives if life.role != "gateway")
    (stream,) = life.streams
    return life, stream


def farewell(host: str, seq: int, stream: dict[str, Any], **more: Any) -> Batch:
    """A farewell that ends the life."""
    return statement(
        host, "farewell", seq, [stream], **{"ends_life": True, "outcome": "drained", "reason": "SIGTERM", **more}
    )


def ranges(*pairs: tuple[int, int]) -> list[tuple[int, int]]:
    """Lines as positions."""
    return [(start * LINE, end * LINE) for start, end in pairs]


def test_drained_and_complete(writer: Writer) -> None:
    """A life that said farewell and whose every record is here is drained, balances, and nothing is missing."""
    writer.put(statement("a", "birth", 1), batch("a", 0, 10))
    writer.put(batch("a", 10, 25), farewell("a", 2, claims(25)))
    report = run(writer)
    life, stream = only(report)
    assert report.ok
    assert (life.ended, life.reason, life.runs, life.host) == ("drained", "SIGTERM", 1, "a")
    assert (life.born_ns, life.unknown_after_ns) == (START_WALL_NS, None)
    assert (stream.counts.read, stream.counts.archived, stream.counts.missing, stream.counts.duplicates) == (
        25,
        25,
        0,
        0,
    )
    assert (stream.name, stream.destination) == ("/log", "gw")
    assert report.totals == life.counts


def test_silence_is_named(writer: Writer) -> None:
    """A life without farewell is unknown after its last word; what it was known to hold and is not here is missing."""
    writer.put(statement("a", "birth", 1), batch("a", 0, 10))
    writer.put(statement("a", "account", 2, [claims(20, 10, size=30)]))
    life, stream = only(run(writer))
    assert life.ended == "silent"
    assert life.unknown_after_ns == START_WALL_NS + 2 * SECOND
    assert stream.missing_ranges == ranges((10, 30))  # ten in flight, and ten more that it had seen but not read
    assert stream.counts.missing == 10
    assert stream.counts.unread == 10 * LINE


def test_notice_is_remembered(writer: Writer) -> None:
    """A life that had word of its end and then fell silent says so."""
    word = {"kind": "imminent", "source": "aws-spot", "evidence": "terminate at 08:22:00Z", "ends_life": True}
    writer.put(statement("a", "birth", 1), statement("a", "notice", 2, notice=word))
    life = run(writer).lives[0]
    assert life.ended == "notice"
    assert life.notice == {**word, "deadline_ns": None}


def test_what_a_living_host_has_not_sent_is_pending(writer: Writer) -> None:
    """While a life goes on, what is not acknowledged is pending and not missing, and the account balances."""
    writer.put(statement("a", "birth", 1), batch("a", 0, 10))
    writer.put(statement("a", "account", 2, [claims(20, 10, size=30)]))
    report = run(writer, now_ns=SOON)
    life, stream = only(report)
    assert report.ok
    assert life.ended == "alive"
    assert stream.pending_ranges == ranges((10, 20))
    assert (stream.counts.read, stream.counts.archived, stream.counts.pending) == (20, 10, 10)


def test_what_came_after_the_last_account_counts(writer: Writer) -> None:
    """Batches that arrived after the last statement are read and archived, and are not pending any more."""
    writer.put(
        statement("a", "account", 2, [claims(20, 10)]), batch("a", 0, 10), batch("a", 10, 20), batch("a", 20, 24)
    )
    _, stream = only(run(writer, now_ns=SOON))
    assert (stream.counts.read, stream.counts.archived, stream.counts.pending) == (24, 24, 0)


def test_lying_destination_is_found_while_the_host_lives(writer: Writer) -> None:
    """What a destination said to have and this archive has not is missing at once."""
    writer.put(statement("a", "account", 2, [claims(30)]), batch("a", 0, 10), batch("a", 20, 30))
    report = run(writer, now_ns=SOON)
    _, stream = only(report)
    assert not report.ok
    assert stream.missing_ranges == ranges((10, 20))
    assert stream.counts.missing == 10


def test_what_a_living_gateway_took_lately_is_on_its_way(writer: Writer) -> None:
    """A gateway acknowledges before it archives: what it took lately is pending, until it had time, and then missing."""
    gateway = {"life": "life-gateway", "role": "gateway"}
    writer.put(batch("a", 0, 10), farewell("a", 2, claims(20)))
    writer.put(statement("gw", "account", 3, **gateway))
    _, stream = only(run(writer, now_ns=SOON))
    assert (stream.pending_ranges, stream.missing_ranges) == (ranges((10, 20)), [])
    writer.put(statement("gw", "account", 9, at_ns=NOW, **gateway))
    _, stream = only(run(writer, now_ns=NOW))
    assert (stream.pending_ranges, stream.missing_ranges) == ([], ranges((10, 20)))


def test_what_a_gateway_took_long_ago_is_due_while_the_host_goes_on(writer: Writer) -> None:
    """Of a host that goes on behind a living gateway, what was acknowledged long ago and is not here is missing."""
    writer.put(batch("a", 10, 20), statement("a", "account", 2, [claims(20)]))
    latest = NOW - SECOND
    writer.put(
        statement("a", "account", 3, [claims(30)], at_ns=latest),
        statement("gw", "account", 9, at_ns=latest, life="life-gateway", role="gateway"),
    )
    life, stream = only(run(writer))
    assert life.ended == "alive"
    assert (stream.missing_ranges, stream.pending_ranges) == (ranges((0, 10)), ranges((20, 30)))
    assert (stream.counts.missing, stream.counts.pending, stream.counts.archived) == (10, 10, 10)


def test_a_gateway_that_waits_long_excuses_long(writer: Writer) -> None:
    """A gateway that says its oldest unarchived record is an hour old may still hold what it took an hour ago."""
    writer.put(batch("a", 0, 10), farewell("a", 2, claims(20)))
    writer.put(
        statement("gw", "account", 9, at_ns=NOW, life="life-gateway", role="gateway", exposure={"oldest": 4000.0})
    )
    assert run(writer).ok


def test_declared_losses_are_not_missing(writer: Writer) -> None:
    """What a host gave up, quarantined or filtered is named as that, and the account balances."""
    stated = claims(
        40,
        20,
        dropped=5,
        quarantined=5,
        filtered=4,
        sampled=3,
        rejected=3,
        pending=0,
        acknowledged_ranges=[[0, 30 * LINE]],
        lost_ranges=[[30 * LINE, 35 * LINE]],
        quarantined_ranges=[[35 * LINE, 40 * LINE]],
    )
    ten_filtered = batch("a", 0, 20)
    cut = ten_filtered.cut
    payload = Batch(
        "life-a", "f1", ten_filtered.signal, type(cut)(0, 30 * LINE, 0, 30 * LINE, 20, 1), ten_filtered.payload
    )
    writer.put(payload, farewell("a", 2, stated))
    report = run(writer)
    _, stream = only(report)
    assert report.ok
    assert stream.lost_ranges == ranges((30, 35))
    assert stream.quarantined_ranges == ranges((35, 40))
    counts = stream.counts
    assert counts.read == 40 == counts.archived + 5 + 5 + 4 + 3 + 3
    assert counts.missing == 0


def test_what_a_farewell_left_is_missing(writer: Writer) -> None:
    """A drain that ran out of time names what it left; that did not arrive, read or not."""
    left = [{"stream": "f1", "destination": "gw", "start": 10 * LINE, "end": 50 * LINE}]
    writer.put(batch("a", 0, 10), farewell("a", 2, claims(20, 10, size=50), outcome="expired", left=left))
    life, stream = only(run(writer))
    assert life.ended == "expired"
    assert stream.missing_ranges == ranges((10, 50))
    assert stream.counts.missing == 10


def test_a_stopped_run_may_go_on(writer: Writer) -> None:
    """After a farewell that ends only the run, what is left is pending for a while, and missing when nobody came back."""
    writer.put(batch("a", 0, 10), farewell("a", 2, claims(20, 10), ends_life=False))
    life, stream = only(run(writer, now_ns=SOON))
    assert (life.ended, stream.missing_ranges, stream.pending_ranges) == ("stopped", [], ranges((10, 20)))
    _, stream = only(run(writer))
    assert stream.missing_ranges == ranges((10, 20))


def test_a_later_run_reopens_the_life(writer: Writer) -> None:
    """A birth of a later run after a farewell makes the life alive again, whatever order they arrived in."""
    writer.put(statement("a", "birth", 1, run=2, at_ns=SOON))
    writer.put(farewell("a", 9, claims(0), ends_life=False), statement("a", "birth", 1))
    (life,) = run(writer, now_ns=SOON).lives
    assert (life.ended, life.runs) == ("alive", 2)


def test_the_latest_word_about_each_stream_counts(writer: Writer) -> None:
    """Statements name only what changed: each stream is as last stated, wherever that was."""
    second = {**claims(5), "id": "f2", "name": "/other"}
    writer.put(statement("a", "account", 2, [claims(10), second]), batch("a", 0, 20), batch("a", 0, 5, stream="f2"))
    writer.put(farewell("a", 3, claims(20)))
    report = run(writer)
    assert [(stream.name, stream.counts.read) for stream in report.lives[0].streams] == [("/log", 20), ("/other", 5)]
    assert report.ok


def test_duplicates_are_counted_and_are_no_loss(writer: Writer) -> None:
    """Batches stored again are duplicates; differently cut ones are named where they overlap."""
    writer.put(farewell("a", 2, claims(30)), batch("a", 0, 10), batch("a", 10, 20))
    writer.put(batch("a", 0, 10))
    writer.put(batch("a", 18, 30))
    report = run(writer)
    _, stream = only(report)
    assert report.ok
    assert stream.counts.duplicates == 10
    assert stream.overlapping_ranges == ranges((18, 20))


def test_relay_on_the_host_proves_nothing(writer: Writer) -> None:
    """What a local relay took and is not here is unproved, not missing; what nobody took is missing."""
    writer.put(batch("a", 0, 10), farewell("a", 2, claims(30, 20, trusted=False)))
    _, stream = only(run(writer))
    assert stream.unproved_ranges == ranges((10, 20))
    assert stream.missing_ranges == ranges((20, 30))
    assert (stream.counts.unproved, stream.counts.missing) == (10, 10)


def test_the_destination_that_leads_here_is_found(writer: Writer) -> None:
    """Of several destinations the one counts whose acknowledgements fit this archive; another can be named."""
    stated = claims(20, 10)
    elsewhere = claims(20, 20)["destinations"]["gw"]
    stated["destinations"] = {"loki": elsewhere, **stated["destinations"]}
    writer.put(statement("a", "account", 2, [stated]), batch("a", 0, 10))
    assert only(run(writer, now_ns=SOON))[1].destination == "gw"
    named = run(writer, now_ns=SOON, destination="loki")
    assert only(named)[1].missing_ranges == ranges((10, 20))


@pytest.mark.parametrize("now_ns", [SOON, NOW])
def test_damage_is_missing(writer: Writer, now_ns: int) -> None:
    """Bytes that are not what their range list says count as missing, however alive the host is, and are named."""
    writer.put(statement("a", "account", 2, [claims(10, 0)]))
    writer.put(batch("a", 0, 10))
    path = writer.objects()[-1]
    path.write_bytes(path.read_bytes()[:-30])
    report = run(writer, now_ns=now_ns)
    _, stream = only(report)
    assert not report.ok
    assert stream.damaged_ranges == stream.missing_ranges == ranges((0, 10))
    assert stream.counts.missing == 10
    assert "life-a/f1 [0, 200)" in report.damage[0].problem


def test_a_sound_copy_makes_up_for_a_damaged_one(writer: Writer) -> None:
    """A damaged object is named, but nothing is missing when the same batch lies in a sound one."""
    writer.put(batch("a", 0, 10), request_id="018bcfe5-0000-7000-8000-000000000001")
    writer.objects()[0].unlink()
    writer.put(batch("a", 0, 10), farewell("a", 2, claims(10)))
    report = run(writer)
    _, stream = only(report)
    assert not report.ok  # something is broken in the archive, and that is said
    assert (stream.missing_ranges, stream.counts.missing) == ([], 0)
    assert "is not there" in report.damage[0].problem


def test_fewer_records_than_acknowledged_are_missing(writer: Writer) -> None:
    """Ranges that are all there with fewer records than the host sent are found by count."""
    short = batch("a", 0, 7)
    cut = batch("a", 0, 10).cut
    writer.put(
        Batch("life-a", "f1", short.signal, type(cut)(0, 10 * LINE, 0, 10 * LINE, 7, 1), short.payload),
        farewell("a", 2, claims(10)),
    )
    report = run(writer)
    _, stream = only(report)
    assert not report.ok
    assert (stream.missing_ranges, stream.counts.missing) == ([], 3)


def test_data_without_any_account(writer: Writer) -> None:
    """Streams that no account names are reported; what lies between their batches existed and is missing."""
    writer.put(batch("a", 0, 10), batch("a", 15, 20))
    life, stream = only(run(writer))
    assert (life.ended, life.labels["release"], stream.stated) == ("no account", "1.0", False)
    assert stream.missing_ranges == ranges((10, 15))
    assert not only(run(writer, now_ns=SOON))[1].missing_ranges  # it may only just have begun


def test_objects_of_others_prove_no_range(writer: Writer) -> None:
    """Objects without a range list are counted apart; statements in them are heard all the same."""
    writer.put(batch("a", 0, 10), farewell("a", 2, claims(10)))
    writer.put(statement("gw", "birth", 1, life="life-gateway", role="gateway"))
    writer.range_lists()[0].unlink()
    report = run(writer)
    life, stream = only(report)
    assert (report.unlisted_objects, report.unlisted_records) == (1, 11)
    assert life.ended == "drained"
    assert stream.missing_ranges == ranges((0, 10))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b'{"version":9,"object":"x","signal":"logs","size":1,"written_ns":1,"batches":[]}']
)
def test_unreadable_range_list_is_damage(writer: Writer, content: bytes) -> None:
    """A range list that cannot be read is named, and proves nothing."""
    writer.put(batch("a", 0, 10))
    writer.put(farewell("a", 2, claims(10)))
    writer.range_lists()[0].write_bytes(content)
    report = run(writer)
    assert not report.ok
    assert report.damage[0].key.startswith("shipper/ranges/")
    assert only(report)[1].missing_ranges == ranges((0, 10))


def test_gateway_account_is_checked_too(writer: Writer) -> None:
    """A gateway's own stream is there when all it carried is; its hosts' records are not added to the totals again."""
    carried = gateway_batch(
        [batch("a", 0, 10), batch("b", 0, 5), farewell("a", 2, claims(10)), farewell("b", 2, claims(5))]
    )
    stated = claims(17)
    end = carried.cut.end
    figures = {**stated["destinations"]["gw"], "read_to": end, "acknowledged_ranges": [[0, end]]}
    spool = {**stated, "id": "spool-logs", "name": "spool", "size": end, "destinations": {"archive": figures}}
    writer.put(carried, statement("gw", "farewell", 2, [spool], life="life-gateway", role="gateway", ends_life=True))
    report = run(writer)
    assert report.ok
    gateway = report.lives[-1]
    assert (gateway.role, gateway.counts.read, gateway.counts.archived) == ("gateway", 17, 17)
    assert (report.totals.read, report.totals.archived) == (15, 15)


def test_gateway_of_another_archive_is_not_judged(writer: Writer) -> None:
    """A gateway's account that was replayed from its own archive claims nothing about this one."""
    writer.put(batch("a", 0, 10), farewell("a", 2, claims(10)))
    writer.put(statement("gw", "farewell", 2, [claims(17)], life="life-other", role="gateway", ends_life=True))
    report = run(writer)
    assert report.ok
    assert "another archive" in report.lives[-1].notes[-1]


def test_filters_choose_lives(writer: Writer) -> None:
    """Lives are chosen by host, by id (or its beginning or end), and by when they were last heard of."""
    writer.put(statement("a", "birth", 1), statement("b", "birth", 50))

    def names(which: Which) -> list[str]:
        return [life.host for life in run(writer, which=which).lives]

    assert names(Which()) == ["a", "b"]
    assert names(Which(host="b")) == names(Which(life="-b")) == names(Which(since_ns=SOON)) == ["b"]
    assert names(Which(life="life-a")) == ["a"]


def test_truth_from_outside(writer: Writer) -> None:
    """Emitted counts are compared by host, by stream and by both; what nobody shipped is missing though no account says so."""
    writer.put(batch("a", 0, 10), farewell("a", 2, claims(10)))
    report = run(writer, truth={"a": 10, "a:/log": 12, "/log": 9, "nobody": 3})
    rows = [(row.subject, row.archived, row.missing, row.surplus) for row in report.truth]
    assert rows == [("a", 10, 0, 0), ("a:/log", 10, 2, 0), ("/log", 10, 0, 1), ("nobody", 0, 3, 0)]
    assert not report.ok
    assert run(writer, truth={"a": 10}).ok


def test_statements_that_did_not_come_are_counted(writer: Writer) -> None:
    """Holes in the numbering of a run's statements are said: a later one may make up for them, or not."""
    writer.put(statement("a", "birth", 1), statement("a", "account", 4))
    assert run(writer).lives[0].skipped_statements == 2
