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
from shipper.dashboards.kit.sdk import timeseries as series
from shipper.dashboards.sources import Source

# How many values a legend may list beside the name; more is a table pretending to be a legend.
LEGEND_CALCS = ("lastNotNull", "max")
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
    fields = fields_of(built, unit=unit, no_value=no_value, thresholds=limits, links=links)
    fields.defaults.max_val = at_most
    fields.overrides += [_colored(which, color) for which, color in (colors or {}).items()]
    return finish(built, ask, queries)


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
    fields = fields_of(built, unit=unit, no_value=no_value, thresholds=thresholds, links=links)
    fields.defaults.mappings = list(mappings) or None
    return finish(built, ask, queries)


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
    fields = fields_of(built, unit=unit, no_value=no_value, thresholds=thresholds, links=links)
    fields.defaults.mappings = list(mappings) or None
    return finish(built, ask, queries)


def heatmap(ask: Ask, query: Query, *, unit: str, no_value: str = "no data") -> model.Panel:
    """How often each bucket of a histogram was hit, over time; the buckets come from the query."""
    built = heat.Panel().calculate(False).y_axis(heat.YAxisConfig().unit(unit)).build()
    fields_of(built, unit=unit, no_value=no_value)
    return finish(built, ask, [query])


def bars(ask: Ask, queries: Sequence[Query], *, unit: str, no_value: str = "no data") -> model.Panel:
    """A bar a series, the longest first as the query gives them; for results whose fields have no fixed names."""
    built = (
        bargauge.Panel()
        .orientation(shared.VizOrientation.HORIZONTAL)
        .display_mode(shared.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .build()
    )
    fields_of(built, unit=unit, no_value=no_value, thresholds=looks.thresholds(looks.NEW))
    return finish(built, ask, queries)


def traces(ask: Ask, query: Query) -> model.Panel:
    """One trace as a waterfall. The SDK has no builder for this panel type; Grafana takes it by its name."""
    built = dashboard.Panel().type("traces").build()
    fields_of(built, unit=looks.PLAIN, no_value="no trace chosen: click a trace id")
    return finish(built, ask, [query])


def fields_of(
    panel: model.Panel,
    *,
    unit: str,
    no_value: str,
    thresholds: model.ThresholdsConfig | None = None,
    links: Sequence[model.DashboardLink] = (),
) -> model.FieldConfigSource:
    """Gives a panel its unit, the words for no data, thresholds and links; returns its field settings for more."""
    fields = panel.field_config or model.FieldConfigSource()
    panel.field_config = fields
    fields.defaults.unit = unit
    fields.defaults.no_value = no_value
    fields.defaults.thresholds = thresholds
    fields.defaults.links = list(links) or None
    return fields


def _colored(which: str, color: model.FieldColor) -> model.DashboardFieldConfigSourceOverrides:
    return overriding("byRegexp" if which.startswith("/") else "byFrameRefID", which, {"color": color})


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
    return overriding("byFrameRefID", query, wanted)


def overriding(matcher: str, which: str, wanted: dict[str, object | None]) -> model.DashboardFieldConfigSourceOverrides:
    """Settings for the fields that a matcher picks; those that are None are left as they are."""
    return model.DashboardFieldConfigSourceOverrides(
        matcher=model.MatcherConfig(id_val=matcher, options=which),
        properties=[
            model.DynamicConfigValue(id_val=name, value=value) for name, value in wanted.items() if value is not None
        ],
    )


def finish(panel: model.Panel, ask: Ask, queries: Sequence[Query]) -> model.Panel:
    """Gives a panel its number, words, size and queries. Raises ValueError for queries of several data sources."""
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
