"""What container runtimes make of a container's output: a file of lines, each with a time and which of the two outputs it was.

Two formats are known. CRI, of containerd and CRI-O (kubernetes/design-proposals-archive, node/kubelet-cri-logging.md):
``<RFC3339Nano> stdout|stderr P|F[:tag...] <text>``. And Docker's json-file (moby, daemon/logger/jsonfilelog):
``{"log":"text\\n","stream":"stdout","attrs":{...},"time":"<RFC3339Nano>"}``. Both cut a long line into parts: ``P`` until the
``F``, or a ``log`` that does not end with a newline. A chunk of whole lines passes without any Python bytecode per line; a
line that is neither is given on as it is, as one of stdout.

Everything here is a pure function of bytes.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from typing import ClassVar, NamedTuple

import msgspec

from shipper.otlp.encode import log_attribute
from shipper.shape.runtime_times import RFC3339, times_of

OUTPUTS = ("stdout", "stderr")
UNKNOWN = OUTPUTS[0]  # whose a line is that does not say it
ATTRIBUTES = "docker.attrs."  # what ``--log-opt tag|labels|env`` adds to each line
LINES = 100  # so many are looked at to recognise a format
SAMPLE = 64 << 10  # bytes that hold enough lines for that, unless the first is longer
LONGEST = 1 << 20  # no runtime writes a first line longer than this

_CRI_BEGUN = re.compile(rb"[-0-9T:.Z+]*(?: (?:s(?:t(?:d[outer]*)?)?)?(?: (?:[FP](?::\S*)?)?)?)?\Z")
_DOCKER_BEGUN = b'{"log":"'


class Unit(NamedTuple):
    """One line of the file that belongs to an output: ``text`` is all or a part of what the container wrote as a line.

    ``start``, ``end``: where it lies in the chunk, its line end included. ``time``: nanoseconds since the epoch, 0 for
    unknown. ``ends``: the container's line is complete with it. ``strange``: it is not in the format, ``text`` is all of it.
    ``extra``: further fields for its record.
    """

    start: int
    end: int
    text: bytes
    time: int
    ends: bool
    strange: bool = False
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class Whole:
    """The lines of one output in a chunk that holds nothing unusual."""

    texts: list[bytes]
    times: list[int]
    extra: dict[int, bytes] | None = None


class Format(ABC):
    """How a runtime writes. Chunks consist of whole lines of the file."""

    name: ClassVar[str]
    growth: ClassVar[int]  # so many bytes of the file a byte of text may take

    @abstractmethod
    def whole(self, chunk: bytes, output: str) -> Whole | None:
        """The lines of ``output``; None when there are parts of lines, or what is not in the format."""

    @abstractmethod
    def units(self, chunk: bytes, output: str) -> Iterator[Unit]:
        """The same one by one, whatever the chunk holds. The last line may lack its end."""

    @abstractmethod
    def unfinished(self, chunk: bytes, output: str) -> int | None:
        """Where the line begins that the container has not finished at the end of ``chunk``; None when there is none."""

    @abstractmethod
    def last(self, data: bytes, output: str) -> int:
        """Behind which index ``data`` has nothing of ``output``. May be too high."""

    @abstractmethod
    def recognises(self, line: bytes) -> bool:
        """Whether a whole line is in this format, and certainly not by chance."""

    @abstractmethod
    def may_become(self, begun: bytes) -> bool:
        """Whether a line that begins so may turn out to be in this format."""


class Cri(Format):
    """What containerd and CRI-O write."""

    name = "cri"
    growth = 1

    def __init__(self) -> None:
        silent = re.sub(rb"\((?!\?)", b"(?:", RFC3339)
        self._head = re.compile(rb"%s (stdout|stderr) ([FP])(?::\S*)?(?: |\Z)" % RFC3339)
        self._full, self._tags = {}, {}
        for output in OUTPUTS:
            of = output.encode()
            self._full[output] = re.compile(rb"(?m)^%s %s F(?::\S*)?(?: (.*))?$" % (RFC3339, of))
            self._tags[output] = re.compile(rb"(?m)^%s %s ([FP])(?::\S*)?(?: |$)" % (silent, of))

    def whole(self, chunk: bytes, output: str) -> Whole | None:
        """See `Format.whole`."""
        if output != UNKNOWN and b" %s " % output.encode() not in chunk:
            return Whole([], [])
        lines, found = chunk.count(b"\n"), self._full[output].findall(chunk)
        if len(found) < lines and len(found) + len(self._tags[_other(output)].findall(chunk)) != lines:
            return None
        if not found:
            return Whole([], [])
        seconds, parts, zones, texts = zip(*found, strict=True)
        return Whole(list(texts), times_of(seconds, parts, zones))

    def units(self, chunk: bytes, output: str) -> Iterator[Unit]:
        """See `Format.units`."""
        for start, end, line in _lines(chunk):
            found = self._head.match(line)
            if found is None:
                if output == UNKNOWN:
                    yield Unit(start, end, line, 0, end > start + len(line), True)
            elif found[4].decode() == output:
                (time,) = times_of((found[1],), (found[2] or b"",), (found[3],))
                yield Unit(start, end, line[found.end() :], time, found[5] == b"F" and end > start + len(line))

    def unfinished(self, chunk: bytes, output: str) -> int | None:
        """See `Format.unfinished`."""
        if b" %s P" % output.encode() not in chunk:
            return None
        began = None
        for found in reversed(list(self._tags[output].finditer(chunk))):
            if found[1] == b"F":
                break
            began = found.start()
        return began

    def last(self, data: bytes, output: str) -> int:
        """See `Format.last`."""
        return data.find(b"\n", data.rfind(b" %s " % output.encode())) + 1 or len(data)

    def recognises(self, line: bytes) -> bool:
        """See `Format.recognises`."""
        return self._head.match(line) is not None

    def may_become(self, begun: bytes) -> bool:
        """See `Format.may_become`."""
        return _CRI_BEGUN.match(begun) is not None


class _DockerLine(msgspec.Struct, gc=False):
    log: str
    stream: str
    time: str = ""
    attrs: msgspec.Raw = msgspec.Raw()


class _NothingElse(_DockerLine, forbid_unknown_fields=True):
    """A line of Docker's own, with all that it has."""


