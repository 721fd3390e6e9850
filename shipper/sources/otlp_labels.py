"""The host's identity on what services send: each record knows its release, also when its service never heard of one.

Only resources and the lengths around them are written anew, no record is looked at. Services send the same few resources
all the time, so what becomes of one is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping

from shipper.labels.identity import UNKNOWN_SERVICE
from shipper.otlp.encode import AttributeValue
from shipper.otlp.wire import LENGTH, expect, fields, varint
from shipper.sources.refusal import too_large
from shipper.sources.services.merging import SERVICE, Merging, split, texts_of

_KNOWN = 512  # resources remembered
_LONGEST = 8 << 10  # bytes of a resource that is remembered
_LARGEST = 256 << 10  # bytes of a resource that is taken
_MOST_FIELDS = 1 << 18  # of envelopes, in one request


class Labels:
    """``attributes``: the identity of the host, frozen for its life; keys that a service set itself are left as they are."""

    def __init__(self, attributes: Mapping[str, AttributeValue]) -> None:
        self._merging = Merging(attributes)
        self._known: dict[bytes, bytes] = {}

    def put_on(self, data: bytes, most: int) -> bytes:
        """The request with the identity on each of its resources.

        Raises `MalformedOtlp`, and a `Refusal` (413) when it would become larger than ``most`` bytes.
        """
        out: list[bytes | memoryview] = []
        size = parts = 0
        view = memoryview(data)
        for number, wire, start, value, stop in fields(data, 0, len(data)):
            if number == 1:
                expect(wire, LENGTH, "a resource envelope", start)
                pieces = self._envelope(data, view, value, stop)
            else:
                pieces = [view[start:stop]]
            size += sum(map(len, pieces))
            parts += len(pieces)
            if size > most or parts > _MOST_FIELDS:
                raise too_large(f"with the host's identity on each resource the body is larger than {most} bytes")
            out += pieces
        return b"".join(out)

    def _envelope(self, data: bytes, view: memoryview, at: int, end: int) -> list[bytes | memoryview]:
        """One resource envelope, as pieces with its tag and length in front."""
        stated: list[bytes] = []
        others: list[bytes | memoryview] = []
        for number, wire, start, value, stop in fields(data, at, end):
            if number == 1:  # several of them are one, as protobuf merges messages
                expect(wire, LENGTH, "a resource", start)
                stated.append(data[value:stop])
            else:
                others.append(view[start:stop])
            if len(stated) + len(others) > _MOST_FIELDS:
                raise too_large(f"a resource envelope of more than {_MOST_FIELDS} parts")
        resource = self._resource(stated[0] if len(stated) == 1 else b"".join(stated))
        length = len(resource) + sum(map(len, others))
        return [b"\x0a" + varint(length), resource, *others]

    def _resource(self, content: bytes) -> bytes:
        """A whole resource field made of the content of the one that was sent."""
        known = self._known.get(content)
        if known is None:
            if len(content) > _LARGEST:
                raise too_large(f"a resource of more than {_LARGEST} bytes")
            attributes: list[bytes] = []
            rest: list[bytes] = []  # whatever else a resource has
            for number, _, start, _, stop in fields(content, 0, len(content)):
                (attributes if number == 1 else rest).append(content[start:stop])
            merged = self._merging.merge(_stated(attributes), b"", None) + b"".join(rest)
            known = b"\x0a" + varint(len(merged)) + merged
            if len(content) <= _LONGEST:
                if len(self._known) >= _KNOWN:
                    self._known.clear()
                self._known[content] = known
        return known


def _stated(attributes: list[bytes]) -> bytes:
    """What a service says of itself; the name that an SDK makes up where nobody gave one is not said by the service."""
    if texts_of(b"".join(attributes)).get(SERVICE, "").startswith(UNKNOWN_SERVICE):
        return b"".join(each for each in attributes if SERVICE not in split(each))
    return b"".join(attributes)
