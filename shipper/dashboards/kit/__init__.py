"""The kit boards are built with: a thin layer over grafana-foundation-sdk (pinned, alpha) so that its moves are met in one place.

How a board is written (see `shipper.dashboards.boards.triage`)::

    from shipper.dashboards import kit
    from shipper.dashboards.kit import Ask, Column, looks, now, prom

    def board(config: BoardConfig) -> kit.Board:
        made = kit.Board(uid=kit.HOSTS, title="Hosts", question="Who lives, who died, and why?")
        made.variables = [...]          # kit.datasource(PROMETHEUS), kit.label_values(...), kit.newest_first(...), kit.typed(...)
        made.markers = [...]            # common to all boards: shipper.dashboards.boards.common
        made.row("Is it one host?", [
            kit.timeseries(
                Ask(1, "Which hosts fail most?", "What it shows.", "What the reader does next.", width=12, height=8),
                [prom("topk(10, ...)", "{{instance}}")],            # an unbounded legend without topk is refused
                unit=looks.PERCENT,
                links=[kit.to(kit.HOSTS, "Open this host", instance=kit.of_series("instance"))],
            ),
            kit.table(
                Ask(...),
                [now("topk(10, ...)"), now("...")],
                [Column("instance", "Host", link=...), Column("A", "Errors"), Column("B", "Share", looks.PERCENT)],
            ),
        ])
        lines = kit.table(Ask(...), [kit.log_lines("...")], [...], first=[kit.parts_of("labels")])
        made.row("Log lines (Loki)", [lines], needs=LOKI)
        return made

`boards/common.py` has the variables (env, service, generation), markers and PromQL fragments all boards share. In a table
`Column("A", ...)` is the value of the first query, `Column("generation", ...)` a label. Queries: prom (lines over time),
now (table rows), number (stat), heat (heatmap), log_lines, trace_list, elastic_lines ... Panels: timeseries, stat, table, states,
heatmap, bars, traces. Colours by query letter (`colors={"A": looks.fixed(looks.NEW)}`) or `/regex/` of the series' name.
Links: `to(board, title, time=..., **variables)` with `chosen("x")` (this board's variable), `of_series("x")` (label of the
clicked line), `of_row("x")` (column of the clicked row). Add the module to `build.BOARDS`; `python -m shipper.dashboards.generate`
writes dashboards/*.json. Rows that need Loki, Tempo or Elasticsearch say so by `needs=`: Grafana's classic schema cannot hide
a row (a row repeated over a data source variable without values is drawn once, with an error), so `shipper.dashboards.fit.fit`
(pure JSON, no SDK) leaves them out where a board is installed or exported for a Grafana without that source.
"""

from shipper.dashboards.kit import looks, markers
from shipper.dashboards.kit.board import Board
from shipper.dashboards.kit.links import (
    AROUND_THE_POINT,
    COMPARE,
    GENERATIONS,
    HOSTS,
    ROLLOUT,
    SHIPPING,
    SLO,
    TRIAGE,
    chosen,
    of_row,
    of_series,
    to,
)
from shipper.dashboards.kit.panels import Ask, bars, heatmap, override, stat, states, timeseries, traces
from shipper.dashboards.kit.queries import (
    Query,
    elastic_count,
    elastic_lines,
    heat,
    log_count,
    log_lines,
    now,
    number,
    one_trace,
    prom,
    trace_count,
    trace_list,
)
from shipper.dashboards.kit.tables import Column, parts_of, table
from shipper.dashboards.kit.variables import (
    datasource,
    hidden_label,
    label_values,
    newest_first,
    typed,
    value_of,
)

__all__ = [
    "AROUND_THE_POINT",
    "COMPARE",
    "GENERATIONS",
    "HOSTS",
    "ROLLOUT",
    "SHIPPING",
    "SLO",
    "TRIAGE",
    "Ask",
    "Board",
    "Column",
    "Query",
    "bars",
    "chosen",
    "datasource",
    "elastic_count",
    "elastic_lines",
    "heat",
    "heatmap",
    "hidden_label",
    "label_values",
    "log_count",
    "log_lines",
    "looks",
    "markers",
    "newest_first",
    "now",
    "number",
    "of_row",
    "of_series",
    "one_trace",
    "override",
    "parts_of",
    "prom",
    "stat",
    "states",
    "table",
    "timeseries",
    "to",
    "trace_count",
    "trace_list",
    "traces",
    "typed",
    "value_of",
]
