"""Board settings that are each well-formed and would yet make queries that lie or do not parse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from shipper.config.convert import Path
from shipper.dashboards.selector import BadSelector, Selector

if TYPE_CHECKING:
    from shipper.dashboards.config import BoardConfig

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# fewer than two samples in a range are no rate, and a late push makes one of two
_LEAST_PUSHES = 3
Problem = tuple[Path, str]


def problems(config: BoardConfig) -> list[Problem]:
    """Everything wrong with a configuration, each with the path of the setting."""
    return [*_labels(config), *_requests(config), *_windows(config), *_texts(config)]


def _labels(config: BoardConfig) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for field in config.labels.__struct_fields__:
        name = getattr(config.labels, field)
        if not _LABEL.fullmatch(name):
            yield ("labels", field), f"'{name}' is no label name of Prometheus (letters, digits, _)"
        elif name in taken:
            yield ("labels", field), f"'{name}' is already labels.{taken[name]}"
        taken.setdefault(name, field)
    for field in config.requests.labels.__struct_fields__:
        name = getattr(config.requests.labels, field)
        if name and not name.startswith("=") and not _LABEL.fullmatch(name):
            yield (
                ("requests", "labels", field),
                f"'{name}' is no label name of Prometheus; a constant is written '={name}'",
            )
    if config.requests.labels.instance.startswith("="):
        yield ("requests", "labels", "instance"), "cannot be constant: hosts are told apart by it"


def _requests(config: BoardConfig) -> Iterator[Problem]:
    requests = config.requests
    for field in ("requests", "errors", "durations"):
        text = getattr(requests, field)
        if field == "durations" and not text:
            continue
        try:
            selector = Selector.parse(text)
        except BadSelector as problem:
            yield ("requests", field), str(problem)
            continue
        if field == "durations" and selector.name.endswith(("_bucket", "_count", "_sum")):
            base = selector.name.rpartition("_")[0]
            yield ("requests", field), f"give the histogram's base name, '{base}'"
    if requests.objective <= 0:
        yield ("requests", "objective"), "must be longer than 0"


def _windows(config: BoardConfig) -> Iterator[Problem]:
    windows, intervals = config.windows, config.intervals
    for section, field in (
        *(("intervals", field) for field in intervals.__struct_fields__),
        *(("windows", field) for field in windows.__struct_fields__),
    ):
        if getattr(getattr(config, section), field) <= 0:
            yield (section, field), "must be longer than 0"
    least = _LEAST_PUSHES * intervals.push
    for field in ("present", "rate", "role", "first_short", "silent"):
        if 0 < getattr(windows, field) < least:
            yield ("windows", field), f"must be at least {_LEAST_PUSHES} times intervals.push, {least:g} seconds"
    if windows.first_long <= windows.first_short:
        yield ("windows", "first_long"), "must be longer than windows.first_short"
    if windows.absent < windows.present:
        yield ("windows", "absent"), "must not be shorter than windows.present"
    if windows.remember < windows.absent:
        yield ("windows", "remember"), "must not be shorter than windows.absent: what is forgotten cannot be withdrawn"
    for index, window in enumerate(config.burn):
        if not 0 < window.short < window.long:
            yield ("burn", index, "short"), "must be longer than 0 and shorter than long"
        elif window.short < least:
            yield ("burn", index, "short"), f"must be at least {_LEAST_PUSHES} times intervals.push, {least:g} seconds"


def _texts(config: BoardConfig) -> Iterator[Problem]:
    if "{alert}" not in config.runbooks:
        yield ("runbooks",), "must hold {alert}, which stands for the alert's name"
    if config.grafana and not re.match(r"https?://[^\s/]", config.grafana):
        yield ("grafana",), "must be an address that begins with http:// or https://, or empty"
