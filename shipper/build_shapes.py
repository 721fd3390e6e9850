"""Makes the shape of records, and the rule that joins lines, out of what the configuration says: for files, and all that is like them.

Imported where it is made, because a host that ships its logs as they are written has no use for parsers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shipper.config.convert import Path, dotted
from shipper.config.schema_shape import Multiline as MultilineConfig
from shipper.config.schema_shape import Shape as ShapeConfig
from shipper.config.schema_shape import ShapeCondition
from shipper.errors import ConfigError

if TYPE_CHECKING:
    from shipper.shape import Multiline, Shape
    from shipper.shape.settings import Condition, ShapeSettings

_ALL_BY_DEFAULT = ("regex", "common")


def shape_of(config: ShapeConfig | None, path: Path) -> Shape:
    """The shape that stands at ``path`` of the configuration. Raises `ConfigError` for what this machine has no time zone of."""
    from shipper.shape import PLAIN

    if config is None:
        return PLAIN
    from shipper.shape.understood import make_shape

    try:
        return make_shape(shape_settings(config))
    except ValueError as problem:
        raise ConfigError(dotted((*path, "timezone")), str(problem)) from problem


def shape_settings(config: ShapeConfig) -> ShapeSettings:
    """The same as plain values."""
    from shipper.shape.settings import ShapeSettings

    return ShapeSettings(
        parse=config.parse,
        pattern=config.pattern,
        fields=_fields(config),
        message_body=config.body == "message",
        zone=config.timezone,
        time_format=config.time_format,
        drop=_conditions(config.drop),
        keep=_conditions(config.keep),
        sample=config.sample,
    )


def _fields(config: ShapeConfig) -> tuple[str, ...] | None:
    """Which fields become attributes. Not said: where the body holds them as well, for a reader to find, none."""
    given = tuple(config.fields)
    if not given:
        return None if config.body == "message" or config.parse in _ALL_BY_DEFAULT else ()
    return None if given == ("all",) else () if given == ("none",) else given


def _conditions(config: Sequence[ShapeCondition]) -> tuple[Condition, ...]:
    from shipper.shape.settings import Condition
    from shipper.shape.severity import WORDS

    return tuple(
        Condition(
            match=re.compile(one.match.encode()) if one.match else None,
            field=one.field,
            at_least=WORDS.get(one.at_least, 0),
            below=WORDS.get(one.below, 0),
        )
        for one in config
    )


def multiline_of(rule: MultilineConfig | None) -> Multiline | None:
    """The rule that joins lines."""
    if rule is None:
        return None
    from shipper.shape import Multiline
    from shipper.shape.presets import PRESETS

    limits = (rule.timeout, rule.max_lines, rule.max_bytes)
    (kind,) = rule.kinds
    if kind == "preset":
        return Multiline.of("continuation", PRESETS[rule.preset], *limits)
    return Multiline.of(kind, rule.start or rule.continuation, *limits)
