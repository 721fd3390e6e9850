"""Template variables: the data sources with the names and labels the dashboard linter wants, and what is looked at.

Every query variable is refreshed when the time range changes: generations come and go within minutes here.
"""

from shipper.dashboards.kit.queries import reference
from shipper.dashboards.kit.sdk import dashboard, model
from shipper.dashboards.sources import PROMETHEUS, Source

Variable = model.VariableModel


def datasource(source: Source) -> Variable:
    """Which of the reader's data sources of this kind is asked."""
    return dashboard.DatasourceVariable(source.variable).label(source.label).type(source.type).build()


def label_values(name: str, label: str, query: str, *, description: str = "") -> Variable:
    """A choice among the values of a label: ``query`` is Grafana's ``label_values(metric{...}, label)``."""
    built = _query(name, label, query)
    built.sort = model.VariableSort.ALPHABETICAL_ASC
    built.description = description or None
    return built


def newest_first(name: str, label: str, promql: str, of: str) -> Variable:
    """A choice among the values of label ``of`` in the order ``promql`` returns them, so that the first is the default.

    ``promql`` must keep no label but ``of``. Grafana writes each result as ``{of="value"} number stamp`` without escaping, so
    this expression finds the value whole even where it has quotes.
    """
    return _query(name, label, f"query_result({promql})", regex=f'/^{{{of}="(.*)"}} /')


def value_of(name: str, promql: str) -> Variable:
    """A hidden number computed when the board opens, whole; 0 where the query has no result, so that ``offset ${x}s`` parses."""
    built = _query(name, "", f"query_result({promql} or vector(0))", regex=r"/} (-?\d+)/", hidden=True)
    built.current = model.VariableOption(text="0", value="0")
    return built


def hidden_label(name: str, promql: str, of: str) -> Variable:
    """A hidden choice of one label's value, the first that ``promql`` returns (which keeps no label but ``of``)."""
    built = _query(name, "", f"query_result({promql})", regex=f'/^{{{of}="(.*)"}} /', hidden=True)
    built.current = model.VariableOption(text="", value="")
    return built


def typed(name: str, label: str, description: str) -> Variable:
    """Free text, empty at first; links fill it."""
    return dashboard.TextBoxVariable(name).label(label).description(description).default_value("").build()


def _query(name: str, label: str, query: str, *, regex: str = "", hidden: bool = False) -> Variable:
    variable = (
        dashboard.QueryVariable(name)
        .datasource(reference(PROMETHEUS))
        .query({"query": query, "refId": f"variable-{name}"})
        .definition(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.DISABLED)
    )
    if label:
        variable = variable.label(label)
    if regex:
        variable = variable.regex(regex)
    if hidden:
        variable = variable.hide(model.VariableHide.HIDE_VARIABLE)
    return variable.build()
