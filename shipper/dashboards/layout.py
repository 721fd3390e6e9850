"""Where panels stand on Grafana's grid of 24 columns, computed on plain JSON so that leaving a row out moves the rest up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

COLUMNS = 24
Panel = dict[str, Any]


@dataclass
class Row:
    """A row's own panel (its heading) and the panels under it; the heading is None for panels above the first row."""

    heading: Panel | None = None
    panels: list[Panel] = field(default_factory=list)

    @property
    def types(self) -> frozenset[str]:
        """The data source types its panels ask."""
        return frozenset(panel["datasource"]["type"] for panel in self.panels if "datasource" in panel)


def rows(panels: Iterable[Panel]) -> list[Row]:
    """The panels of a classic dashboard, grouped by the row they stand in, whether it is open or closed."""
    found: list[Row] = [Row()]
    for panel in panels:
        if panel["type"] == "row":
            found.append(Row(panel, list(panel.get("panels", []))))
        else:
            found[-1].panels.append(panel)
    return [row for row in found if row.heading is not None or row.panels]


def arrange(ordered: Sequence[Row]) -> list[Panel]:
    """The classic ``panels`` list of these rows from top to bottom; a closed row carries its panels inside itself."""
    placed: list[Panel] = []
    y = 0
    for row in ordered:
        if row.heading is not None:
            heading = {**row.heading, "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y}, "panels": []}
            placed.append(heading)
            y += 1
            if heading["collapsed"]:
                heading["panels"], _ = _flow(row.panels, y)
                continue
        flowed, y = _flow(row.panels, y)
        placed.extend(flowed)
    return placed


def _flow(panels: Sequence[Panel], y: int) -> tuple[list[Panel], int]:
    """These panels from left to right, a new line where the next does not fit; and the first free line under them."""
    flowed: list[Panel] = []
    x = tallest = 0
    for panel in panels:
        width, height = panel["gridPos"]["w"], panel["gridPos"]["h"]
        if x + width > COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        flowed.append({**panel, "gridPos": {"h": height, "w": width, "x": x, "y": y}})
        x += width
        tallest = max(tallest, height)
    return flowed, y + tallest