class Docker(Format):
    """What Docker's json-file driver writes."""

    name = "docker"
    growth = 6  # \u0000

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(_DockerLine)
        self._strict = msgspec.json.Decoder(_NothingElse)

    def whole(self, chunk: bytes, output: str) -> Whole | None:
        """See `Format.whole`."""
        other = _other(output).encode()
        if output != UNKNOWN and b'"%s"' % output.encode() not in chunk:
            return Whole([], [])
        try:
            lines = self._decoder.decode_lines(chunk)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if len(lines) != chunk.count(b"\n"):
            return None
        if b'"%s"' % other in chunk or any(line.stream != output for line in lines):
            if any(line.stream not in OUTPUTS for line in lines):
                return None
            lines = [line for line in lines if line.stream == output]
        logs = [line.log for line in lines]
        joined = "".join(logs).encode()
        texts = joined.split(b"\n")
        if texts.pop() or len(texts) != len(logs) or not all(map(str.endswith, logs, repeat("\n"))):
            return None
        return Whole(texts, _docker_times([line.time for line in lines]), _extra([line.attrs for line in lines]))

    def units(self, chunk: bytes, output: str) -> Iterator[Unit]:
        """See `Format.units`."""
        for start, end, line in _lines(chunk):
            try:
                found = self._decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                found = None
            if found is None or found.stream not in OUTPUTS:
                if output == UNKNOWN:
                    yield Unit(start, end, line, 0, end > start + len(line), True)
            elif found.stream == output:
                (time,) = _docker_times([found.time])
                ends = found.log.endswith("\n")
                text = found.log[:-1] if ends else found.log
                yield Unit(start, end, text.encode(), time, ends, False, _attributes(bytes(found.attrs)))

    def unfinished(self, chunk: bytes, output: str) -> int | None:
        """See `Format.unfinished`."""
        stream = b'","stream":"%s"' % output.encode()
        if chunk.count(b"\\n" + stream) == chunk.count(stream):
            return None
        began = None
        for unit in self.units(chunk, output):
            if unit.ends:
                began = None
            elif began is None:
                began = unit.start
        return began

    def last(self, data: bytes, output: str) -> int:
        """See `Format.last`."""
        return data.find(b"\n", data.rfind(b'"%s"' % output.encode())) + 1 or len(data)

    def recognises(self, line: bytes) -> bool:
        """See `Format.recognises`."""
        try:
            found = self._strict.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return line.startswith(_DOCKER_BEGUN) and found.stream in OUTPUTS and _docker_times([found.time]) != [0]

    def may_become(self, begun: bytes) -> bool:
        """See `Format.may_become`."""
        return begun.startswith(_DOCKER_BEGUN) or _DOCKER_BEGUN.startswith(begun)


