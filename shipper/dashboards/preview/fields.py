"""How a value is shown: the parts of Grafana's field configuration that the shipped boards use (unit, mapping, colour)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shipper.drawing.page import PALETTE
from shipper.drawing.scale import duration, moment, number, percent


@dataclass(frozen=True, slots=True)
class Looks:
    """The configuration of one field: the panel's defaults with what the overrides say of it. ``now``: seconds."""

    settings: Mapping[str, Any]
    now: float
    custom: Mapping[str, Any] = field(default_factory=dict)

    def written(self, value: float | str | None) -> str:
        """A value as text; what stands for no value where there is none."""
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        mapped = self._mapping(value)
        if mapped is not None and mapped.get("text"):
            return str(mapped["text"])
        if missing:
            return str(self.settings.get("noValue") or "no data")
        return (
            value
            if isinstance(value, str)
            else with_unit(float(value or 0.0), str(self.settings.get("unit") or ""), self)
        )

    def colour(self, value: float | None) -> str | None:
        """By the value's mapping, else by the threshold it has reached; None where neither says anything."""
        mapped = self._mapping(value)
        if mapped is not None and mapped.get("color"):
            return _colour(mapped["color"])
        steps = (self.settings.get("thresholds") or {}).get("steps") or []
        if value is None or math.isnan(value) or not steps:
            return None
        reached = [step for step in steps if step.get("value") is None or value >= step["value"]]
        return _colour(reached[-1]["color"]) if reached else None

    def line_colour(self, place: int) -> str:
        """That of a line, by how many came before it where none is fixed."""
        told = self.settings.get("color") or {}
        if told.get("mode") == "fixed" and told.get("fixedColor"):
            return _colour(told["fixedColor"])
        if told.get("mode") == "shades" and told.get("fixedColor"):
            return _shade(_colour(told["fixedColor"]), place)
        return PALETTE[place % len(PALETTE)]

    @property
    def decimals(self) -> int | None:
        """Digits after the point, where they are told."""
        told = self.settings.get("decimals")
        return int(told) if told is not None else None

    def _mapping(self, value: float | str | None) -> Mapping[str, Any] | None:
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        for mapping in self.settings.get("mappings") or []:
            told = mapping.get("options") or {}
            if mapping.get("type") == "value" and not missing:
                plain = f"{value:g}" if isinstance(value, float) else str(value)
                if plain in told:
                    return dict(told[plain])
            elif mapping.get("type") == "special" and missing and told.get("match") in ("null", "nan", "null+nan"):
                return dict(told.get("result") or {})
            elif mapping.get("type") == "range" and isinstance(value, float) and not missing:
                low, high = told.get("from"), told.get("to")
                if (low is None or value >= low) and (high is None or value <= high):
                    return dict(told.get("result") or {})
        return None


def looks(panel: Mapping[str, Any], now: float, *, name: str = "", ref: str = "") -> Looks:
    """How the field with this name, of the query ``ref``, looks in a panel."""
    config = panel.get("fieldConfig") or {}
    settings: dict[str, Any] = dict(config.get("defaults") or {})
    custom = dict(settings.get("custom") or {})
    for override in config.get("overrides") or []:
        if _applies(override.get("matcher") or {}, name, ref):
            for key, value in _properties(override):
                if key.startswith("custom."):
                    custom[key.removeprefix("custom.")] = value
                else:
                    settings[key] = value
    return Looks(settings, now, custom)


def _applies(matcher: Mapping[str, Any], name: str, ref: str) -> bool:
    kind, told = matcher.get("id"), matcher.get("options")
    if kind == "byRegexp":
        text = str(told)
        return re.search(text[1 : text.rindex("/")] if text.startswith("/") else text, name) is not None
    return (kind == "byName" and told == name) or (kind == "byFrameRefID" and told == ref)


def _properties(override: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for told in override.get("properties") or []:
        yield str(told["id"]), told.get("value")


def with_unit(value: float, unit: str, shown: Looks) -> str:
    """A number with its unit, by Grafana's names of units; one that is not known here stands behind the number."""
    if math.isinf(value):
        return number(value)
    digits = shown.decimals
    if unit == "percentunit":
        return percent(value) if digits is None else f"{value * 100:.{digits}f} %"
    if unit == "s":
        return duration(value)
    if unit in ("bytes", "decbytes"):
        return _bytes(value)
    if unit == "dateTimeAsIso":
        return moment(value / 1000)
    if unit == "dateTimeFromNow":
        ago = shown.now - value / 1000
        return (
            f"{duration(float(round(ago)))} ago"
            if ago >= 1
            else "now"
            if ago > -1
            else f"in {duration(float(round(-ago)))}"
        )
    plain = number(value) if digits is None else f"{value:,.{digits}f}"
    if unit in ("", "none", "short", "string"):
        return plain
    behind = unit.removeprefix("suffix:")
    return f"{plain}{behind}" if behind != unit else f"{plain} {_NAMES.get(unit, unit)}"


_NAMES = {"reqps": "req/s", "cps": "/s", "ops": "ops/s", "percent": "%"}


def _bytes(value: float) -> str:
    for name in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or name == "TiB":
            return f"{value:.3g} {name}"
        value /= 1024
    raise AssertionError


_COLOURS = {"green": "#73bf69", "red": "#f2495c", "yellow": "#fade2a", "orange": "#ff9830", "blue": "#5794f2"}


def _colour(told: str) -> str:
    """One that CSS takes: the colour itself, or that of a name that Grafana has; grey for what is neither."""
    return told if re.fullmatch(r"#[0-9a-fA-F]{3,8}", told) else _COLOURS.get(told.split("-")[-1], "#8e8e8e")


def _shade(colour: str, place: int) -> str:
    if len(colour) != 7:
        return colour
    factor = (1.0, 0.72, 1.25, 0.55, 1.45)[place % 5]
    parts = [min(235, round(int(colour[at : at + 2], 16) * factor)) for at in (1, 3, 5)]
    return "#" + "".join(f"{part:02x}" for part in parts)
