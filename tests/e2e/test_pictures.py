"""The demo's pages in a real browser: the boards over what the demo pushed, and its history, with no panel that is empty."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner

from docs.pictures import chromium, make
from docs.pictures.chromium import Page
from shipper.cli import main
from shipper.dashboards import names
from shipper.testing import prometheus

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs" / "pictures"
WORDS = ("--hosts=3", "--rate=25", "--seconds=66", "--preview")
ENOUGH = 40  # different rows of pixels; a page on which nothing is drawn has a handful
CARDS = """[...document.querySelectorAll(".card")].map(card => ({
  title: card.querySelector("h3").textContent, source: card.dataset.source, found: Number(card.dataset.found),
  height: card.getBoundingClientRect().height, text: card.textContent }))"""
drawable = pytest.mark.skipif(
    not (chromium.available() and prometheus.available()),
    reason=f"{chromium.MISSING}; {prometheus.MISSING}",
)


@dataclass(frozen=True)
class Kept:
    """A demo that is over: its directory, and what it said."""

    directory: Path
    said: str

    def on(self, page: str, look: Callable[[Page], Awaitable[T]]) -> T:
        """What ``look`` finds on one of its pages, in a browser."""

        async def looked() -> T:
            async with chromium.chromium() as shown:
                await shown.open(self.directory / page)
                return await look(shown)

        return asyncio.run(looked())


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """One run of the demo with a preview, for all tests of this file."""
    directory = tmp_path_factory.mktemp("pictures") / "demo"
    demo = subprocess.run(
        [sys.executable, "-m", "shipper", "demo", *WORDS, f"--keep={directory}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    return Kept(directory, demo.stdout)


@drawable
def test_no_panel_of_any_board_is_empty_on_demo_data(kept: Kept) -> None:
    """Each panel that asks Prometheus found something, and those that ask for logs or traces show what the archive has."""
    cards: list[dict[str, Any]] = kept.on("boards.html", lambda page: page.evaluate(CARDS))
    asked = [card for card in cards if card["source"] == "prometheus"]
    assert len(asked) > 60
    assert [card["title"] for card in asked if not card["found"]] == [], kept.said
    assert "found nothing" not in kept.said
    elsewhere = [card for card in cards if card["source"] in ("loki", "tempo")]
    assert [card["title"] for card in elsewhere if "host-2" not in card["text"]] == []
    assert [card["title"] for card in cards if card["height"] < 40] == []


@drawable
def test_a_picture_of_each_board_is_not_blank(kept: Kept) -> None:
    """A browser draws all seven of them, in the sizes that the page gives them."""
    pictures = kept.on("boards.html", _pictures)
    assert sorted(pictures) == sorted(names.BOARDS)
    for name, picture in pictures.items():
        assert rows(picture) > ENOUGH, name


@drawable
def test_the_history_is_drawn_from_the_archive(kept: Kept) -> None:
    """Four charts and a line for the life of every host; the host whose disk was found is among those that lost nothing."""
    counts, lives = kept.on("fleet.html", _history)
    assert counts == 4
    assert {"host-2a", "host-1-canary", "host-3-canary"} <= set(lives)
    assert "host-2d" not in lives
    assert rows(kept.on("fleet.html", _whole)) > ENOUGH
    assert "missing 0, duplicates 0" in kept.said


@drawable
def test_prometheus_tells_the_same_story_as_the_archive(kept: Kept) -> None:
    """Every generation, with its counts to the request, its hosts and its outcome, each time that it was there."""
    with prometheus.Prometheus(kept.directory / "prometheus") as server:
        asked = fleet("--prometheus", server.url, "--hours", "1")
    read = fleet(str(kept.directory / "archive"))
    alike = ("generation", "episode", "release", "image", "hosts", "requests", "errors", "outcome", "rollback", "ends")
    told, expected = ([{name: one[name] for name in alike} for one in form["generations"]] for form in (asked, read))
    assert sorted(told, key=str) == sorted(expected, key=str)
    assert {one["host"] for one in asked["lives"]} == {one["host"] for one in read["lives"]} - {"demo-gateway"}


def fleet(*words: str) -> dict[str, Any]:
    """What ``shipper fleet`` tells as JSON."""
    ran = CliRunner().invoke(main, ["fleet", *words, "--json"])
    assert ran.exit_code == 0, ran.output
    form: dict[str, Any] = json.loads(ran.stdout)
    return form


def test_pictures_in_the_docs_are_small_and_there() -> None:
    """Each that the README or a page of the docs shows is a PNG of this repository, small enough to be cloned by all."""
    texts = [file.read_text() for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    shown = {picture.name for picture in COMMITTED.glob("*.png") if any(picture.name in text for text in texts)}
    assert shown == {f"{name.removeprefix('shipper-')}.png" for name in (*names.BOARDS, "preview", "fleet")}
    for picture in COMMITTED.glob("*.png"):
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < make.LARGEST, picture.name


async def _pictures(page: Page) -> dict[str, bytes]:
    return {name: await page.picture(box) for name, box in (await make.boards(page)).items()}


async def _history(page: Page) -> tuple[int, list[str]]:
    charts = await page.evaluate("document.querySelectorAll('svg').length")
    return charts, await page.evaluate(
        "[...document.querySelectorAll('svg:last-of-type .name')].map(n => n.lastChild.textContent)"
    )


async def _whole(page: Page) -> bytes:
    return await page.picture(await make.whole(page))


def rows(picture: bytes) -> int:
    """How many different rows of pixels a PNG has, as they are filtered (https://www.w3.org/TR/png/, 8 bits a channel)."""
    width, height, depth, kind = struct.unpack(">IIBB", picture[16:26])
    assert (depth, kind) in ((8, 2), (8, 6))
    at, packed = 8, b""
    while at < len(picture):
        size, name = struct.unpack(">I4s", picture[at : at + 8])
        packed += picture[at + 8 : at + 8 + size] if name == b"IDAT" else b""
        at += 12 + size
    pixels = zlib.decompress(packed)
    stride = 1 + width * (3 if kind == 2 else 4)
    return len({pixels[row * stride + 1 : (row + 1) * stride] for row in range(height)})
