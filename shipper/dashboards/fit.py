"""Cuts a board to the data sources a Grafana has: rows of sources it lacks go, the rest of the page moves up.

Classic dashboards cannot hide a row by themselves: a row that repeats over a variable without values is still drawn once
(Grafana's RowRepeaterBehavior puts a placeholder there), and conditional rows exist only in schema v2. So the shipped JSON has
every row, closed where its source is not of the usual set, and whoever installs or exports for a known Grafana calls this.
"""

import copy
from collections.abc import Collection
from typing import Any

from shipper.dashboards.layout import arrange, rows
from shipper.dashboards.sources import PROMETHEUS, SOURCES, Source

Dashboard = dict[str, Any]


def fit(board: Dashboard, present: Collection[str]) -> Dashboard:
    """The board for a Grafana whose data sources have the types ``present``.

    Rows, variables, markers and links of absent sources are left out; rows of present ones are opened. Where only an
    equivalent plugin is present (OpenSearch for Elasticsearch), its type is written instead. Prometheus is never left out.

    Args:
        board: a classic dashboard as in dashboards/*.json; it is not changed.
        present: plugin types as Grafana's ``/api/datasources`` says them.
    """
    fitted = copy.deepcopy(board)
    absent = [source for source in SOURCES if source is not PROMETHEUS and _plugin(source, present) is None]
    kept = [row for row in rows(fitted["panels"]) if not row.types & {source.type for source in absent}]
    for row in kept:
        if row.heading is not None and row.types - {PROMETHEUS.type}:
            row.heading["collapsed"] = False
    fitted["panels"] = arrange(kept)
    variables = {source.variable for source in absent}
    fitted["templating"]["list"] = [one for one in fitted["templating"]["list"] if one["name"] not in variables]
    types = {source.type for source in absent}
    fitted["annotations"]["list"] = [
        one for one in fitted["annotations"]["list"] if one["datasource"]["type"] not in types
    ]
    _cut_links(fitted, variables)
    for source in SOURCES:
        plugin = _plugin(source, present)
        if plugin is not None and plugin != source.type:
            _retype(fitted, source, plugin)
    return fitted


def _plugin(source: Source, present: Collection[str]) -> str | None:
    return next((type_ for type_ in (source.type, *source.others) if type_ in present), None)


def _cut_links(part: Any, variables: Collection[str]) -> None:
    """Links to other boards no longer carry the variables; those that open something in an absent data source are gone."""
    if isinstance(part, dict):
        for key, value in part.items():
            if isinstance(value, list) and (key == "links" or (key == "value" and part.get("id") == "links")):
                part[key] = [link for link in value if _carried(link, variables)]
            _cut_links(value, variables)
    elif isinstance(part, list):
        for value in part:
            _cut_links(value, variables)


def _carried(link: dict[str, Any], variables: Collection[str]) -> bool:
    """Takes the variables out of a link's parameters; whether what is left asks none of them."""
    path, mark, query = link.get("url", "").partition("?")
    if mark:
        kept = [one for one in query.split("&") if one.partition("=")[0].removeprefix("var-") not in variables]
        link["url"] = f"{path}?{'&'.join(kept)}"
    return not any(f"${{{name}" in link.get("url", "") for name in variables)


def _retype(part: Any, source: Source, plugin: str) -> None:
    if isinstance(part, dict):
        if part.get("uid") == source.uid and part.get("type") == source.type:
            part["type"] = plugin
        if part.get("type") == "datasource" and part.get("name") == source.variable:
            part["query"] = plugin
        for value in part.values():
            _retype(value, source, plugin)
    elif isinstance(part, list):
        for value in part:
            _retype(value, source, plugin)
