"""The dashboards over the demo's own metrics, for who has no Grafana: a Prometheus beside the fleet, and a page of it.

A story of a minute and a half says nothing in windows of half an hour. So hosts push ten times as often as in life, and
boards and rules are built anew with every duration as much shorter; nothing else is different from what is shipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper.dashboards import names, shipped
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.preview.asking import Prometheus
from shipper.dashboards.preview.board import Preview, Records, preview
from shipper.dashboards.preview.variables import Window
from shipper.dashboards.rulefiles import rule_files
from shipper.demo.builds import GENERATIONS
from shipper.demo.story import Fleet
from shipper.errors import ShipperError
from shipper.testing import prometheus

WRITE = "/api/v1/write"
SOURCES = (
    "prometheus",
    "loki",
    "tempo",
)  # whose panels are drawn; those of two stores of logs would say the same twice
ACCUSED = (
    names.BOARD_TRIAGE,
    names.BOARD_COMPARE,
)  # looked at while the bad release serves; the others when all is over
EDGE_SECONDS = 2.0  # before the first host


class NoBoards(ShipperError):
    """The boards cannot be drawn here; the text says what to do for it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the metrics go. ``boards``: what is drawn from there, by file name; ``push``: as it is meant for them."""

    write_url: str
    url: str
    boards: Mapping[str, Mapping[str, Any]]
    push: float


@contextmanager
def own_prometheus(directory: Path, push: float) -> Iterator[Place]:
    """A Prometheus of the demo's own, with rules and boards for hosts that push every ``push`` seconds.

    Raises `NoBoards` where there is none to run, `MissingExtra` where boards cannot be built.
    """
    from shipper.dashboards.build import build

    if not prometheus.available():
        raise NoBoards(
            "there is no program prometheus here (apt-get install prometheus, brew install prometheus, or "
            "https://prometheus.io/download); or name one that takes remote writes: --prometheus URL"
        )
    usual = BoardConfig()
    config = usual.scaled(max(1.0, usual.intervals.push / push))
    boards = shipped.boards(shipped.fitted(build(config), SOURCES))
    with prometheus.Prometheus(directory, rules=list(rule_files(config).values())) as server:
        yield Place(server.write_url, server.url, boards, config.intervals.push)


def given_prometheus(write_url: str) -> Place:
    """Somebody's own, which has the rules that are shipped if it has any. Raises `NoBoards`."""
    if not write_url.endswith(WRITE):
        raise NoBoards(f"--preview asks where --prometheus writes to, and {write_url} does not end in {WRITE}")
    boards = shipped.boards(shipped.fitted(shipped.files(), SOURCES))
    return Place(write_url, write_url.removesuffix(WRITE), boards, BoardConfig().intervals.push)


def draw(place: Place, fleet: Fleet, records: Records) -> Preview:
    """The page of all boards: of the bad release while it serves, and of the fleet when all is over. Raises `NotAnswered`."""
    moments = fleet.moments
    bad = GENERATIONS[1].generation
    accused = next((host.name for host in fleet.hosts if host.build.generation == bad and host.has_power), "")

    def window(board: Mapping[str, Any]) -> Window:
        end = moments.accused if board["uid"] in ACCUSED else moments.over
        return Window(moments.began - EDGE_SECONDS, end, place.push)

    return preview(
        list(place.boards.values()),
        Prometheus(place.url),
        window=window,
        given={"generation": bad, "instance": accused},
        records=records,
    )
