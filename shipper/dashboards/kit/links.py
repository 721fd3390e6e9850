"""Links between boards that carry what the reader had chosen: data source, environment, service and the time.

Only what the target asks for is carried further (``generation=...``, ``instance=...``): a variable that the board of
departure does not know would arrive as its own name.
"""

from collections.abc import Mapping

from shipper.dashboards.kit.sdk import dashboard, model
from shipper.dashboards.names import BOARD_COMPARE as COMPARE
from shipper.dashboards.names import BOARD_GENERATIONS as GENERATIONS
from shipper.dashboards.names import BOARD_HOSTS as HOSTS
from shipper.dashboards.names import BOARD_ROLLOUT as ROLLOUT
from shipper.dashboards.names import BOARD_SHIPPING as SHIPPING
from shipper.dashboards.names import BOARD_SLO as SLO
from shipper.dashboards.names import BOARD_TRIAGE as TRIAGE
from shipper.dashboards.sources import PROMETHEUS

__all__ = [
    "COMPARE",
    "GENERATIONS",
    "HOSTS",
    "ROLLOUT",
    "SHIPPING",
    "SLO",
    "TRIAGE",
    "chosen",
    "menu",
    "of_row",
    "of_series",
    "to",
]

CARRIED = (PROMETHEUS.variable, "env", "service")
SAME_TIME = "from=${__from}&to=${__to}"
# Grafana's way of saying "these ten minutes around the point that was clicked" (milliseconds)
AROUND_THE_POINT = "time=${__value.time}&time.window=600000"


def chosen(variable: str) -> str:
    """The value of one of this board's variables, safe in a URL."""
    return f"${{{variable}:percentencode}}"


def of_series(label: str) -> str:
    """The label of the series whose point is clicked."""
    return f"${{__field.labels.{label}:percentencode}}"


def of_row(column: str) -> str:
    """The value of another column in the clicked table row; the column's name as the query gives it."""
    return f'${{__data.fields["{column}"]:percentencode}}'


def to(
    board: str,
    title: str,
    *,
    time: str = SAME_TIME,
    also: Mapping[str, str] | None = None,
    **variables: str,
) -> model.DashboardLink:
    """A link to another board with its variables set.

    Args:
        board: its uid, as in `names.BOARDS`.
        title: what happens on the click, as an order ("Open the hosts of this generation").
        time: the range to show there: `SAME_TIME` or `AROUND_THE_POINT`.
        also, variables: further variables of the target, from `chosen`, `of_series` or `of_row`; they win over those carried.
    """
    values = {name: chosen(name) for name in CARRIED} | dict(also or {}) | variables
    query = [f"var-{name}={value}" for name, value in values.items()]
    url = f"/d/{board}?{'&'.join([*query, time])}"
    return dashboard.DashboardLink(title).type(model.DashboardLinkType.LINK).url(url).build()


def menu(tag: str) -> model.DashboardLink:
    """The list of the other boards at the top of each; Grafana itself carries variables and time."""
    return (
        dashboard.DashboardLink("Shipper")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([tag])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
        .build()
    )
