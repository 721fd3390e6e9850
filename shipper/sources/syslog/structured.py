"""STRUCTURED-DATA of RFC 5424 (section 6.3): ``[id name="value" ...]``, one behind the other, or ``-``."""

from __future__ import annotations

import re

from shipper.shape.text import is_utf8

# A closing bracket in a value should be escaped, but many senders do not; then only the quotes tell.
_VALUE = rb'"((?:[^"\\]++|\\.)*+)"'
_NAME = rb'[^\s="\]\[\x00-\x1f]{1,255}'
_ELEMENT = re.compile(rb"\[(" + _NAME + rb")((?: ++" + _NAME + rb"=" + _VALUE + rb")*+) *+\]", re.DOTALL)
_PARAMETER = re.compile(rb" (" + _NAME + rb")=" + _VALUE, re.DOTALL)
_ESCAPED = re.compile(rb'\\(["\\\]])')

Found = dict[str, list[bytes]]
"""Values by ``id.name``; an element without parameters is its ``id`` alone, with an empty value."""


def structured(data: bytes, at: int) -> tuple[Found, int] | None:
    """What stands at ``at``, and where it ends; None where it is not what the RFC says."""
    if data.startswith(b"-", at):
        return {}, at + 1
    found: Found = {}
    begin = at
    while match := _ELEMENT.match(data, at):
        element = match[1].decode("utf-8", "replace")
        if not match[2]:
            found.setdefault(element, []).append(b"")
        for name, value in _PARAMETER.findall(match[2]):
            key = f"{element}.{name.decode('utf-8', 'replace')}"
            found.setdefault(key, []).append(_unescaped(value))
        at = match.end()
    return (found, at) if at > begin else None


def _unescaped(value: bytes) -> bytes:
    if b"\\" in value:
        value = _ESCAPED.sub(rb"\1", value)
    return value if is_utf8(value) else value.decode("utf-8", "replace").encode()
