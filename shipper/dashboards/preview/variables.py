"""Variables of a board: their values found as Grafana finds them, and put into queries as Grafana puts them there.

https://grafana.com/docs/grafana/latest/dashboards/variables/
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shipper.dashboards.duration import duration
from shipper.dashboards.preview.asking import Prometheus
from shipper.drawing.scale import step_for

MOST_POINTS = 240
PUSH_SECONDS = 15  # the least step, as the shipped data source has it
_USED = re.compile(r"\$\{(\w+)(?::[^}]*)?\}|\$([a-zA-Z_]\w*)")
_LABEL_VALUES = re.compile(r"^label_values\((?:(.*),)?\s*(\w+)\s*\)$", re.DOTALL)
_QUERY_RESULT = re.compile(r"^query_result\((.*)\)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is shown, in seconds since the epoch. ``push``: seconds between two samples, the least step by itself."""

    start: float
    end: float
    push: float = PUSH_SECONDS

    def step(self, least: float | None = None) -> int:
        """Seconds between two points."""
        return max(1, round(least or self.push), step_for(self.end - self.start, MOST_POINTS))

    def builtin(self, least: float | None = None) -> dict[str, str]:
        """What Grafana itself fills in."""
        step, seconds = self.step(least), max(1, round(self.end - self.start))
        return {
            "__rate_interval": duration(max(step + self.push, 4 * self.push)),
            "__interval": f"{step}s",
            "__interval_ms": str(step * 1000),
            "__range": f"{seconds}s",
            "__range_s": str(seconds),
            "__range_ms": str(seconds * 1000),
            "__from": str(round(self.start * 1000)),
            "__to": str(round(self.end * 1000)),
        }


def filled(text: str, values: Mapping[str, str], window: Window, least: float | None = None) -> str:
    """``text`` with its variables in place, so that no value ends the quotes it stands in; unknown names stay."""
    known = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in values.items()}
    known |= window.builtin(least)
    return _USED.sub(lambda match: known.get(match[1] or match[2], match[0]), text)


def resolved(
    board: Mapping[str, Any], given: Mapping[str, str], prometheus: Prometheus, window: Window
) -> dict[str, str]:
    """The values of a board's variables: those given, else the first that each one's own query finds, else its default.

    Raises `NotAnswered`.
    """
    values: dict[str, str] = {}
    for variable in board.get("templating", {}).get("list", []):
        name = variable["name"]
        if name in given:
            values[name] = given[name]
        elif variable["type"] == "query" and variable.get("datasource", {}).get("type") == "prometheus":
            found = _options(variable, values, prometheus, window)
            values[name] = found[0] if found else _current(variable)
        else:
            values[name] = _current(variable)
    return values


def _current(variable: Mapping[str, Any]) -> str:
    current = (variable.get("current") or {}).get("value", "")
    if not current and variable["type"] in ("textbox", "constant"):
        current = variable.get("query") or ""
    return str(current[0] if isinstance(current, list) and current else current or "")


def _options(
    variable: Mapping[str, Any], values: Mapping[str, str], prometheus: Prometheus, window: Window
) -> list[str]:
    asked = variable["query"]
    text = filled(asked["query"] if isinstance(asked, dict) else asked, values, window)
    if match := _LABEL_VALUES.match(text):
        found = prometheus.values(match[2], (match[1] or "").strip(), window.start, window.end)
    elif match := _QUERY_RESULT.match(text):
        found = [_written(series.labels, series.points[-1]) for series in prometheus.instant(match[1], window.end)]
    else:
        return []
    found = _picked(found, variable.get("regex") or "")
    return sorted(found) if variable.get("sort") == 1 else found


def _written(labels: Mapping[str, str], point: tuple[float, float]) -> str:
    """A result as a line of text, which is what a variable's regular expression sees."""
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items() if name != "__name__")
    at, value = point
    shown = f"{value:.0f}" if math.isfinite(value) and value == round(value) else f"{value}"
    return f"{labels.get('__name__', '')}{{{inside}}} {shown} {at * 1000:.0f}"


def _picked(found: list[str], regex: str) -> list[str]:
    """What the expression takes of each; its first group where it has one. Each once."""
    if regex:
        pattern = re.compile(regex[1 : regex.rindex("/")] if regex.startswith("/") else regex)
        matches = filter(None, map(pattern.search, found))
        found = [match[1] if pattern.groups else match[0] for match in matches]
    return list(dict.fromkeys(found))
