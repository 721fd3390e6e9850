"""Manifests for clusters: a ConfigMap a board, as the Grafana Helm chart's sidecar finds them, and the rules as PrometheusRules.

The sidecar takes every ConfigMap with the label ``grafana_dashboard`` and puts it into the folder that the annotation
``grafana_folder`` names, where the chart sets ``sidecar.dashboards.folderAnnotation`` to that. A ConfigMap holds 1 MiB at
most, which is why each board has its own. PrometheusRules need the Prometheus operator; its ``ruleSelector`` decides
whether these are taken, so a label for it may have to be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from textwrap import indent

MOST_BYTES = 1 << 20
"""What a ConfigMap may hold, in all."""
_MADE = "# Made by `python -m shipper.dashboards.generate` from the files beside this folder.\n"


def manifests(boards: Mapping[str, str], rules: Mapping[str, str]) -> dict[str, str]:
    """``kubernetes/...`` -> text, from boards and rule files by their names."""
    made = {f"kubernetes/{_name(file)}-dashboard.yaml": _config_map(file, text) for file, text in boards.items()}
    made |= {f"kubernetes/{_name(file)}-rules.yaml": _prometheus_rule(file, text) for file, text in rules.items()}
    return made


def _config_map(file: str, text: str) -> str:
    return f"""{_MADE}apiVersion: v1
kind: ConfigMap
metadata:
  name: {_name(file)}-dashboard
  labels:
    app.kubernetes.io/part-of: shipper
    grafana_dashboard: "1"
  annotations:
    grafana_folder: Shipper
data:
  {PurePath(file).name}: |-
{indent(text.rstrip(), "    ")}
"""


def _prometheus_rule(file: str, text: str) -> str:
    return f"""{_MADE}apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {_name(file)}-rules
  labels:
    app.kubernetes.io/part-of: shipper
spec:
{indent(text.rstrip(), "  ")}
"""


def _name(file: str) -> str:
    """``shipper-triage`` for both ``triage.json`` and ``rules/shipper-triage.yml``: a name in a cluster says whose it is."""
    stem = PurePath(file).stem.lower()
    return stem if stem.startswith("shipper") else f"shipper-{stem}"
