"""How names of OpenTelemetry become names of Prometheus.

The rules are OpenTelemetry's (specification, ``compatibility/prometheus_and_openmetrics.md``), in the reading of the
Collector's and Prometheus' own translator, with one exception: a word in the middle of a name is never taken out, so that
what was scraped from a Prometheus endpoint keeps its name.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

_NO_NAME = re.compile(r"[^a-zA-Z0-9:]+")
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_NO_UNIT = re.compile(r"[^a-zA-Z0-9]+")
_ANNOTATION = re.compile(r"\{[^}]*\}")

_UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes", "m": "meters",
    "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius", "Hz": "hertz", "1": "",
    "%": "percent",
}  # fmt: skip
_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}


def metric_name(name: str, unit: str, *, counter: bool = False, gauge: bool = False) -> str:
    """The name of a metric: sanitised, with its unit (``s``: ``_seconds``) and, for a ``counter``, ``_total``, each once.

    A ``gauge`` of unit ``1`` is a ratio and is called so. Empty when nothing of the name is left.
    """
    words = [word for word in _NO_NAME.split(name) if word]
    if not words:
        return ""
    if counter and words[-1] == "total" and len(words) > 1:
        words.pop()
    main, _, per = unit.strip().partition("/")
    unit_words = _words(main, _UNITS)
    if unit_words and not _contains(words, unit_words):
        words += unit_words
    per_words = _words(per, _PER)
    if per_words and not _contains(words, per_words):
        words += ["per", *per_words]
    if counter:
        words.append("total")
    elif gauge and unit.strip() == "1" and words[-1] != "ratio":
        words.append("ratio")
    joined = "_".join(words)
    return f"_{joined}" if joined[0].isdigit() else joined


def unit_name(name: str, unit: str) -> str:
    """What ``name`` (as `metric_name` made it) says of its unit: ``seconds``; empty where it ends in none, as OpenMetrics asks."""
    main, _, per = unit.strip().partition("/")
    words = _words(main, _UNITS)
    if per_words := _words(per, _PER):
        words += ["per", *per_words]
    found = "_".join(words)
    bare = name.removesuffix("_total")
    if not found and bare.endswith("_ratio"):
        found = "ratio"
    return found if found and bare.endswith(f"_{found}") else ""


def label_name(key: str) -> str:
    """The name of a label, sanitised."""
    clean = _NO_LABEL.sub("_", key)
    if not clean:
        return "_"
    return f"key_{clean}" if clean[0].isdigit() else clean


def number_text(value: float) -> str:
    """The shortest text of a number, never with an exponent, as ``le`` and ``quantile`` have it: ``1``, ``0.005``, ``+Inf``."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")


def _words(unit: str, known: dict[str, str]) -> list[str]:
    """The words of one side of a unit; what stands in braces only explains."""
    plain = _ANNOTATION.sub("", unit).strip()
    return [word for word in _NO_UNIT.split(known.get(plain, plain)) if word]


def _contains(words: list[str], some: list[str]) -> bool:
    """Whether ``some`` stand side by side in ``words``."""
    return any(words[at : at + len(some)] == some for at in range(len(words) - len(some) + 1))
