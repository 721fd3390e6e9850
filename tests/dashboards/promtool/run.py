"""Scenarios: a fleet's series, what rules and alerts must say of them at which moment; run by promtool."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shipper.dashboards.alerts import alert_groups
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.rulefiles import rule_files
from shipper.dashboards.rules import recording_groups
from tests.dashboards.promtool.series import STEP, Fleet

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not there: apt-get install prometheus")
BY_GENERATION = ("env", "service", "generation")
BY_SERVICE = ("env", "service")
_PLACES = 1e-6


@dataclass(frozen=True)
class Check:
    """What one rule or alert must say at one step: a value by the labels ``by``; nothing at all where ``values`` is empty."""

    of: str
    at: int
    values: Mapping[tuple[str, ...], float]
    by: tuple[str, ...] = BY_GENERATION
    where: str = ""
    alert: bool = False

    @property
    def expr(self) -> str:
        """The query, its floats rounded: summation order varies in the last bit."""
        if self.alert:
            return f'count by ({", ".join(self.by)}) (ALERTS{{alertname="{self.of}",alertstate="firing"{self.where}}})'
        return f"round(max by ({', '.join(self.by)}) ({self.of}{{{self.where}}}), {_PLACES})"

    @property
    def positive(self) -> bool:
        """Whether something is seen here; else that it is not seen where it should not be."""
        return any(self.values.values())


def recorded(
    name: str, at: int, values: Mapping[tuple[str, ...], float], by: tuple[str, ...] = BY_GENERATION, where: str = ""
) -> Check:
    """What a rule records."""
    return Check(name, at, values, by, where)


def fires(name: str, at: int, *keys: tuple[str, ...], by: tuple[str, ...] = BY_GENERATION, where: str = "") -> Check:
    """An alert fires for exactly these labels; for none: it is silent."""
    return Check(name, at, dict.fromkeys(keys, 1.0), by, where and f",{where}", alert=True)


@dataclass
class Scenario:
    """A fleet and what must be said of it."""

    fleet: Fleet
    checks: list[Check] = field(default_factory=list)
    config: BoardConfig = field(default_factory=BoardConfig)

    def document(self) -> dict[str, Any]:
        """promtool's test file."""
        return {
            "rule_files": [str(name) for name in rule_files(self.config)],
            "group_eval_order": _order(self.config),
            "evaluation_interval": duration(self.config.intervals.evaluate),
            "tests": [
                {
                    "interval": f"{STEP}s",
                    "input_series": self.fleet.input_series(),
                    "promql_expr_test": [_expression(check) for check in self.checks],
                }
            ],
        }

    def run(self, directory: Path) -> None:
        """Fails with promtool's own words."""
        told = _promtool(self.document(), self.config, directory)
        assert told.returncode == 0, told.stdout + told.stderr

    def said(self, directory: Path, *alerts: tuple[str, int]) -> dict[str, list[str]]:
        """What alerts say at a step, one text for each series: as promtool prints it when none is expected."""
        document = self.document()
        test = document["tests"][0]
        del test["promql_expr_test"]
        test["alert_rule_test"] = [
            {"eval_time": f"{at * STEP}s", "alertname": name, "exp_alerts": []} for name, at in alerts
        ]
        told = _promtool(document, self.config, directory)
        found: dict[str, list[str]] = {name: [] for name, _ in alerts}
        for part in re.split(r"\n\s+alertname: ", told.stdout + told.stderr)[1:]:
            got = part.partition("got:[")[2]
            found[part.partition(",")[0]] = re.findall(r"^\s*(Labels:.*\n\s*Annotations:.*)$", got, re.M)
        return found


def _order(config: BoardConfig) -> list[str]:
    """Promtool shuffles groups unless told; servers run them side by side, the later reading what is there."""
    groups = (*recording_groups(config), *alert_groups(config))
    return [group.name for group in groups]


def _expression(check: Check) -> dict[str, Any]:
    return {
        "expr": check.expr,
        "eval_time": f"{check.at * STEP}s",
        "exp_samples": [
            {
                "labels": "{" + ",".join(f"{n}={_quoted(v)}" for n, v in zip(check.by, key, strict=True) if v) + "}",
                "value": value if check.alert else _rounded(value),
            }
            for key, value in check.values.items()
        ],
    }


def _rounded(value: float) -> float:
    return math.floor(value * (1 / _PLACES) + 0.5) / (1 / _PLACES)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _promtool(document: dict[str, Any], config: BoardConfig, directory: Path) -> subprocess.CompletedProcess[str]:
    for name, text in rule_files(config).items():
        (directory / name).write_text(text)
    (directory / "test.yml").write_text(json.dumps(document))  # which is YAML, and much faster to write
    assert PROMTOOL
    return subprocess.run(
        [PROMTOOL, "test", "rules", "test.yml"], cwd=directory, capture_output=True, text=True, timeout=120, check=False
    )
