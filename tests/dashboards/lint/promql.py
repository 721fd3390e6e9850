"""PromQL as Grafana would send it: variables filled in, parsed, and asked what metrics it reads."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser

# What Grafana itself fills in, with values that every place of a query takes.
BUILT_IN = {
    "__rate_interval": "1m",
    "__interval": "15s",
    "__auto": "15s",
    "__range": "2h",
    "__range_s": "7200",
    "__from": "1700000000000",
    "__to": "1700007200000",
}
_TEXT = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$([a-zA-Z_]\w*)")
_ASKS = re.compile(r"^(label_values|query_result|label_names|metrics)\((.*)\)$", re.DOTALL)
_CHILDREN = ("lhs", "rhs", "expr", "param", "args", "vector_selector")


@dataclass(frozen=True)
class Read:
    """A metric that a query reads, and the functions it stands in, outermost first."""

    metric: str
    within: tuple[str, ...]


def filled(text: str, values: dict[str, str] | None = None) -> str:
    """``text`` with Grafana's own variables and ``values`` in place; a number for any other, which is valid everywhere."""
    known = BUILT_IN | (values or {})
    return _TEXT.sub(lambda match: known.get(match[1] or match[2], "1"), text)


def parsed(text: str) -> Any:
    """The syntax tree. Raises ValueError with what is wrong."""
    return promql_parser.parse(filled(text))


def reads(text: str) -> list[Read]:
    """Every metric that ``text`` reads."""
    return list(_reads(parsed(text), ()))


def ranges(text: str, functions: set[str]) -> list[str]:
    """The ranges as written (``$__rate_interval``, ``5m``) that ``functions`` are called over."""
    called = re.compile(r"\b(" + "|".join(functions) + r")\s*\((?:[^()]|\([^()]*\))*?\[([^\]:]+)\]")
    return [match[2] for match in called.finditer(text)]


def asked_by_variable(variable: dict[str, Any]) -> str:
    """The PromQL inside a query variable's ``label_values(...)`` or ``query_result(...)``; empty where it asks labels only."""
    match = _ASKS.match(variable["query"]["query"])
    assert match, f"{variable['name']} asks nothing known: {variable['query']['query']}"
    if match[1] == "label_values":
        inside, comma, _ = match[2].rpartition(",")
        return inside if comma else ""
    return match[2]


def _reads(node: Any, within: tuple[str, ...]) -> Iterator[Read]:
    kind = type(node).__name__
    if kind == "VectorSelector" and node.name:
        yield Read(node.name, within)
    if kind == "Call":
        within = (*within, node.func.name)
    if kind == "SubqueryExpr":
        within = (*within, "subquery")
    for name in _CHILDREN:
        child = getattr(node, name, None)
        for one in child if isinstance(child, list) else [child]:
            if one is not None and not isinstance(one, str | int | float):
                yield from _reads(one, within)
