"""The kinds of panel, each a question with its answer, unit and advice; what makes a panel useful cannot be left out.

Every helper takes first: ``id`` (written down, never counted: alerts and links point at it), the question, what the panel says
and what the reader does next.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shipper.dashboards.kit import looks
from shipper.dashboards.kit.queries import Query, reference
from shipper.dashboards.kit.sdk import bargauge, common, dashboard, model, shared, statetimeline
from shipper.dashboards.kit.sdk import heatmap as heat
from shipper.dashboards.kit.sdk import stat as stats
from shipper.dashboards.kit.sdk import table as tables
from shipper.dashboards.kit.sdk import timeseries as series
from shipper.dashboards.sources import Source

# How many values a legend may list beside the name; more is a table pretending to be a legend.
LEGEND_CALCS = ("lastNotNull", "max")
# What Grafana calls the same fields of log lines where its `lokiLogsDataplane` is switched on.
LOKI_NAMES = {"Time": "timestamp", "Line": "body"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Ask:
    """What a panel is for: its fixed number, the question, what it says, what to do next, and its size on the grid."""

    id: int
    question: str
    says: str
    then: str
    width: int = 12
    height: int = 8

    def __post_init__(self) -> None:
        if not self.question.endswith("?"):
            raise ValueError(f"the title of panel {self.id} is no question: {self.question!r}")
        if not self.then.endswith("."):
            raise ValueError(f"what to do next of panel {self.id} is no sentence: {self.then!r}")

    @property
    def description(self) -> str:
        """The text behind the panel's (i)."""
        return f"{self.says}\n\n**Next:** {self.then}"


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


