"""The HEAD frame's body: which process wrote a segment, and where the segment stands in its series."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

VERSION = 1


@dataclass(frozen=True, slots=True)
class Hello:
    """What a HEAD frame says. Texts are empty and numbers 0 where the writer did not know."""

    signal: str
    base: int  # position of the segment's first byte in the series
    seq: int  # number of this frame, the first of the segment
    version: int = VERSION
    boot: str = ""
    pid: int = 0  # in the process's own PID namespace
    start_ticks: int = 0  # of /proc/<pid>/stat
    pid_ns: int = 0  # inode of the PID namespace
    container: str = ""
    instance: str = ""  # service.instance.id
    service: str = ""
    sdk: str = ""
    created_ns: int = 0
    argv: tuple[str, ...] = ()
    writer: str = "sdk"  # or "sidecar": a segment added to the series of a dead process

    def body(self) -> bytes:
        """The frame's body."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def build_hello(signal: str, base: int, seq: int, created_ns: int, said: Mapping[str, Any]) -> Hello:
    """A Hello from what the process says of itself; what is not known or not of its type is left out."""
    return Hello(signal, base, seq, created_ns=created_ns, **_known(said, _OF_PROCESS))


def read_hello(body: bytes) -> Hello | None:
    """What a HEAD frame says; None when it is not one that can be understood."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("version") != VERSION:
        return None
    known = _known(said, _TYPES.keys())
    if not {"signal", "base", "seq"} <= known.keys():
        return None
    return Hello(**known)


_MOST_TEXT = 1000
_TYPES = {
    f.name: {"int": int, "str": str, "tuple[str, ...]": list}[str(f.type)]  # annotations are strings here
    for f in fields(Hello)
}
_OF_PROCESS = _TYPES.keys() - {"signal", "base", "seq", "version", "created_ns", "writer"}


def _known(said: Mapping[str, Any], names: Any) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name in names:
        value = said.get(name)
        if name == "argv" and isinstance(value, list | tuple):
            known[name] = tuple(printable(text) for text in value if isinstance(text, str))
        elif isinstance(value, str) and _TYPES[name] is str:
            known[name] = printable(value)
        elif isinstance(value, int) and not isinstance(value, bool) and _TYPES[name] is int and 0 <= value < 1 << 63:
            known[name] = value
    return known


def printable(text: str) -> str:
    """What may be shown on a terminal, put in a label and encoded: without control characters and surrogates."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:_MOST_TEXT])
