"""Tables: a row a generation, host or line, a column a label or a query's value."""

from collections.abc import Sequence
from dataclasses import dataclass

from shipper.dashboards.kit import looks
from shipper.dashboards.kit.panels import LETTERS, Ask, fields_of, finish, overriding
from shipper.dashboards.kit.queries import Query
from shipper.dashboards.kit.sdk import common, model, shared
from shipper.dashboards.kit.sdk import table as tables

EMPTY = "—"
# What Grafana calls the same fields of log lines where its `lokiLogsDataplane` is switched on.
LOKI_NAMES = {"Time": "timestamp", "Line": "body"}


@dataclass(frozen=True)
class Column:
    """One column of a table: the field as the query names it (a label, or the letter of the query for its value)."""

    field: str
    title: str
    unit: str = ""
    link: model.DashboardLink | None = None
    width: int | None = None
    decimals: int | None = None
    thresholds: model.ThresholdsConfig | None = None
    mappings: Sequence[model.ValueMapping] = ()

    @property
    def of_value(self) -> bool:
        """Whether it shows a query's value; else a label, which is text."""
        return len(self.field) == 1 and self.field in LETTERS

    @property
    def name(self) -> str:
        """The field's name in the merged table."""
        return f"Value #{self.field}" if self.of_value else self.field


def table(
    ask: Ask,
    queries: Sequence[Query],
    columns: Sequence[Column],
    *,
    sort: str = "",
    first: Sequence[model.DataTransformerConfig] = (),
    no_value: str = EMPTY,
) -> model.Panel:
    """Rows of instant queries, merged on the labels they share, showing only ``columns`` in their order.

    Args:
        sort: the title of the column to sort by, the largest first.
        first: transformations that make the fields, before columns are picked (log lines: `parts_of`).
        no_value: what is said where there are no rows; a cell that is empty beside others is a dash.
    """
    panel = tables.Panel().cell_height(shared.TableCellHeight.SM).show_header(True)
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
    titles = _titles(columns)
    transformations = [
        *first,
        *([model.DataTransformerConfig(id_val="merge", options={})] if len(queries) > 1 else []),
        model.DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": list(titles)}}),
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {},
                "indexByName": {name: index for index, name in enumerate(titles)},
                "renameByName": titles,
            },
        ),
    ]
    built = panel.build()
    built.transformations = transformations
    fields = fields_of(built, unit=looks.TEXT, no_value=no_value)
    cell = EMPTY if no_value != EMPTY else None
    fields.overrides += [override for column in columns if (override := _column(column, cell)).properties]
    return finish(built, ask, queries)


def parts_of(field: str, *, keep_time: bool = True) -> model.DataTransformerConfig:
    """Makes a column of each label of a log line, which Loki hands over as one JSON field."""
    options = {"source": field, "format": "json", "replace": False, "keepTime": keep_time}
    return model.DataTransformerConfig(id_val="extractFields", options=options)


def _titles(columns: Sequence[Column]) -> dict[str, str]:
    """The fields to keep, in their order, with the titles they get.

    Where only one of several Prometheus queries found something, Grafana calls its value ``Value`` and not ``Value #A``; that
    one is the first query then, as the others only add to its rows.
    """
    titles = {}
    for column in columns:
        titles[column.name] = column.title
        if column.field == "A":
            titles["Value"] = column.title
        if column.field in LOKI_NAMES:
            titles[LOKI_NAMES[column.field]] = column.title
    return titles


def _column(column: Column, no_value: str | None) -> model.DashboardFieldConfigSourceOverrides:
    wanted: dict[str, object | None] = {
        "unit": column.unit or (looks.PLAIN if column.of_value else None),
        "links": [column.link] if column.link else None,
        "custom.width": column.width,
        "decimals": column.decimals,
        "thresholds": column.thresholds,
        "custom.cellOptions": {"type": "color-text"} if column.thresholds else None,
        "mappings": list(column.mappings) or None,
        "noValue": no_value,
    }
    return overriding("byName", column.title, wanted)
