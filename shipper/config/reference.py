"""The page that lists every setting: docs/configuration.md is what this writes, so it cannot forget one.

It is made from the same structs that the file is checked with, those of the installed exporters included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import msgspec

from shipper.config.env import ALIASES, file_twins, twins
from shipper.config.schema import Config, Destination
from shipper.config.schema_numbers import LogRequests, Scrape
from shipper.config.schema_routes import Route, RouteCondition, SeverityRange
from shipper.config.schema_shape import Multiline, Shape, ShapeCondition
from shipper.config.schema_sources import Files, Journal
from shipper.config.section import Section

_BEGINNING = """\
# Configuration

Nothing has to be configured: `OTEL_EXPORTER_OTLP_ENDPOINT` and `shipper run --tail GLOB` are enough.
A file is found by `--config`, `SHIPPER_CONFIG`, or as `/etc/shipper/shipper.yaml`.
The command line beats the environment, which beats the file; `SHIPPER_OTLP_ENDPOINT` beats `OTEL_EXPORTER_OTLP_ENDPOINT`.
Sizes may be text such as `512KiB` or `4G`, durations such as `250ms` or `25s`.
`${NAME}` and `${NAME:-default}` in values are taken from the environment.
`shipper check FILE` validates a file without side effects, `shipper config show` prints what is in force and why.

This page is the output of `shipper config reference`.
"""
_FILES_NOTE = "Each group of `files` has these; a variable holds for all groups. `SHIPPER_TAIL` and `--tail` make a group of globs."
_MULTILINE_NOTE = """\
`multiline` of a group of `files` joins the lines of a stack trace to one record.
Exactly one of `preset`, `start`, `continuation` and `indent: true` says how; `multiline: java` is short for a preset.
Expressions are Python's, for bytes: `\\w` and `\\s` know ASCII only.
They are searched for in a line, so `^` ties them to its beginning.
They see the first 1024 bytes of a line, which bounds what a slow expression costs.
One that backtracks exponentially, such as `(a+)+b`, is refused.
An event that its timeout, a limit or a drain ended goes on in a record with the attribute `shipper.event.continued`;
when that record begins inside a line, it has `shipper.line.continued`, too. Lines of different files are never joined."""
_SHAPE_NOTE = """\
`shape` of a group of `files`: a mapping with these, or just how to parse (`shape: json`). More in [shapes](shapes.md)."""
_CONDITION_NOTE = """\
An entry of `drop` and `keep`: a mapping with these, or just an expression.
Expressions are Python's, for bytes, and see the first 4 KiB of a text. In a variable each entry is a line."""
_JOURNAL_NOTE = """\
`journal` is a mapping with these, or a list of them; one may also be just a directory. More in [the journal](journald.md).
`SHIPPER_JOURNAL` is a directory, such as a host's `/var/log/journal` in a container."""
_ROUTES_NOTE = """\
An entry of `routes`; they can stand in a file only. More in [routes](routes.md)."""
_WHEN_NOTE = """\
`when` of a route, and `not` in it: a mapping with these, or a list of such mappings.
Texts are globs with `*`, `?` and `[...]`, matched against the whole value as it is written.
Numbers and switches count as their text: `http.response.status_code: "5??"`."""
_SEVERITY_NOTE = """\
`severity` of a condition: a mapping with these, or just the least one (`severity: warn`)."""
_LOGS_NOTE = """\
An entry of `requests.logs`: a mapping with these, or just a glob of access logs.
A regular expression is Python's, for bytes, and searched for in each line; a JSON field in an object is named with dots."""
_SCRAPE_NOTE = """\
An entry of `metrics.scrape`: a mapping with these, or just a URL.
`SHIPPER_METRICS_SCRAPE` holds URLs, separated by blanks or commas; so are the lists of `notices` and `drain`.
Other lists are of paths: separated by `:`, or by line ends where an entry holds one."""
_DESTINATION_NOTE = """\
A destination `NAME` under `destinations` of type `{kind}`.
`SHIPPER_DESTINATIONS_NAME_<OPTION>` sets an option{short}."""
_SHORT = {
    "otlp": "; `SHIPPER_OTLP_<OPTION>` those of the destination that is meant when none is named",
    "archive": "; `SHIPPER_ARCHIVE` is the `url`",
}


