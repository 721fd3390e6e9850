"""Groups of recording rules and alerts as plain values, and the YAML that Prometheus, Mimir and vmalert all read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

Severity = Literal["page", "ticket", "info"]
"""Wake somebody; somebody should look in working hours; good to know."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A recorded query. ``record`` is a name of `shipper.dashboards.names`; ``labels`` are put on every series."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert. ``name`` is also its runbook's; ``board`` the uid of the dashboard to open first; durations as PromQL text.

    ``summary`` is one line for a phone's screen, ``description`` the numbers; both are Prometheus templates.
    """

    name: str
    expr: str
    severity: Severity
    summary: str
    description: str
    board: str
    wait: str = ""
    keep: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: tuple[str, ...] = ("env", "service", "generation")


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other, each seeing the results of those before it."""

    name: str
    interval: str
    rules: tuple[Rule, ...] = ()
    alerts: tuple[Alert, ...] = ()


def written(groups: Iterable[Mapping[str, Any]], head: str) -> str:
    """The text of a rule file; ``head`` becomes comment lines above it."""
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    body = yaml.dump(
        {"groups": [dict(group) for group in groups]}, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True
    )
    return comment + body


def recording(group: Group) -> dict[str, Any]:
    """A group of recording rules as a rule file has it."""
    return {
        "name": group.name,
        "interval": group.interval,
        "rules": [
            {"record": rule.record, "expr": rule.expr, **({"labels": dict(rule.labels)} if rule.labels else {})}
            for rule in group.rules
        ],
    }


class _Dumper(yaml.SafeDumper):
    """Queries of several lines stay readable: as block text, not as one line with escapes."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
