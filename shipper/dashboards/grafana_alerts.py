"""The alerts for Grafana's own alerting, for those who want its contact points and silences instead of an Alertmanager.

They are the same queries, asked by Grafana; what the recording rules record must still be recorded by a ruler (Prometheus,
Mimir, vmalert). A query fires for each series it returns, whatever its value, as in Prometheus: so Grafana's converter of
Prometheus rules makes it, too (pkg/services/ngalert/prom/query.go). What differs, differs because Grafana does:

- templates: ``.Labels`` and ``.Values``, never ``$labels``, which Grafana's file reader would take for an environment
  variable; and no ``query``, which Grafana's templates have but never answer. Sentences that need it are left out;
- intervals are multiples of its scheduler's 10 s;
- titles and uids are unique in a folder.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

from shipper.config.units import parse_seconds
from shipper.dashboards.alerts import alert_annotations, alert_groups, alert_labels
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.provisioning import FOLDER, PROMETHEUS_UID
from shipper.dashboards.ruleset import Alert, Group
from shipper.dashboards.shipped import ALERTING

_TICK = 10  # seconds between two looks of Grafana's scheduler
_LOOK_BACK = 600  # seconds that Grafana wants to be told although an instant query has no use for them
_EXPRESSION = "__expr__"
_ASKED = re.compile(r'\{\{ with printf "(?:[^"\\]|\\.)*" [^|}]*\| query \}\}.*?\{\{ end \}\}')
_SENTENCE = re.compile(r"(?<=[.?!]) (?=[A-Z{])")
_ON_THE_BOARD = "The numbers are on the dashboard."


def alerting_files(config: BoardConfig) -> dict[str, str]:
    """The alerting provisioning file: JSON, which Grafana reads as it does YAML, and whoever uploads it needs no parser for."""
    groups = [_group(config, group) for group in alert_groups(config)]
    return {ALERTING: json.dumps({"apiVersion": 1, "groups": groups}, indent=2, ensure_ascii=False) + "\n"}


def _group(config: BoardConfig, group: Group) -> dict[str, Any]:
    times = Counter(alert.name for alert in group.alerts)
    seen: Counter[str] = Counter()
    rules = []
    for alert in group.alerts:
        seen[alert.name] += 1
        number = f"-{seen[alert.name]}" if times[alert.name] > 1 else ""
        rules.append(_rule(config, alert, alert.name + number))
    interval = max(1, math.ceil(parse_seconds(group.interval) / _TICK)) * _TICK
    return {"orgId": 1, "name": group.name, "folder": FOLDER, "interval": f"{interval}s", "rules": rules}


def _rule(config: BoardConfig, alert: Alert, title: str) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "uid": title,
        "title": title,
        "condition": "C",
        "data": [_query(alert.expr), _any_value(), _above_zero()],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": alert.wait or "0s",
    }
    if alert.keep:
        rule["keepFiringFor"] = alert.keep
    said = {name: _template(text) for name, text in alert_annotations(config, alert).items()}
    return rule | {"annotations": said, "labels": alert_labels(alert), "isPaused": False}


def _query(expr: str) -> dict[str, Any]:
    model = {"refId": "A", "expr": expr, "instant": True, "range": False}
    return _step("A", PROMETHEUS_UID, model, since=_LOOK_BACK)


def _any_value() -> dict[str, Any]:
    """1 for every series there is: whether it alerts is the query's matter, its value is for the words."""
    return _step("B", _EXPRESSION, {"type": "math", "expression": "is_number($A) || is_nan($A) || is_inf($A)"})


def _above_zero() -> dict[str, Any]:
    condition = {"evaluator": {"type": "gt", "params": [0]}}
    return _step("C", _EXPRESSION, {"type": "threshold", "expression": "B", "conditions": [condition]})


def _step(letter: str, source: str, model: dict[str, Any], since: int = 0) -> dict[str, Any]:
    kind = "prometheus" if source == PROMETHEUS_UID else source
    return {
        "refId": letter,
        "relativeTimeRange": {"from": since, "to": 0},
        "datasourceUid": source,
        "model": {"refId": letter, "datasource": {"type": kind, "uid": source}, **model},
    }


def _template(text: str) -> str:
    """A Prometheus template as Grafana's: without what it cannot answer, and without a ``$``."""
    kept = [sentence for sentence in _SENTENCE.split(_without_asides(text)) if not _ASKED.search(sentence)]
    if len(kept) < len(_SENTENCE.split(_without_asides(text))):
        kept.append(_ON_THE_BOARD)
    return " ".join(kept).replace("$labels.", ".Labels.").replace("$value", ".Values.A.Value")


def _without_asides(text: str) -> str:
    """Without what a template says only where the query has an answer (a release in brackets): nothing is lost by it."""
    return _ASKED.sub(lambda asked: asked[0] if "{{ else }}" in asked[0] else "", text)
