"""A board: its variables, markers and rows of panels, written as classic dashboard JSON (schemaVersion 42), always the same bytes.

Classic JSON because every Grafana from 10 on imports and provisions it, and 13 still does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shipper.dashboards.kit import links
from shipper.dashboards.kit.sdk import JSONEncoder, dashboard, model
from shipper.dashboards.layout import Row, arrange
from shipper.dashboards.sources import OPEN, Source

TAG = "shipper"
# Row headings need numbers of their own; panels written by hand stay below.
FIRST_ROW_ID = 900
MOST_PANELS = 12


@dataclass
class Board:
    """One dashboard under construction.

    Attributes:
        uid: fixed for ever; links, alerts and provisioning name it.
        title: short, shown after the prefix "Shipper /".
        question: what the whole board answers.
        since: the time range it opens with, back from now.
    """

    uid: str
    title: str
    question: str
    since: str = "now-2h"
    variables: list[model.VariableModel] = field(default_factory=list)
    markers: list[model.AnnotationQuery] = field(default_factory=list)
    _rows: list[Row] = field(default_factory=list)

    def row(
        self, title: str, panels: Sequence[model.Panel], *, needs: Source | None = None, closed: bool = False
    ) -> None:
        """Adds a row. A row that ``needs`` a data source besides Prometheus is left out by `shipper.dashboards.fit` where the
        Grafana has none, and is shipped closed, asking nothing, unless its source belongs to the usual set."""
        heading = (
            dashboard.Row(title)
            .id(FIRST_ROW_ID + len(self._rows))
            .collapsed(closed or (needs is not None and needs.type not in OPEN))
        )
        self._rows.append(Row(_plain(heading.build()), [_plain(panel) for panel in panels]))

    def to_json(self) -> str:
        """The file's text.

        Raises:
            ValueError: two panels share a number, or the board shows more than a reader takes in.
        """
        panels = [panel for row in self._rows for panel in row.panels]
        ids = [panel["id"] for panel in panels]
        if len(ids) != len(set(ids)) or max(ids) >= FIRST_ROW_ID:
            raise ValueError(f"{self.uid}: panel ids are not unique below {FIRST_ROW_ID}: {sorted(ids)}")
        shown = sum(len(row.panels) for row in self._rows if row.heading and not row.heading["collapsed"])
        if shown > MOST_PANELS:
            raise ValueError(f"{self.uid} shows {shown} panels; nobody reads more than {MOST_PANELS}")
        built = _plain(self._dashboard())
        built["panels"] = arrange(self._rows)
        return json.dumps(built, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def _dashboard(self) -> model.Dashboard:
        built = (
            dashboard.Dashboard(f"Shipper / {self.title}")
            .uid(self.uid)
            .description(self.question)
            .tags([TAG])
            .readonly()
            .timezone("utc")
            .time(self.since, "now")
            .refresh("30s")
            .tooltip(model.DashboardCursorSync.CROSSHAIR)
            .links([])
            .build()
        )
        built.links = [links.menu(TAG)]
        built.templating = model.DashboardDashboardTemplating(list_val=self.variables)
        built.annotations = model.AnnotationContainer(list_val=self.markers)
        return built


def _plain(built: object) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(built, cls=JSONEncoder))
    return plain
