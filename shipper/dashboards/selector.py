"""PromQL selectors as a user writes them in the configuration, taken apart as far as rules need to add to them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_MATCHER = re.compile(
    r"""\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)\s*"""
)


class BadSelector(ValueError):
    """What a user wrote is not a metric name with matchers; the text says what to write."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric's name and its matchers, in the order and spelling they were given."""

    name: str
    matchers: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read ``name`` or ``name{label="value",...}``. Raises `BadSelector`."""
        match = _NAME.match(text.strip())
        if match is None:
            raise BadSelector(f"expected a metric such as istio_requests_total{{response_code=~\"5..\"}}, got '{text}'")
        rest = text.strip()[match.end() :].strip()
        if not rest:
            return cls(match[0])
        if not (rest.startswith("{") and rest.endswith("}")):
            raise BadSelector(
                f"after {match[0]} only matchers in {{}} may follow, without functions or ranges; got '{rest}'"
            )
        return cls(match[0], tuple(_matchers(rest[1:-1])))

    def with_(self, *matchers: str, suffix: str = "") -> Selector:
        """The same with further matchers (written out) and a suffix to its name (``_bucket``)."""
        return Selector(self.name + suffix, (*self.matchers, *filter(None, matchers)))

    def __str__(self) -> str:
        return f"{self.name}{{{','.join(self.matchers)}}}" if self.matchers else self.name


def quoted(value: str) -> str:
    """Any text as a PromQL string, so that a generation named ``a"b`` stays one."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _matchers(text: str) -> list[str]:
    found: list[str] = []
    at = 0
    while text[at:].strip():
        match = _MATCHER.match(text, at)
        if match is None:
            raise BadSelector(f"expected matchers such as label=\"value\", got '{text[at:].strip()}'")
        found.append(f"{match[1]}{match[2]}{match[3]}")
        at = match.end()
        if at < len(text):
            if text[at] != ",":
                raise BadSelector(f"expected a comma before '{text[at:].strip()}'")
            at += 1
    return found
