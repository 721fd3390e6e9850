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

from isal import igzip

from shipper.contracts import Batch, Request
from shipper.otlp.rows import Envelope, log_blocks
from shipper_exporters._forward_records import Fields, labels, packed

MESSAGE = 2 << 20
"""Bytes of entries in a message, about, before compression. Fluent Bit closes the connection on more than 6 MB (its
``Buffer_Max_Size``), and Fluentd and Fluent Bit send pieces of this size to each other."""

_LEVEL = 1
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_BLOCK = 128  # entries joined at a time, as in `shipper.otlp.encode`
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
        for tag, entries, count in self._grouped(request.batches):
            chunk = f"{request.id}.{len(messages)}"
            messages.append(Message(chunk, self._message(tag, chunk, entries, count)))
        return ForwardBody(tuple(messages))

    def _grouped(self, batches: Sequence[Batch]) -> Iterator[tuple[str, bytes, int]]:
        """Entries in order and how many, cut where the tag changes and where a message is full."""
        tag, entries, count = "", bytearray(), 0
        for batch in batches:
            number = 0
            identify = f"{batch.life}.{batch.stream}.{batch.cut.start}.{{}}".format
            for block in log_blocks(batch.payload):
                wanted = self._tag_of(block.envelope)
                if wanted != tag and count:
                    yield tag, bytes(entries), count
                    entries, count = bytearray(), 0
                tag = wanted
                encoded = self._fields.entries(block, number, identify)
                number += len(encoded)
                for at in range(0, len(encoded), _BLOCK):
                    some = encoded[at : at + _BLOCK]
                    entries += b"".join(some)
                    count += len(some)
                    if len(entries) >= MESSAGE:
                        yield tag, bytes(entries), count
                        entries, count = bytearray(), 0
        if count:
            yield tag, bytes(entries), count

    def _message(self, tag: str, chunk: str, entries: bytes, count: int) -> bytes:
        option: dict[str, str | int] = {"chunk": chunk, "size": count}
        if self._compress:
            entries = igzip.compress(entries, _LEVEL)
            option["compressed"] = "gzip"
        return b"".join((_THREE, packed(tag), _BIN32, len(entries).to_bytes(4, "big"), entries, packed(option)))

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
