"""HTML and SVG as text in which nothing that came from outside can be anything but text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Markup that shows ``value`` as it is. Control characters and those that turn the reading direction show as U+FFFD."""
    return value if isinstance(value, Markup) else Markup(escape(_UNPRINTABLE.sub("\ufffd", str(value))))


def element(name: str, *content: object, **attributes: object) -> Markup:
    """An element with its content, text or markup. ``_`` in an attribute's name stands for ``-``; ``class_`` is ``class``.

    An attribute that is None is left out; numbers lose needless digits.
    """
    written = "".join(
        f' {_named(key)}="{text(_short(value))}"' for key, value in attributes.items() if value is not None
    )
    if not content:
        return Markup(f"<{name}{written}/>" if name in _SVG_EMPTY else f"<{name}{written}></{name}>")
    return Markup(f"<{name}{written}>{joined(content)}</{name}>")


def joined(parts: Iterable[object], between: str = "") -> Markup:
    """All of them in a row."""
    return Markup(between.join(text(part) for part in parts))


_SVG_EMPTY = frozenset({"line", "rect", "path", "circle", "polyline", "polygon"})


def _named(key: str) -> str:
    return "viewBox" if key == "view_box" else key.rstrip("_").replace("_", "-")


def _short(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
