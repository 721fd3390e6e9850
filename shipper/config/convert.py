"""Plain data into a msgspec struct, saying every wrong thing at once and exactly where it stands.

msgspec stops at the first mistake and does not guess what was meant. Here a mistyped key is answered with the nearest
right one, sizes and durations are read, and all mistakes of a file are reported together. An exporter's settings go
through the same function, so that its options behave like all others.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args, get_origin

import msgspec

from shipper.config.units import describe, parse_seconds, parse_several, parse_size
from shipper.errors import ConfigError

_WHOLE = re.compile(r"\s*-?\d+\s*")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
FEW_KEYS = 8  # so many are named where somebody wrote another one
T = TypeVar("T")
Path: TypeAlias = tuple[str | int, ...]
Locate: TypeAlias = Callable[[Path], str]


class FromText(str):
    """Text out of an environment variable: may stand for a number, a switch or a list, as the setting demands."""

    __slots__ = ()


class ConfigErrors(ConfigError):
    """Several settings are wrong; ``all`` holds each. ``path`` and ``problem`` are those of the first."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__(errors[0].path, errors[0].problem)
        self.all = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.all)


def raise_all(errors: Sequence[ConfigError]) -> None:
    """Raise the only error as it is, or all of them together; do nothing when there is none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)


def dotted(path: Path) -> str:
    """``("files", 0, "include")`` as ``files[0].include``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def convert(raw: Any, kind: type[T], where: str = "", *, hint: str = "") -> T:
    """Build ``kind`` (a msgspec.Struct) from plain data such as a YAML file holds; ``where`` begins every error's path.

    ``hint``: where the right keys are listed, for a key that is like none of them.

    Raises `ConfigError`, or `ConfigErrors` when more than one thing is wrong.
    """
    prefix = f"{where}." if where else ""
    errors: list[ConfigError] = []
    value = Converter(lambda path: f"{prefix}{dotted(path)}" if path else where, errors, hint).value(raw, kind, ())
    raise_all(errors)
    assert isinstance(value, kind)
    return value


class Converter:
    """One conversion; ``locate`` turns a path into the place named in an error, ``errors`` collects them. ``hint``: see `convert`."""

    def __init__(self, locate: Locate, errors: list[ConfigError], hint: str = "") -> None:
        self._locate = locate
        self._errors = errors
        self._hint = hint

    def value(self, raw: Any, kind: Any, path: Path) -> Any:
        """``raw`` as ``kind``; None after an error, which then stands in ``errors``."""
        plain, unit = _unwrap(kind)
        origin, arguments = get_origin(plain), get_args(plain)
        try:
            if unit == "bytes":
                return msgspec.convert(parse_size(raw), kind)
            if unit == "seconds":
                return msgspec.convert(parse_seconds(raw), kind)
            if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
                return self._struct(raw, plain, path)
            if unit == "several":
                raw = parse_several(raw)
            if origin is list:
                return self._list(raw, kind, arguments[0], path)
            if origin is dict:
                return self._dict(raw, arguments[1], path)
            return _scalar(raw, kind, plain)
        except ValueError as problem:  # msgspec.ValidationError is one
            self._wrong(path, _readable(str(problem)))
            return None

    def _wrong(self, path: Path, problem: str) -> None:
        self._errors.append(ConfigError(self._locate(path), problem))

    def _struct(self, raw: Any, kind: type[msgspec.Struct], path: Path) -> Any:
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        short: str = getattr(kind, "shorthand", "")
        if short and isinstance(raw, str):
            one_of_list = get_origin(_unwrap(fields[short].type)[0]) is list and not isinstance(raw, FromText)
            raw = {short: [raw] if one_of_list else raw}
        if not isinstance(raw, Mapping):
            raise ValueError(f"expected a mapping, got {describe(raw)}")
        before = len(self._errors)
        values: dict[str, Any] = {}
        older = older_names(kind)
        for key, item in raw.items():
            field = fields.get(older.get(key, key))
            if field is None:
                self._wrong((*path, str(key)), f"unknown key{self._instead(str(key), fields)}")
            elif key in older and raw.get(older[key]) is not None:
                self._wrong((*path, key), f"is the older name of {older[key]}; give one of them")
            elif item is not None:  # a key with nothing behind it is a key not set
                values[field.name] = self.value(item, field.type, (*path, key))
        for name, field in fields.items():
            if field.required and field.name not in values and raw.get(name) is None:
                self._wrong((*path, name), "is required")
        return kind(**values) if len(self._errors) == before else None

    def _instead(self, key: str, fields: Mapping[str, Any]) -> str:
        listed = f"; known are {', '.join(fields)}" if len(fields) <= FEW_KEYS else ""
        return nearest(key, fields) or (f"; {self._hint}" if self._hint else listed)

    def _list(self, raw: Any, kind: Any, item: Any, path: Path) -> Any:
        if isinstance(raw, FromText):
            plain, unit = _unwrap(item)
            if getattr(plain, "one_a_line", False):  # what stands there may hold any blanks and commas
                raw = [FromText(line) for line in raw.splitlines() if line.strip()]
            else:
                raw = split_list(raw) if (plain, unit) == (str, "") else split_plain(raw)
        if (
            isinstance(raw, Mapping | str)
            and not isinstance(raw, FromText)
            and getattr(_unwrap(item)[0], "alone", False)
        ):
            raw = [raw]
        if not isinstance(raw, list | tuple):
            hint = f"; write [{raw}]" if isinstance(raw, str) and len(raw) <= 40 else ""
            raise ValueError(f"expected a list, got {describe(raw)}{hint}")
        before = len(self._errors)
        values = [self.value(entry, item, (*path, index)) for index, entry in enumerate(raw)]
        if len(self._errors) > before or (values and isinstance(values[0], msgspec.Struct)):
            return values
        return msgspec.convert(values, kind)  # checks what the annotation demands of the list itself

    def _dict(self, raw: Any, item: Any, path: Path) -> Any:
        if isinstance(raw, FromText):
            raw = split_mapping(raw)
        if not isinstance(raw, Mapping):
            raise ValueError(f"expected a mapping, got {describe(raw)}")
        for key in raw:
            if not isinstance(key, str) or not key:
                self._wrong(path, f"the key {key!r} must be text: put it in quotes")
        return {key: self.value(entry, item, (*path, key)) for key, entry in raw.items() if isinstance(key, str)}


