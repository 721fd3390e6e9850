"""What cannot work in the settings of a shape. Looks at nothing but the settings, and the time zone data base."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from shipper.config.backtracking import explodes
from shipper.config.convert import Path
from shipper.config.schema_shape import Shape, ShapeCondition

Problem = tuple[Path, str]

_OFFSET = re.compile(r"[+-](?:[01]\d|2[0-3]):?[0-5]\d")
_EXPLODES = (
    "can take a time that doubles with every character of a line: a repeat stands in a repeat, such as (a+)+, with nothing "
    "between two rounds that the inner one does not match as well"
)
_ALONE = ("all", "none")
_YEARS = ("%Y", "%y", "%c", "%x", "%G")  # a format without any of these means the last such day


def shape_problems(shape: Shape, path: Path) -> Iterator[Problem]:
    """What is wrong with the section at ``path``."""
    if shape.parse == "regex":
        yield from _pattern(shape.pattern, (*path, "pattern"), "is required for parse: regex")
        if shape.pattern and not pattern_problem(shape.pattern) and not re.compile(shape.pattern.encode()).groupindex:
            yield (*path, "pattern"), "has no group (?P<name>...), so no field would be found"
    elif shape.pattern:
        yield (*path, "pattern"), f"is for parse: regex, not for {shape.parse}"
    for name in shape.fields:
        if name in _ALONE and len(shape.fields) > 1:
            yield (*path, "fields"), f"{name} stands alone, not beside names"
    yield from _times(shape, path)
    for key in ("drop", "keep"):
        for index, condition in enumerate(getattr(shape, key)):
            yield from _condition(shape, condition, (*path, key, index))


def _times(shape: Shape, path: Path) -> Iterator[Problem]:
    name = shape.timezone
    if name not in ("UTC", "local") and not _OFFSET.fullmatch(name):
        try:
            ZoneInfo(name)
        except (LookupError, ValueError, OSError):
            yield (
                (*path, "timezone"),
                f"there is no time zone '{name}' on this machine; write UTC, local or an offset such as +02:00",
            )
    if shape.time_format:
        form = shape.time_format if any(year in shape.time_format for year in _YEARS) else f"%Y {shape.time_format}"
        try:
            datetime.strptime(datetime(2024, 1, 2, 3, 4, 5).strftime(form), form)
        except (ValueError, re.error) as problem:
            yield (*path, "time_format"), f"is no format of strptime: {problem}"


def _condition(shape: Shape, condition: ShapeCondition, path: Path) -> Iterator[Problem]:
    if not (condition.match or condition.field or condition.at_least or condition.below):
        yield path, "says nothing: give match, field, at_least or below"
    if condition.match:
        yield from _pattern(condition.match, (*path, "match"), "")
    if condition.field and shape.parse == "plain":
        yield (*path, "field"), "plain texts have no fields; say how to parse them"


def _pattern(pattern: str, path: Path, missing: str) -> Iterator[Problem]:
    if not pattern:
        yield path, missing
    elif problem := pattern_problem(pattern):
        yield path, problem


def pattern_problem(pattern: str) -> str:
    """What is wrong with a regular expression for bytes; empty: nothing."""
    try:
        re.compile(pattern.encode())
        slow = explodes(pattern)
    except (re.error, UnicodeEncodeError) as problem:
        return f"is no regular expression: {problem}"
    return _EXPLODES if slow else ""