def reference(exporters: Mapping[str, type[msgspec.Struct]]) -> str:
    """The page as Markdown. ``exporters``: the settings struct of each installed exporter, by type name."""
    variables = {path: name for name, path in twins().items()}
    short = {path: name for name, path in ALIASES.items()}
    of_files = {option: name for name, option in file_twins().items()}
    inner = msgspec.structs.fields(Multiline)
    parts = [_BEGINNING]
    for title, kind, above in _sections():
        rows = []
        for field in msgspec.structs.fields(kind):
            path = (*above, field.encode_name)
            names = [short[path]] if path in short else []
            names += [variables[path]] if path in variables else []
            if names:
                rows.append(_row(".".join(path), names, field))
        parts.append(_table(title, (kind.__doc__ or "").splitlines()[0], ("setting", "environment"), rows))
    rows = [
        _row(field.encode_name, [of_files[(field.encode_name,)]] if (field.encode_name,) in of_files else [], field)
        for field in msgspec.structs.fields(Files)
    ]
    parts.append(_table("files", _FILES_NOTE, ("setting", "environment"), rows))
    rows = [_row(field.encode_name, [of_files["multiline", field.encode_name]], field) for field in inner]
    parts.append(_table("files: multiline", _MULTILINE_NOTE, ("setting", "environment"), rows))
    rows = [
        _row(field.encode_name, [of_files["shape", field.encode_name]], field)
        for field in msgspec.structs.fields(Shape)
    ]
    parts.append(_table("files: shape", _SHAPE_NOTE, ("setting", "environment"), rows))
    rows = [_row(field.encode_name, None, field) for field in msgspec.structs.fields(ShapeCondition)]
    parts.append(_table("files: shape: drop, keep", _CONDITION_NOTE, ("option",), rows))
    rows = [_row(field.encode_name, None, field) for field in msgspec.structs.fields(Journal)]
    parts.append(_table("journal", _JOURNAL_NOTE, ("option",), rows))
    for title, note, kind in (
        ("routes", _ROUTES_NOTE, Route),
        ("routes: when", _WHEN_NOTE, RouteCondition),
        ("routes: when: severity", _SEVERITY_NOTE, SeverityRange),
    ):
        rows = [_row(field.encode_name, None, field) for field in msgspec.structs.fields(kind)]
        parts.append(_table(title, note, ("option",), rows))
    rows = [_row(field.encode_name, None, field) for field in msgspec.structs.fields(LogRequests)]
    parts.append(_table("requests: logs", _LOGS_NOTE, ("option",), rows))
    rows = [_row(field.encode_name, None, field) for field in msgspec.structs.fields(Scrape)]
    parts.append(_table("metrics: scrape", _SCRAPE_NOTE, ("option",), rows))
    for name, kind in exporters.items():
        note = _DESTINATION_NOTE.format(kind=name, short=_SHORT.get(name, ""))
        rows = [_row(field.encode_name, None, field) for field in _own_first(kind)]
        parts.append(_table(f"destinations: {name}", note, ("option",), rows))
    return "\n".join(parts)


def option_rows(kind: type[msgspec.Struct]) -> list[tuple[str, str, str]]:
    """Name, default and meaning of each setting of an exporter, as plain text; a default is "" where there is none."""
    return [
        (field.encode_name, _default(field).strip("`"), _meaning(field.type).replace("`", "").replace("\\|", "|"))
        for field in _own_first(kind)
    ]


def _own_first(kind: type[msgspec.Struct]) -> list[msgspec.structs.FieldInfo]:
    """The settings of an exporter: where it sends first, and those that it shares with others last."""
    return sorted(
        msgspec.structs.fields(kind),
        key=lambda field: (field.name not in ("endpoint", "endpoints"), field.name not in kind.__annotations__),
    )


def _sections() -> Iterator[tuple[str, type[msgspec.Struct], tuple[str, ...]]]:
    yield "At the top", Config, ()
    yield from _sections_in(Config, ())


def _sections_in(
    kind: type[msgspec.Struct], above: tuple[str, ...]
) -> Iterator[tuple[str, type[msgspec.Struct], tuple[str, ...]]]:
    for field in msgspec.structs.fields(kind):
        plain = get_args(field.type)[0] if hasattr(field.type, "__metadata__") else field.type
        if isinstance(plain, UnionType):  # a section that may be absent
            plain = get_args(plain)[0]
        if isinstance(plain, type) and issubclass(plain, Section) and plain is not Destination:
            path = (*above, field.encode_name)
            yield ": ".join(path), plain, path
            yield from _sections_in(plain, path)


def _table(title: str, note: str, columns: tuple[str, ...], rows: list[str]) -> str:
    head = " | ".join([*columns, "default", "meaning"])
    return "\n".join([f"## {title}\n\n{note}\n", f"| {head} |", f"|{'---|' * (len(columns) + 2)}", *rows, ""])


def _row(name: str, variables: list[str] | None, field: msgspec.structs.FieldInfo) -> str:
    cells = [f"`{name}`"]
    if variables is not None:
        cells.append(", ".join(f"`{variable}`" for variable in variables))
    return f"| {' | '.join([*cells, _default(field), _meaning(field.type)])} |"


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if value is msgspec.NODEFAULT:
        return "required" if field.required else ""
    return "" if value in ("", None) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(kind: Any) -> str:
    said, choices = "", ""
    while hasattr(kind, "__metadata__"):
        said = next((meta.description for meta in kind.__metadata__ if getattr(meta, "description", "")), said)
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        choices = " One of " + ", ".join(f"`{choice}`" for choice in get_args(kind) if choice) + "."
    return (said + choices).replace("|", "\\|")