FORMATS: Mapping[str, Format] = {each.name: each for each in (Cri(), Docker())}


@dataclass(frozen=True, slots=True)
class Recognised:
    """``format``: None is plain text. While not ``certain``, more bytes of the file may tell otherwise."""

    format: Format | None
    certain: bool = True


def recognise(beginning: bytes, *, expected: bool) -> Recognised:
    """In which format a file is that begins like this.

    A plain file must not be taken for a container's: every line there is must be in the format, up to 100 of them. Where the
    file lies at a place that only runtimes use (``expected``), one line that is is enough.
    """
    *lines, begun = beginning.split(b"\n", LINES)
    if not lines:
        return _by_beginning(begun)
    for each in FORMATS.values():
        known = map(each.recognises, lines)
        if any(known) if expected else all(known):
            return Recognised(each)
    return Recognised(None)


def _by_beginning(begun: bytes) -> Recognised:
    """The same when not even the first line is finished."""
    if FORMATS["cri"].recognises(begun + b"\n"):
        return Recognised(FORMATS["cri"])
    open_ = len(begun) < LONGEST and any(each.may_become(begun) for each in FORMATS.values())
    return Recognised(None, certain=not open_)


def _other(output: str) -> str:
    return OUTPUTS[1 - OUTPUTS.index(output)]


def _lines(chunk: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Each line of a chunk without its end, and where it lies with it."""
    start = 0
    for line in chunk.split(b"\n"):
        end = min(start + len(line) + 1, len(chunk))
        if start < end:
            yield start, end, line
        start = end


_SPLIT = re.compile(rb"(?m)^(?:" + RFC3339 + rb")?$")


def _docker_times(times: Sequence[str]) -> list[int]:
    found = _SPLIT.findall("\n".join(times).encode())
    if len(found) != len(times):
        return [_docker_times([time])[0] for time in times] if len(times) > 1 else [0]
    if not found:
        return []
    return times_of(*zip(*found, strict=True))


def _extra(attrs: Sequence[msgspec.Raw]) -> dict[int, bytes] | None:
    """What to add to which line."""
    if not any(attrs):
        return None
    encoded = {raw: _attributes(raw) for raw in set(map(bytes, attrs))}
    given = [encoded[bytes(raw)] for raw in attrs]
    return dict(compress(enumerate(given), given)) or None


def _attributes(raw: bytes) -> bytes:
    """The ``attrs`` of a line as fields of a record."""
    if not raw:
        return b""
    try:
        found = msgspec.json.decode(raw, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b""
    return b"".join(log_attribute(ATTRIBUTES + key, value) for key, value in found.items())
