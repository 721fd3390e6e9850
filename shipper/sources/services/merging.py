"""One resource out of three: what the service stated, what the host knows, and what was only guessed.

Attributes are moved as encoded fields, so that whatever kind of value they have stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shipper.errors import MalformedOtlp
from shipper.labels.identity import UNKNOWN_SERVICE
from shipper.otlp.encode import AttributeValue, key_value
from shipper.otlp.wire import LENGTH, expect, field, fields, utf8

OWNER = "process.owner"
LIFE = "shipper.life.id"
SERVICE = "service.name"
OURS = frozenset({OWNER, LIFE})
"""Whatever a service says of these, the sidecar knows better: they say whose word the rest is."""


def split(data: bytes) -> dict[str, bytes]:
    """The attributes in a run of ``Resource.attributes`` fields: key -> encoded field; the first of a key counts.

    Raises `MalformedOtlp` for anything else.
    """
    found: dict[str, bytes] = {}
    for number, wire, start, value, stop in fields(data, 0, len(data)):
        if number != 1:
            raise MalformedOtlp(f"field {number} where attributes are wanted", start)
        expect(wire, LENGTH, "an attribute", start)
        key = ""
        for number2, wire2, start2, value2, stop2 in fields(data, value, stop):
            if number2 == 1:
                expect(wire2, LENGTH, "an attribute's key", start2)
                key = utf8(data, value2, stop2, "an attribute's key")
        found.setdefault(key, data[start:stop])
    return found


class Merging:
    """Merges the resources of one host's services. ``attributes``: the host's identity, frozen for its life."""

    def __init__(self, attributes: Mapping[str, AttributeValue]) -> None:
        self.attributes = dict(attributes)
        self._host = {key: field(1, key_value(key, value)) for key, value in attributes.items()}
        # "unknown_service" is no knowledge: it yields to anybody's guess
        self._unknown = {SERVICE} if attributes.get(SERVICE) == UNKNOWN_SERVICE else set()

    def merge(self, stated: bytes, guessed: bytes, owner: str | None) -> bytes:
        """The content of the Resource: stated, then what the host knows, then guessed. Raises `MalformedOtlp`.

        ``owner``: whose word the rest is; None where that cannot be known: then what is stated of it stays.
        """
        mine = {LIFE: self._host[LIFE]} if LIFE in self._host else {}
        if owner is not None:
            mine[OWNER] = field(1, key_value(OWNER, owner))
        ours = OURS if owner is not None else {LIFE}
        merged = {key: value for key, value in split(stated).items() if key not in ours}
        for key, value in self._host.items():
            if key not in OURS and key not in self._unknown:
                merged.setdefault(key, value)
        for key, value in split(guessed).items():
            if key not in OURS:
                merged.setdefault(key, value)
        for key in self._unknown:
            merged.setdefault(key, self._host[key])
        return b"".join([*merged.values(), *mine.values()])


def texts_of(resource: bytes) -> dict[str, str]:
    """The attributes of an encoded Resource whose value is text. Raises `MalformedOtlp`."""
    return dict(_texts(resource))


def _texts(resource: bytes) -> Iterator[tuple[str, str]]:
    for key, encoded in split(resource).items():
        for _, _, _, start, end in fields(encoded, 0, len(encoded)):
            for number, wire, _, value, stop in fields(encoded, start, end):
                if number == 2 and wire == LENGTH:
                    for inner, kind, _, text, behind in fields(encoded, value, stop):
                        if inner == 1 and kind == LENGTH:
                            yield key, utf8(encoded, text, behind, "an attribute")
