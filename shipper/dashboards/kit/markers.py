"""Deploys, rollbacks and withdrawals as lines across every graph of a board.

From metrics where a keeper keeps deploy series alive: `useValueForTime` puts the line at the series' value, in milliseconds, not
where a scrape saw it. Without such series the same markers come from the deploy log events; that set is off at first, so that
nobody sees each deploy twice.
"""

from shipper.dashboards.kit.queries import reference
from shipper.dashboards.kit.sdk import dashboard, model
from shipper.dashboards.sources import LOKI, PROMETHEUS, Source

BLUE, RED, GREY = "#5794F2", "#E02F44", "#8E8E8E"
# Two markers of one series closer than this become one range instead of two lines.
STEP = "60s"


def from_metric(name: str, expr: str, color: str, *, title: str, text: str) -> model.AnnotationQuery:
    """A marker at each value (unix seconds) of ``expr``'s series; ``title`` and ``text`` may name its labels as ``{{x}}``."""
    return (
        _marker(name, PROMETHEUS, color)
        .expr(f"{expr} * 1000")
        .use_value_for_time(True)
        .step(STEP)
        .title_format(title)
        .text_format(text)
        .tag_keys("service,action")
        .build()
    )


def from_logs(name: str, expr: str, color: str, *, title: str) -> model.AnnotationQuery:
    """A marker at each line of a LogQL query, with the line as its text; off until the reader switches it on."""
    return (
        _marker(name, LOKI, color)
        .enable(False)
        .expr(expr)
        .title_format(title)
        .tag_keys("service_name,shipper_deploy_action")
        .build()
    )


def _marker(name: str, source: Source, color: str) -> dashboard.AnnotationQuery:
    return dashboard.AnnotationQuery().name(name).datasource(reference(source)).enable(True).icon_color(color)
