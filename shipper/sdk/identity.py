"""``shipper.identity()``: who this process is, as its records will say once the sidecar has added what it knows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from shipper.handoff.places import find_root, root_places
from shipper.labels.finding import LABELS
from shipper.sdk import voice
from shipper.sdk.settings import Settings
from shipper.sdk.sidecar_card import Card, CardReader
from shipper.sdk.who import INSTANCE, Self, Who, is_stated

SIDECAR = "the sidecar"


@dataclass(frozen=True, slots=True)
class Identity:
    """Labels of a process; empty text is not known. ``origins`` says for each label where it is from.

    ``host`` is the host's name, ``life`` the id of this life of it (known by the sidecar only), ``instance`` the
    ``service.instance.id`` of this process; ``attributes`` are all resource attributes of its records.
    """

    service: str
    release: str
    image: str
    generation: str
    environment: str
    host: str
    life: str
    instance: str
    attributes: Mapping[str, Any]
    origins: Mapping[str, str]


def merge(who: Who, card: Card | None) -> Identity:
    """What was stated here, else what the sidecar says, else what was found here."""
    known = card.labels if card else {}
    labels: dict[str, str] = {}
    origins: dict[str, str] = {}
    for label in who.identity.all():
        if not is_stated(label) and known.get(label.name):
            labels[label.name], origins[label.name] = known[label.name], SIDECAR
        else:
            labels[label.name], origins[label.name] = label.value, label.origin
    life = card.life if card else ""
    attributes = {**who.guessed, **(card.attributes if card else {}), **who.stated}
    if life:
        attributes["shipper.life.id"] = life
    return Identity(
        **{name: labels[name] for name in LABELS},
        life=life,
        instance=str(attributes[INSTANCE]),
        attributes=MappingProxyType(dict(sorted(attributes.items()))),
        origins=MappingProxyType(origins),
    )


class Identities:
    """The current identity: the same object until the process forks or the sidecar's card changes."""

    def __init__(self, whoami: Self, cards: CardReader) -> None:
        self._whoami = whoami
        self._cards = cards
        self._who: Who | None = None
        self._card: Card | None = None
        self._identity: Identity | None = None

    def __call__(self) -> Identity:
        """The identity; looks at the card's modification time, and reads it again when that has changed."""
        who, card = self._whoami(), self._cards()
        if self._identity is None or who is not self._who or card is not self._card:
            self._identity = merge(who, card)
            self._who, self._card = who, card
        return self._identity


_without_init: Identities | None = None


def identity() -> Identity:
    """`shipper.identity`."""
    global _without_init
    from shipper.sdk.start import started

    running = started()
    if running is not None:
        return running.identities()
    if _without_init is None:
        _without_init = Identities(
            Self(Settings(), in_code=False), CardReader(find_root(os.environ).path, *root_places(os.environ))
        )
    return _without_init()


def for_resource(who: Who, card: Card | None) -> dict[str, Any]:
    """All resource attributes of this process, for a way that has no sidecar behind it to add the rest."""
    try:
        return dict(merge(who, card).attributes)
    except Exception as error:  # odd values on a card must not cost the records
        voice.fault("reading the sidecar's card", error)
        return {**who.guessed, **who.stated}