def timeseries(
    ask: Ask,
    queries: Sequence[Query],
    *,
    unit: str,
    links: Sequence[model.DashboardLink] = (),
    stack: bool = False,
    steps: bool = False,
    at_most: float | None = None,
    colors: dict[str, model.FieldColor] | None = None,
    no_value: str = "no data",
    limits: model.ThresholdsConfig | None = None,
) -> model.Panel:
    """Lines over time. ``colors`` maps a query's letter or, as ``/regex/``, a series' name to its colour.

    ``limits`` draws its thresholds as dashed lines; ``steps`` suits counts of hosts.
    """
    panel = (
        series.Panel()
        .legend(
            common.VizLegendOptions()
            .display_mode(shared.LegendDisplayMode.TABLE)
            .placement(shared.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(list(LEGEND_CALCS))
        )
        .tooltip(common.VizTooltipOptions().mode(shared.TooltipDisplayMode.MULTI).sort(shared.SortOrder.DESCENDING))
        .line_width(2)
        .fill_opacity(25 if stack else 5)
        .show_points(shared.VisibilityMode.NEVER)
        .line_interpolation(shared.LineInterpolation.STEP_AFTER if steps else shared.LineInterpolation.LINEAR)
        .span_nulls(False)
        .min(0)
    )
    if stack:
        panel = panel.stacking(common.StackingConfig().mode(shared.StackingMode.NORMAL).group("A"))
    if limits is not None:
        style = common.GraphThresholdsStyleConfig().mode(shared.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds_style(style)
    built = panel.build()
    fields = _fields(built, unit=unit, no_value=no_value, thresholds=limits, links=links)
    fields.defaults.max_val = at_most
    fields.overrides += [_colored(which, color) for which, color in (colors or {}).items()]
    return _finish(built, ask, queries)


def stat(
    ask: Ask,
    queries: Sequence[Query],
    *,
    unit: str,
    thresholds: model.ThresholdsConfig | None = None,
    mappings: Sequence[model.ValueMapping] = (),
    links: Sequence[model.DashboardLink] = (),
    names: bool = False,
    no_value: str = "no data",
) -> model.Panel:
    """A few numbers, large; ``names`` shows the series' name beside each. ``no_value`` is said where there is none."""
    built = (
        stats.Panel()
        .graph_mode(shared.BigValueGraphMode.NONE)
        .color_mode(shared.BigValueColorMode.BACKGROUND_SOLID if thresholds else shared.BigValueColorMode.NONE)
        .text_mode(shared.BigValueTextMode.VALUE_AND_NAME if names else shared.BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .build()
    )
    fields = _fields(built, unit=unit, no_value=no_value, thresholds=thresholds, links=links)
    fields.defaults.mappings = list(mappings) or None
    return _finish(built, ask, queries)


def table(
    ask: Ask,
    queries: Sequence[Query],
    columns: Sequence[Column],
    *,
    sort: str = "",
    first: Sequence[model.DataTransformerConfig] = (),
    no_value: str = "—",
) -> model.Panel:
    """Rows of instant queries, merged on the labels they share, showing only ``columns`` in their order.

    Args:
        sort: the title of the column to sort by, the largest first.
        first: transformations that make the fields, before columns are picked (log lines: `parts_of`).
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
    fields = _fields(built, unit=looks.TEXT, no_value=no_value)
    fields.overrides += [override for column in columns if (override := _column(column)).properties]
    return _finish(built, ask, queries)


def states(
    ask: Ask,
    queries: Sequence[Query],
    *,
    mappings: Sequence[model.ValueMapping] = (),
    thresholds: model.ThresholdsConfig | None = None,
    unit: str = looks.PLAIN,
    links: Sequence[model.DashboardLink] = (),
    no_value: str = "no data",
) -> model.Panel:
    """Bars of state over time, a line a series (at most 20 on a page)."""
    built = (
        statetimeline.Panel()
        .show_value(shared.VisibilityMode.AUTO)
        .merge_values(True)
        .per_page(20)
        .legend(
            common.VizLegendOptions()
            .display_mode(shared.LegendDisplayMode.LIST)
            .placement(shared.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .build()
    )
    fields = _fields(built, unit=unit, no_value=no_value, thresholds=thresholds, links=links)
    fields.defaults.mappings = list(mappings) or None
    return _finish(built, ask, queries)


def heatmap(ask: Ask, query: Query, *, unit: str, no_value: str = "no data") -> model.Panel:
    """How often each bucket of a histogram was hit, over time; the buckets come from the query."""
    built = heat.Panel().calculate(False).y_axis(heat.YAxisConfig().unit(unit)).build()
    _fields(built, unit=unit, no_value=no_value)
    return _finish(built, ask, [query])


def bars(ask: Ask, queries: Sequence[Query], *, unit: str, no_value: str = "no data") -> model.Panel:
    """A bar a series, the longest first as the query gives them; for results whose fields have no fixed names."""
    built = (
        bargauge.Panel()
        .orientation(shared.VizOrientation.HORIZONTAL)
        .display_mode(shared.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .build()
    )
    _fields(built, unit=unit, no_value=no_value, thresholds=looks.thresholds(looks.NEW))
    return _finish(built, ask, queries)


def traces(ask: Ask, query: Query) -> model.Panel:
    """One trace as a waterfall. The SDK has no builder for this panel type; Grafana takes it by its name."""
    built = dashboard.Panel().type("traces").build()
    _fields(built, unit=looks.PLAIN, no_value="no trace chosen: click a trace id")
    return _finish(built, ask, [query])


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


def _fields(
    panel: model.Panel,
    *,
    unit: str,
    no_value: str,
    thresholds: model.ThresholdsConfig | None = None,
    links: Sequence[model.DashboardLink] = (),
) -> model.FieldConfigSource:
    fields = panel.field_config or model.FieldConfigSource()
    panel.field_config = fields
    fields.defaults.unit = unit
    fields.defaults.no_value = no_value
    fields.defaults.thresholds = thresholds
    fields.defaults.links = list(links) or None
    return fields


def _colored(which: str, color: model.FieldColor) -> model.DashboardFieldConfigSourceOverrides:
    return _override("byRegexp" if which.startswith("/") else "byFrameRefID", which, {"color": color})


def override(
    query: str,
    *,
    unit: str = "",
    decimals: int | None = None,
    thresholds: model.ThresholdsConfig | None = None,
    mappings: Sequence[model.ValueMapping] = (),
) -> model.DashboardFieldConfigSourceOverrides:
    """How the results of one query (its letter) are shown where a panel has several of different meaning."""
    wanted: dict[str, object | None] = {
        "unit": unit or None,
        "decimals": decimals,
        "thresholds": thresholds,
        "mappings": list(mappings) or None,
    }
    return _override("byFrameRefID", query, wanted)


def _override(matcher: str, which: str, wanted: dict[str, object | None]) -> model.DashboardFieldConfigSourceOverrides:
    return model.DashboardFieldConfigSourceOverrides(
        matcher=model.MatcherConfig(id_val=matcher, options=which),
        properties=[
            model.DynamicConfigValue(id_val=name, value=value) for name, value in wanted.items() if value is not None
        ],
    )


def _column(column: Column) -> model.DashboardFieldConfigSourceOverrides:
    wanted: dict[str, object | None] = {
        "unit": column.unit or (looks.PLAIN if column.of_value else None),
        "links": [column.link] if column.link else None,
        "custom.width": column.width,
        "decimals": column.decimals,
        "thresholds": column.thresholds,
        "custom.cellOptions": {"type": "color-text"} if column.thresholds else None,
        "mappings": list(column.mappings) or None,
    }
    return _override("byName", column.title, wanted)


def _finish(panel: model.Panel, ask: Ask, queries: Sequence[Query]) -> model.Panel:
    sources: list[Source] = [query.source for query in queries]
    if len(set(sources)) > 1:
        raise ValueError(f"panel {ask.id} asks several data sources at once: {ask.question}")
    panel.id_val = ask.id
    panel.title = ask.question
    panel.description = ask.description
    panel.grid_pos = model.GridPos(h=ask.height, w=ask.width, x=0, y=0)
    panel.repeat_direction = None
    if sources:
        panel.datasource = reference(sources[0])
        panel.targets = [query.make(letter) for letter, query in zip(LETTERS, queries, strict=False)]
    return panel
