"""What a service asked for, from the arguments of ``shipper.init`` and the ``SHIPPER_`` variables, checked once.

A wrong setting must not keep a service from starting: it is said in one clear sentence and its default is used. Arguments
are stronger than variables, except that ``SHIPPER_HANDOFF`` may be set by whoever runs a service that says ``auto``.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

HANDOFFS = ("auto", "spool", "otlp", "forward", "off")
LOGS = ("handoff", "stdout", "off")
LABELS = ("service", "release", "environment", "generation")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Stated:
    """Labels given in code, in the form `shipper.labels.detect` takes them; empty text is not stated."""

    service: str = ""
    release: str = ""
    environment: str = ""
    generation: str = ""
    image: str = ""
    host: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked settings. ``level`` is a number of `logging`; ``redact`` is described at ``shipper.init``."""

    stated: Stated = Stated()
    handoff: str = "auto"
    endpoint: str = ""
    level: int = logging.NOTSET
    logs: str = "handoff"
    redact: Callable[..., Any] | None = None
    instrument: bool = True
    app: Any = None

    def differences(self, other: Settings) -> list[str]:
        """The names of the settings in which ``other`` is not the same."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in ("stated", "app")]
        differing = [name for name in names if getattr(self, name) != getattr(other, name)]
        stated = [field.name for field in dataclasses.fields(Stated)]
        return [name for name in stated if getattr(self.stated, name) != getattr(other.stated, name)] + differing


def resolve(arguments: Mapping[str, Any], env: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings, and a sentence for each that could not be taken as it was given."""
    problems: list[str] = []
    labels = {name: _text(name, arguments.get(name), problems) for name in LABELS}
    settings = Settings(
        stated=Stated(**labels, attributes=_attributes(arguments.get("attributes"), problems)),
        handoff=_handoff(arguments.get("handoff"), env, problems),
        endpoint=_text("endpoint", arguments.get("endpoint"), problems),
        level=_level(arguments.get("level"), env, problems),
        logs=_choice("logs", arguments.get("logs"), "SHIPPER_LOGS", env, LOGS, problems),
        instrument=bool(arguments.get("instrument", True)),
        app=arguments.get("app"),
    )
    return _redaction(settings, arguments.get("redact"), problems), problems


def _text(name: str, value: object, problems: list[str]) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    problems.append(f"init({name}={_short(value)}): this is to be text; it is left out")
    return ""


def _attributes(value: object, problems: list[str]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        problems.append(f"init(attributes={_short(value)}): this is to be a mapping of names to values; it is left out")
        return {}
    good = {key: item for key, item in value.items() if isinstance(key, str) and is_attribute(item)}
    for key in value.keys() - good.keys():
        problems.append(
            f"init(attributes=...): {_short(key)} is left out: a name is text, a value is text, a number, "
            f"True, False, or a list of texts"
        )
    return good


def is_attribute(value: object) -> bool:
    """Whether a value can stand in a resource."""
    if isinstance(value, list | tuple):
        return all(isinstance(item, str | bool | int | float) for item in value)
    return isinstance(value, str | bool | int | float)


def _handoff(value: object, env: Mapping[str, str], problems: list[str]) -> str:
    given = _choice("handoff", None if value == "auto" else value, "SHIPPER_HANDOFF", env, HANDOFFS, problems)
    if env.get("SHIPPER_HANDOFF", "").strip().lower() == "off":
        return "off"  # whoever runs a service can silence it, whatever its code says
    return given


def _choice(
    name: str, value: object, variable: str, env: Mapping[str, str], choices: tuple[str, ...], problems: list[str]
) -> str:
    """One of ``choices``, the first of which is the default: the argument, else the variable."""
    for place, given in ((f"init({name}=...)", value), (variable, env.get(variable, "").strip() or None)):
        if given is None:
            continue
        if isinstance(given, str) and given.strip().lower() in choices:
            return given.strip().lower()
        problems.append(f"{place}: {_short(given)} is none of {', '.join(choices)}; {choices[0]} is used")
        return choices[0]
    return choices[0]


def _level(value: object, env: Mapping[str, str], problems: list[str]) -> int:
    place, given = "init(level=...)", value
    if given is None:
        place, given = "SHIPPER_LEVEL", env.get("SHIPPER_LEVEL", "").strip() or None
    if given is None:
        return logging.NOTSET
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    if isinstance(given, str):
        number = logging.getLevelName(given.strip().upper())
        if isinstance(number, int):
            return number
        if given.strip().isdecimal():
            return int(given)
    problems.append(f"{place}: {_short(given)} is no level ({', '.join(_LEVELS)}); every record is taken")
    return logging.NOTSET


def _redaction(settings: Settings, value: object, problems: list[str]) -> Settings:
    """Redaction is the one setting whose default is no answer to a mistake: then nothing leaves the process."""
    if value is None or callable(value):
        return dataclasses.replace(settings, redact=value)
    problems.append(f"init(redact={_short(value)}): this is to be a function; nothing is handed over unredacted")
    return dataclasses.replace(settings, handoff="off")


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # a __repr__ of the service's own
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."
