"""What container runtimes make of a container's output: a file of lines, each with a time and which of the two outputs it was.

Two formats are known. CRI, of containerd and CRI-O (kubernetes/design-proposals-archive, node/kubelet-cri-logging.md):
``<RFC3339Nano> stdout|stderr P|F[:tag...] <text>``. And Docker's json-file (moby, daemon/logger/jsonfilelog):
``{"log":"text\\n","stream":"stdout","attrs":{...},"time":"<RFC3339Nano>"}``. Both cut a long line into parts: ``P`` until the
``F``, or a ``log`` that does not end with a newline. A chunk of whole lines passes without any Python bytecode per line; a
line that is neither is given on as it is, as one of stdout.

Everything here is a pure function of bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shipper.shape.container_format import OUTPUTS, UNKNOWN, Format, Unit, Whole
from shipper.shape.cri import Cri
from shipper.shape.docker import Docker

__all__ = ["FORMATS", "OUTPUTS", "UNKNOWN", "Format", "Recognised", "Unit", "Whole", "recognise"]

LINES = 100  # so many are looked at to recognise a format
FIRST = 3  # where none of so many is in a format, no more are looked at
SAMPLE = 64 << 10  # bytes that hold enough lines for that, unless the first is longer
LONGEST = 1 << 20  # no runtime writes a first line longer than this

FORMATS: Mapping[str, Format] = {each.name: each for each in (Cri(), Docker())}


@dataclass(frozen=True, slots=True)
class Recognised:
    """``format``: None is plain text. While not ``certain``, more bytes of the file may tell otherwise.

    ``nearly``: the format that most lines of what is taken for plain text are in, all the same.
    """

    format: Format | None
    certain: bool = True
    nearly: Format | None = None


def recognise(beginning: bytes, *, expected: bool) -> Recognised:
    """In which format a file is that begins like this.

    A plain file must not be taken for a container's: every line there is must be in the format, up to 100 of them. Where the
    file lies at a place that only runtimes use (``expected``), one line that is is enough.
    """
    *lines, begun = beginning.split(b"\n", LINES)
    if not lines:
        return _by_beginning(begun)
    nearly = None
    for each in FORMATS.values():
        if not expected and not any(map(each.recognises, lines[:FIRST])):
            continue
        known = sum(map(each.recognises, lines))
        if known == len(lines) or (known and expected):
            return Recognised(each)
        if 2 * known > len(lines):
            nearly = each
    return Recognised(None, nearly=nearly)


def _by_beginning(begun: bytes) -> Recognised:
    """The same when not even the first line is finished."""
    if FORMATS["cri"].recognises(begun + b"\n"):
        return Recognised(FORMATS["cri"])
    open_ = len(begun) < LONGEST and any(each.may_become(begun) for each in FORMATS.values())
    return Recognised(None, certain=not open_)
