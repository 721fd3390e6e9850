"""Which labels a series gets: the identity of who it is about, its attributes, and what the settings add.

The identity comes from the resource and is on every series, so that no query needs a join: see ``IDENTITY``. Other
resource attributes are no labels. An attribute of a data point that would take the place of an identity label is kept as
``exported_<name>``, as Prometheus does with what it scrapes; two whose names become the same are joined by ``;``.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from shipper.errors import MalformedOtlp
from shipper.otlp.wire import FIXED64, LENGTH, VARINT, fields, read_varint
from shipper_exporters._prometheus.names import label_name, number_text
from shipper_exporters._prometheus.samples import Family, Labels

IDENTITY: Mapping[str, tuple[str, ...]] = {
    "service": ("service.name",),
    "env": ("deployment.environment.name", "deployment.environment"),
    "generation": ("shipper.generation",),
    "release": ("service.version",),
    "instance": ("service.instance.id", "host.id", "host.name"),
}
"""Label: the resource attributes it is taken from, the first that is there."""

RESERVED = frozenset({*IDENTITY, "le", "quantile", "__name__"})
_DEEPEST = 20  # values in values; what lies deeper is shown as null

Pairs = tuple[tuple[str, str], ...]


def identity(resource: bytes) -> Pairs:
    """The labels that all series of a resource have. Raises `MalformedOtlp`."""
    attributes = dict(_key_values(resource, 1, 0))
    found = {}
    for label, keys in IDENTITY.items():
        value = next((text for key in keys if (text := _text(attributes.get(key)))), "")
        if value:
            found[label] = value
    return tuple(found.items())


def attributes(content: bytes, number: int) -> Pairs:
    """The labels of the attributes of a data point, which are the fields ``number`` of ``content``. Raises `MalformedOtlp`."""
    found: dict[str, str] = {}
    for key, value in sorted(_key_values(content, number, 0), key=lambda pair: pair[0]):
        text = _text(value)
        name = label_name(key)
        if name in RESERVED:
            name = f"exported_{name}"
        if text:
            found[name] = f"{found[name]};{text}" if name in found else text
    return tuple(found.items())


def series(name: str, family: Family, *parts: Iterable[tuple[str, str]]) -> Labels:
    """The labels of a series called ``name``; where one is in several ``parts`` the last one counts."""
    labels = {key: value for part in parts for key, value in part if value}
    labels["__name__"] = name
    return Labels.of(labels.items(), family)


def _key_values(content: bytes, number: int, depth: int) -> list[tuple[str, Any]]:
    found = []
    for one, wire, _, at, end in fields(content, 0, len(content)):
        if one == number and wire == LENGTH:
            found.append(_key_value(content[at:end], depth))
    return found


def _key_value(content: bytes, depth: int) -> tuple[str, Any]:
    key, value = "", None
    for number, wire, _, at, end in fields(content, 0, len(content)):
        if wire == LENGTH and number == 1:
            key = _utf8(content[at:end])
        elif wire == LENGTH and number == 2:
            value = _any_value(content[at:end], depth)
    return key, value


def _any_value(content: bytes, depth: int) -> Any:
    """An AnyValue as the Python value that it is."""
    value: Any = None
    if depth > _DEEPEST:
        return value
    for number, wire, _, at, end in fields(content, 0, len(content)):
        part = content[at:end]
        if number == 1 and wire == LENGTH:
            value = _utf8(part)
        elif number in (2, 3) and wire == VARINT:
            whole, _ = read_varint(content, at, end)
            value = bool(whole) if number == 2 else whole - (whole >> 63 << 64)
        elif number == 4 and wire == FIXED64:
            (value,) = struct.unpack("<d", part)
        elif number == 5 and wire == LENGTH:
            inner = fields(part, 0, len(part))
            value = [_any_value(part[a:b], depth + 1) for one, _, _, a, b in inner if one == 1]
        elif number == 6 and wire == LENGTH:
            value = dict(_key_values(part, 1, depth + 1))
        elif number == 7 and wire == LENGTH:
            value = part
    return value


def _text(value: Any) -> str:
    """A value as a label has it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_text)


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedOtlp("an attribute is not valid UTF-8", error.start) from None
