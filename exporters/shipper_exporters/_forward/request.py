"""A request as messages of the forward protocol: PackedForward, or CompressedPackedForward, each with a chunk of its own.

Records with the same tag that follow each other share a message, up to a size that every receiver takes. The chunk of a
message is the request's id and its number in it: the same whenever the request is sent again, so that a receiver which
remembers chunks (Shipper's own does) takes it once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from isal import isal_zlib

from shipper.contracts import Batch, Request
from shipper.otlp.rows import Envelope, log_blocks
from shipper_exporters._forward.records import Fields, labels, packed

MESSAGE = 2 << 20
"""Bytes of entries in a message, about, before compression. Fluent Bit closes the connection on more than 6 MB (its
``Buffer_Max_Size``), and Fluentd and Fluent Bit send pieces of this size to each other."""

_LEVEL = 1
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_GZIP = 31  # window bits that make it gzip and not zlib
_THREE = b"\x93"  # a list of three
_BIN32 = b"\xc6"
_OWN_SCOPE = "shipper."


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it goes over the wire, and what acknowledges it."""

    chunk: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ForwardBody:
    """A request made ready."""

    messages: tuple[Message, ...]


class _Gathered:
    """Entries that become one message; compressed as they come, while they are in the processor's cache."""

    def __init__(self, tag: str, *, compress: bool) -> None:
        self.tag = tag
        self.count = 0
        self.size = 0  # before compression
        self._packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP) if compress else None
        self._parts: list[bytes] = []

    def add(self, entries: bytes, count: int) -> None:
        """So many more."""
        self.count += count
        self.size += len(entries)
        self._parts.append(entries if self._packer is None else self._packer.compress(entries))

    def message(self, chunk: str) -> bytes:
        """All of it as it goes over the wire."""
        option: dict[str, str | int] = {"chunk": chunk, "size": self.count}
        if self._packer is not None:
            self._parts.append(self._packer.flush())
            option["compressed"] = "gzip"
        size = sum(map(len, self._parts))
        return b"".join((_THREE, packed(self.tag), _BIN32, size.to_bytes(4, "big"), *self._parts, packed(option)))


class Encoder:
    """Encodes requests. ``tag``: pairs of text and the part behind it."""

    def __init__(self, fields: Fields, tag: Sequence[tuple[str, str]], *, compress: bool) -> None:
        self._fields = fields
        self._tag = tag
        self._compress = compress
        self._tag_of = lru_cache(1024)(self._tag_made)

    def encode(self, request: Request) -> ForwardBody:
        """The messages of a request. Raises `MalformedOtlp`."""
        messages: list[Message] = []
        for gathered in self._gathered(request.batches):
            chunk = f"{request.id}.{len(messages)}"
            messages.append(Message(chunk, gathered.message(chunk)))
        return ForwardBody(tuple(messages))

    def _gathered(self, batches: Sequence[Batch]) -> Iterator[_Gathered]:
        """Entries in order, cut where the tag changes and where a message is full."""
        gathered = _Gathered("", compress=self._compress)
        for batch in batches:
            number = 0
            identify = f"{batch.life}.{batch.stream}.{batch.cut.start}.{{}}".format
            for block in log_blocks(batch.payload):
                tag = self._tag_of(block.envelope)
                for entries, count in self._fields.entries(block, number, identify):
                    if gathered.count and (tag != gathered.tag or gathered.size + len(entries) > MESSAGE):
                        yield gathered
                        gathered = _Gathered(tag, compress=self._compress)
                    gathered.tag = tag
                    gathered.add(entries, count)
                number += len(block)
        if gathered.count:
            yield gathered

    def _tag_made(self, envelope: Envelope) -> str:
        known = {**labels(envelope.resource), "source": _source(envelope)}
        parts = []
        for text, name in self._tag:
            parts.append(text)
            if name:
                parts.append(_UNSAFE.sub("_", str(known.get(name, ""))) or "unknown")
        return "".join(parts)


def _source(envelope: Envelope) -> str:
    """Where records are from: the name of a file, what Shipper read them from, or ``logs`` for what services emit."""
    name = envelope.scope_attributes.get("log.file.name") or envelope.resource.get("log.file.name")
    if name:
        return str(name)
    return envelope.scope.removeprefix(_OWN_SCOPE) if envelope.scope.startswith(_OWN_SCOPE) else "logs"