def older_names(kind: type[msgspec.Struct]) -> Mapping[str, str]:
    """Names that options of ``kind`` had in earlier versions, which are still understood, and what they are called now.

    A struct has them as its class variable ``older_names``.
    """
    names: Mapping[str, str] = getattr(kind, "older_names", {})
    return names


def _unwrap(kind: Any) -> tuple[Any, str]:
    """The type inside ``Annotated`` and ``... | None``, and the unit its annotations name."""
    unit = ""
    if get_origin(kind) is Annotated:
        kind, *notes = get_args(kind)
        for note in notes:
            if isinstance(note, msgspec.Meta) and note.extra:
                unit = note.extra.get("unit", unit)
    inner = [part for part in get_args(kind) if part is not type(None)]
    if type(None) in get_args(kind) and len(inner) == 1:
        kind, inner_unit = _unwrap(inner[0])
        unit = unit or inner_unit
    return kind, unit


def _scalar(raw: Any, kind: Any, plain: Any) -> Any:
    choices = get_args(plain) if get_origin(plain) is Literal else ()
    if choices:
        if isinstance(raw, bool):
            raw = str(raw).lower()  # YAML reads a bare true as a switch
        if raw not in choices:
            raise ValueError(f"expected one of {', '.join(filter(None, map(str, choices)))}; got {describe(raw)}")
        return choices[choices.index(raw)]
    if plain is Any:
        return raw
    if plain is str:
        if not isinstance(raw, str):
            hint = "" if raw is None or isinstance(raw, list | dict) else ": put it in quotes"
            raise ValueError(f"expected text, got {describe(raw)}{hint}")
        return msgspec.convert(str(raw), kind)
    if isinstance(raw, str):
        return _from_text(raw, kind, plain)
    return msgspec.convert(raw, kind)


def _from_text(raw: str, kind: Any, plain: Any) -> Any:
    """Text where a number or a switch is wanted: ``4k``, ``30s``, and what an environment variable can say."""
    if plain is int and not _WHOLE.fullmatch(raw):
        try:
            return msgspec.convert(parse_size(raw), kind)
        except msgspec.ValidationError:
            raise
        except ValueError:
            raise ValueError(f"expected a whole number, got {describe(raw)}") from None
    if plain is float and not _NUMBER.fullmatch(raw.strip()):
        raise ValueError(f"expected a number such as 0.5, got {describe(raw)}")
    if plain is bool and isinstance(raw, FromText):
        switch = _SWITCHES.get(raw.strip().lower())
        if switch is None:
            raise ValueError(f"expected true or false, got {describe(raw)}")
        return switch
    return msgspec.convert(str(raw).strip(), kind, strict=not (isinstance(raw, FromText) or plain in (int, float)))


def _readable(problem: str) -> str:
    """msgspec's sentence in the words of the other messages."""
    problem = (
        problem.split(" - at `$")[0].replace("`float`", "a number").replace("`int`", "a whole number").replace("`", "'")
    )
    return problem[:1].lower() + problem[1:]


def split_list(text: str) -> list[FromText]:
    """Entries separated by newlines, or by ``os.pathsep`` (``:``) when there is no newline."""
    parts = text.splitlines() if "\n" in text else text.split(os.pathsep)
    return [FromText(part.strip()) for part in parts if part.strip()]


def split_plain(text: str) -> list[FromText]:
    """Entries that hold no blanks or commas (numbers, URLs, words), separated by these."""
    return [FromText(part) for part in text.replace(",", " ").split()]


def split_mapping(text: str) -> dict[str, FromText]:
    """``a=1,b=2`` as a mapping; raises ValueError when an entry has no ``=``."""
    pairs: dict[str, FromText] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = entry.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"expected key=value pairs separated by commas, got {describe(entry)}")
        pairs[key.strip()] = FromText(value.strip())
    return pairs


def nearest(word: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """``; did you mean 'x'?`` for the most similar known word, or nothing when none is similar."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
