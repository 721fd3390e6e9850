"""``shipper top --archive``: generations, hosts and ends from what hosts stated; nobody reads their data for it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from shipper.fleet.archive import Archive
from shipper.top.archive import Ear
from tests.fleet.archives import Writer, batch, claims, gateway_batch, statement
from tests.top.inside import once
from tests.top.screen import Screen

SECOND = 1_000_000_000


def fleet(root: Path) -> Writer:
    """Two generations: one host drained, one fell silent, one is alive."""
    writer = Writer(root)
    now = time.time_ns()
    for host, generation, release, age in (("a", "g1", "1.0", 7200), ("b", "g1", "1.0", 7100), ("c", "g2", "1.1", 60)):
        labels = {"host": host, "release": release, "generation": generation, "image": "img", "service": "api"}
        born = now - age * SECOND
        more = {"labels": labels, "born_ns": born}
        writer.put(statement(host, "birth", 1, at_ns=born, **more), batch(host, 0, 3))
        if host == "a":
            end = {"ends_life": True, "outcome": "drained", "reason": "SIGTERM", "at_ns": born + 600 * SECOND}
            writer.put(statement(host, "farewell", 2, [claims(3)], **end, **more))
        elif host == "c":
            writer.put(statement(host, "account", 2, [claims(3)], at_ns=now, **more))
    return writer


def test_once_shows_generations_and_how_their_hosts_ended(tmp_path: Path) -> None:
    """The newest generation first; a host that fell silent is told from one that said farewell."""
    fleet(tmp_path / "archive")
    answer = once(f"--archive={tmp_path / 'archive'}")
    assert answer.exit_code == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0] == "lives: 1 alive, 1 drained, 1 silent"
    rows = [line.split() for line in lines if line.startswith("g")]
    assert [row[:5] for row in rows[1:]] == [["g2", "1.1", "img", "1", "1"], ["g1", "1.0", "img", "2", "2"]]
    assert rows[2][-4:] == ["1", "drained,", "1", "silent"]
    (drained,) = (line.split() for line in lines if line.startswith("a "))
    assert drained[:4] == ["a", "g1", "drained", "SIGTERM"]
    assert "10m 00s" in " ".join(drained)
    other = once(f"--archive={tmp_path / 'archive'}", "--service=nobody")
    assert "no host has stated anything here" in other.stdout


def test_what_was_heard_is_not_read_again_and_data_is_not_read_at_all(tmp_path: Path) -> None:
    """Objects without statements may be gone; those heard of before may be gone the next time; new ones are heard."""
    writer = fleet(tmp_path / "archive")
    writer.put(batch("c", 3, 9))
    writer.objects()[-1].unlink()
    ear = Ear(Archive.open(str(writer.root)))
    ear.listen()
    heard = len(ear.events())
    assert (heard, ear.damaged) == (5, 0)
    for path in writer.objects():
        path.unlink()
    writer.put(statement("c", "account", 3, [claims(9)], at_ns=time.time_ns()))
    ear.listen()
    assert (len(ear.events()), ear.damaged) == (heard + 1, 0)


def test_statements_that_came_through_a_gateway_are_heard(tmp_path: Path) -> None:
    """The gateway's batch lists whose they are."""
    writer = Writer(tmp_path / "archive")
    writer.put(gateway_batch([statement("a", "birth", 1), batch("a", 0, 3), statement("a", "account", 2, [claims(3)])]))
    ear = Ear(Archive.open(str(writer.root)))
    ear.listen()
    assert [event.what for event in ear.events()] == ["birth", "account"]


def test_damage_is_counted_and_the_rest_shown(tmp_path: Path) -> None:
    """An object cut short and a range list of another version: both said, and the other hosts are there."""
    writer = fleet(tmp_path / "archive")
    object_ = writer.objects()[0]
    object_.write_bytes(object_.read_bytes()[:20])
    writer.range_lists()[1].write_text('{"version": 99}')
    answer = once(f"--archive={writer.root}")
    assert answer.exit_code == 0, answer.stderr
    assert "2 objects or statements cannot be read; shipper audit" in answer.stdout
    assert "1 alive" in answer.stdout


def test_no_archive_is_one_sentence(tmp_path: Path) -> None:
    """An empty directory, none at all, a scheme that nobody knows."""
    (tmp_path / "empty").mkdir()
    for url in (tmp_path / "empty", tmp_path / "none", "gopher://x/y"):
        answer = once(f"--archive={url}")
        assert answer.exit_code == 1
        assert answer.stderr.startswith("Error: ")
        assert answer.stderr.count("\n") == 1


def test_on_80x24_it_fits_and_q_quits(tmp_path: Path) -> None:
    """Also with more hosts than lines."""
    writer = fleet(tmp_path / "archive")
    born = time.time_ns() - 5 * SECOND
    hosts = [statement(f"host-{number:03d}", "birth", 1, at_ns=born, born_ns=born) for number in range(60)]
    writer.put(*hosts)

    async def scenario() -> None:
        with Screen(f"--archive={writer.root}") as screen:
            await screen.shows("lives: 61 alive, 1 drained, 1 silent", " more")
            assert screen.fits()
            screen.press(b"q")
            assert screen.ended() == 0
            assert screen.as_it_was()

    asyncio.run(scenario())
