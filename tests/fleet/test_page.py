"""A fleet's history from its archive: figures that are exact, a page that is one file, and bad archives in a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from shipper.cli import main
from shipper.contracts import Batch, Cut, Signal
from shipper.fleet.deploys.model import DeployEvent
from shipper.fleet.deploys.wire import to_otlp
from shipper.fleet.page.html import _usual, render
from shipper.fleet.page.reading import read
from shipper.fleet.page.story import Story, story
from shipper.fleet.page.traffic import Bins, Traffic
from shipper.otlp import metrics
from shipper.otlp.encode import resource, scope
from shipper.testing.clock import START_WALL_NS
from tests.fleet.archives import NOW, SECOND, Writer, batch, claims, statement

HOSTILE = '"><script>alert(1)</script>\u202e'
ROLL = (("h0", "g1", "A", 0, 9), ("h1", "g2", "B", 100, 60), ("h2", "g3", "A", 200, 3))


def test_requests_by_generation_are_what_the_hosts_counted(tmp_path: Path) -> None:
    """Samples give exact figures: doubled ones count once, and a restart that begins at zero takes nothing away."""
    told = _told(_fleet(tmp_path))
    assert [(one.generation, one.requests, one.errors) for one in told.generations] == [
        ("g1", 500, 9),
        ("g2", 500, 60),
        ("g3", 500, 3),
    ]
    assert sum(tally.requests for of_one in told.tallies.values() for tally in of_one) == pytest.approx(1500)
    assert told.unplaced == 0


def test_it_is_told_how_each_generation_ended(tmp_path: Path) -> None:
    """One was replaced, the next rolled back, the last has gone without a successor; a host that fell silent is named so."""
    told = _told(_fleet(tmp_path, silent="h2"))
    assert [one.outcome for one in told.generations] == [
        "replaced by g2",
        "rolled back to g3",
        "ended, nothing followed",
    ]
    assert [one.ends for one in told.generations] == [{"drained": 1}, {"drained": 1}, {"silent": 1}]
    assert [one.rollback for one in told.generations] == [False, False, True]


def test_what_a_pipeline_told_of_a_deploy_is_marked_once(tmp_path: Path) -> None:
    """A deploy that was told replaces the one that the hosts show; the others stay, as inferred."""
    told = _told(_fleet(tmp_path, tells="g2"))
    assert [(one.generation, one.rollback, one.inferred, one.actor) for one in told.deploys] == [
        ("g1", False, True, ""),
        ("g2", False, False, "me"),
        ("g3", True, True, ""),
    ]


def test_the_page_is_one_file_without_script_or_network(tmp_path: Path) -> None:
    """Its pictures are well-formed SVG, and nothing in it names another place or runs anything."""
    page = render(_told(_fleet(tmp_path)))
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 4
    for picture in pictures:
        ElementTree.fromstring(picture)
    assert not re.search(r"<script|https?://|\bsrc=|\bhref=|@import|url\(|\son\w+=", page)
    assert "rollback A" in page
    assert "12 %" in page


def test_names_from_outside_are_text(tmp_path: Path) -> None:
    """A host, release or generation named like markup is shown as it is named."""
    page = render(_told(_fleet(tmp_path, release=HOSTILE)))
    assert _tags(page).isdisjoint({"script"})
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page


def test_hosts_over_time_come_from_births_and_ends(tmp_path: Path) -> None:
    """The number of hosts begins with the first birth and is zero for those that are gone."""
    told = _told(_fleet(tmp_path))
    first, last = told.hosts_over(0), told.hosts_over(2)
    assert max(count for _, count in first) == 1
    assert first[-1][1] == 0
    assert last[0][1] == 0


def test_figures_of_the_command_are_those_of_the_values(tmp_path: Path) -> None:
    """``--json`` prints what the page shows, the table names every generation, and all is well by exit code 0."""
    _fleet(tmp_path / "archive")
    ran = _run(tmp_path / "archive", "--json", "--html", str(tmp_path / "page.html"))
    assert ran.exit_code == 0, ran.output
    form = json.loads(ran.stdout)
    assert [(one["generation"], one["errors"], one["error_ratio"]) for one in form["generations"]][1] == (
        "g2",
        60,
        0.12,
    )
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    shown = _run(tmp_path / "archive").stdout
    assert all(name in shown for name in ("g1", "g2", "g3", "12 %", "missing 0"))


def test_an_archive_without_requests_says_so(tmp_path: Path) -> None:
    """Where no host counted requests the figures are unknown, not zero."""
    told = _told(_fleet(tmp_path, measured=False))
    assert [one.requests for one in told.generations] == [None, None, None]
    assert "there is no error ratio" in render(told)


def test_a_cut_object_is_a_sentence_and_exit_code_1(tmp_path: Path) -> None:
    """The page is written and names the damage."""
    writer = _fleet(tmp_path / "archive")
    cut = max(writer.objects(), key=lambda path: path.stat().st_size)
    cut.write_bytes(cut.read_bytes()[:40])
    ran = _run(tmp_path / "archive", "--html", str(tmp_path / "page.html"))
    assert ran.exit_code == 1
    assert "damaged" in ran.stdout
    assert cut.name in ran.stdout
    assert cut.name in (tmp_path / "page.html").read_text()


def test_range_lists_of_another_version_are_a_sentence_and_exit_code_2(tmp_path: Path) -> None:
    """Where all of them are of a version that this program does not know, it says which, and shows no figure."""
    writer = Writer(tmp_path)
    writer.put(batch("h", 0, 5))
    for file in writer.range_lists():
        file.write_text(file.read_text().replace('"version":1', '"version":7'))
    ran = _run(tmp_path)
    assert ran.exit_code == 2
    assert "range list of version 7" in ran.output


def test_an_archive_that_is_being_written_says_what_it_lacks(tmp_path: Path) -> None:
    """Lives that go on are told as such, and objects whose range list is not there yet are counted apart."""
    writer = _fleet(tmp_path, silent="h2")
    writer.range_lists()[-1].unlink()
    told = story(read(str(tmp_path), now_ns=START_WALL_NS + 300 * SECOND, silence=250))
    assert "serving on 1 host" in told.generations[-1].outcome
    page = render(told)
    assert "still being written" in page
    assert "are in no range list" in page


@pytest.mark.parametrize("kind", ["nothing", "empty", "a file"])
def test_no_archive_is_a_sentence_and_exit_code_2(tmp_path: Path, kind: str) -> None:
    """A place that is not there, or holds no archive, is named; there is no traceback."""
    place = tmp_path / "archive"
    if kind == "empty":
        place.mkdir()
    elif kind == "a file":
        place.write_text("x")
    ran = _run(place)
    assert ran.exit_code == 2
    assert str(place) in ran.output
    assert "Traceback" not in ran.output


def test_a_page_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """The directory that is not there is named."""
    _fleet(tmp_path / "archive")
    ran = _run(tmp_path / "archive", "--html", str(tmp_path / "no" / "page.html"))
    assert ran.exit_code == 1
    assert "No such file or directory" in ran.output


def test_a_clock_that_was_not_set_does_not_stretch_the_page(tmp_path: Path) -> None:
    """A birth in 1970 is told in a note, and the pictures begin with the others."""
    writer = _fleet(tmp_path)
    labels = {"host": "odd", "release": "A", "generation": "g3", "service": "shop"}
    writer.put(statement("odd", "birth", 1, at_ns=NOW - 900 * SECOND, labels=labels, born_ns=5 * SECOND))
    told = _told(writer)
    assert told.start_ns > START_WALL_NS - 60 * SECOND
    assert "its clock was not set at its birth" in render(told)


def test_a_lost_object_of_requests_only_blurs_the_moment(tmp_path: Path) -> None:
    """Totals are exact as long as the last sample is there."""
    traffic = Traffic()
    for value, at in ((0, 0), (500, 90)):
        traffic.take(_samples("h", "g", "A", {at: (value, 0)}).payload, "")
    assert [tally.requests for tally in traffic.totals().values()] == [500]


def test_what_lies_outside_of_the_bins_counts_at_the_border() -> None:
    """An increase is spread over the bins it lies in, and none of it is lost."""
    bins = Bins(100, 10, 3)
    assert list(bins.shares(105, 125)) == [(0, 0.25), (1, 0.5), (2, 0.25)]
    assert list(bins.shares(0, 50)) == [(0, 1.0)]
    assert sum(share for _, share in bins.shares(0, 10**6)) == pytest.approx(1)


def test_a_range_list_that_is_cut_is_a_sentence_and_exit_code_1(tmp_path: Path) -> None:
    """Half a range list, or one of another version among others, is named; the rest is shown."""
    for number, damage in enumerate(
        (lambda text: text[: len(text) // 2], lambda text: text.replace('n":1', 'n":7', 1))
    ):
        writer = _fleet(tmp_path / str(number))
        file = writer.range_lists()[0]
        file.write_text(damage(file.read_text()))
        ran = _run(writer.root)
        assert ran.exit_code == 1
        assert file.name in ran.stdout
        assert "damaged" in ran.stdout
        assert "g3" in ran.stdout
        assert "Traceback" not in ran.output


def test_one_generation_from_two_images_is_followed_by_what_comes_next(tmp_path: Path) -> None:
    """Not by its other half, and the legend tells the two apart."""
    writer = _fleet(tmp_path)
    labels = {"host": "h2b", "release": "A", "generation": "g3", "service": "shop", "image": "other"}
    born = START_WALL_NS + 205 * SECOND
    writer.put(statement("h2b", "birth", 1, at_ns=born, labels=labels, born_ns=born))
    writer.put(statement("h2b", "farewell", 2, at_ns=born + 90 * SECOND, labels=labels, born_ns=born, ends_life=True))
    told = _told(writer)
    assert [one.outcome for one in told.generations][1:] == ["rolled back to g3", *["ended, nothing followed"] * 2]
    assert "g3 A other" in render(told)


def test_what_was_told_to_be_a_deploy_is_no_rollback(tmp_path: Path) -> None:
    """Hosts alone would show the return to release A as one; who deployed it knows better."""
    told = _told(_fleet(tmp_path, tells="g3"))
    assert [one.rollback for one in told.generations] == [False, False, False]


def test_a_long_thin_tail_has_no_error_ratio() -> None:
    """What is usual is what most requests see, so that the few of a disk that was found say nothing of a ratio."""
    assert _usual([100.0] * 4 + [1.0] * 50) == 100.0
    assert _usual([]) == 0.0


def _fleet(root: Path, *, silent: str = "", tells: str = "", release: str = "", measured: bool = True) -> Writer:
    """Three generations of one host each; 500 requests to each, of which some fail."""
    writer = Writer(root)
    for host, generation, built, begins, errors in ROLL:
        born = START_WALL_NS + begins * SECOND
        labels = {"host": host, "release": release or built, "generation": generation, "service": "shop"}
        more: dict[str, Any] = {"labels": labels, "born_ns": born}
        data = batch(host, 0, 40, release=built, generation=generation)
        if generation == tells:
            event = DeployEvent(at_ns=born, service="shop", id="d", generation=generation, release=built, actor="me")
            payload = to_otlp(event)
            writer.put(Batch("life-gw", "otlp-logs", Signal.LOGS, Cut(0, 9, 0, 9, 1, born), payload))
        writer.put(statement(host, "birth", 1, at_ns=born, **more), data)
        if measured:
            restarts = {0: (0, 0), 30: (300, errors), 60: (100, 0), 90: (200 - errors, 0)}
            writer.put(_samples(host, generation, built, restarts, born))
            writer.put(_samples(host, generation, built, {60: restarts[60]}, born, start=1))
        last = {"ends_life": True} if host != silent else {}
        what = "farewell" if host != silent else "account"
        writer.put(statement(host, what, 2, [claims(40)], at_ns=born + 95 * SECOND, **more, **last))
    return writer


def _samples(
    host: str,
    generation: str,
    release: str,
    at: Mapping[int, tuple[int, int]],
    born: int = START_WALL_NS,
    start: int = 0,
) -> Batch:
    about = resource(
        {
            "service.name": "shop",
            "service.version": release,
            "shipper.generation": generation,
            "service.instance.id": host,
            "shipper.life.id": f"life-{host}",
        }
    )
    points = [
        metrics.number(value, born + second * SECOND, born, {"outcome": outcome})
        for second, values in at.items()
        for outcome, value in zip(("ok", "error"), values, strict=True)
    ]
    payload = metrics.export_metrics(about, scope("shipper"), [metrics.counter("shipper.requests", points)])
    cut = Cut(start * 1000, start * 1000 + 1000, start * 1000, start * 1000 + 1000, len(points), born)
    return Batch(f"life-{host}", "metrics", Signal.METRICS, cut, payload)


def _told(writer: Writer) -> Story:
    return story(read(str(writer.root), now_ns=NOW))


def _run(archive: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["fleet", str(archive), *more])


def _tags(page: str) -> set[str]:
    found: set[str] = set()

    class _Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.add(tag)

    _Parser().feed(page)
    return found
