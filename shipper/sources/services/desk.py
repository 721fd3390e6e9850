"""What the sidecar tells services: its card in the root, kept up to date."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from shipper.handoff.card import Card, read_card, write_card
from shipper.handoff.places import CARD
from shipper.otlp.encode import AttributeValue
from shipper.sources.services.settings import PROCESS_MAX, ServiceSettings


class Desk:
    """Writes ``host.json`` when it is not what it should be. ``say`` gets (kind of problem, sentence, about)."""

    def __init__(
        self,
        settings: ServiceSettings,
        life: str,
        labels: Mapping[str, str],
        attributes: Mapping[str, AttributeValue],
        say: Callable[[str, str, str], None],
    ) -> None:
        self._settings = settings
        self._life = life
        self._labels = dict(labels)
        self._attributes = dict(attributes)
        self._say = say
        self._published: Card | None = None
        self._disbelieved = False

    def publish(self, *, full: bool) -> None:
        """Say who the host is, and whether there is room; free when nothing changed and the card stands."""
        # Where nobody has set it, services decide: it is less where the spool is in memory.
        limit = self._settings.process_max if self._settings.process_max != PROCESS_MAX else 0
        card = Card(self._life, self._labels, self._attributes, limit, full)
        if card == self._published and self._stands():
            return
        try:
            write_card(self._settings.root, card)
        except OSError as problem:
            self._say("services-card", f"host.json cannot be written: {problem.strerror or problem}", "host.json")
        else:
            self._published = card
            self._look()

    def _stands(self) -> bool:
        if self._disbelieved:
            return os.path.lexists(os.path.join(self._settings.root, CARD))
        return read_card(self._settings.root) is not None

    def _look(self) -> None:
        """A card that is not the root's owner's is nobody's: in such a root anybody might have put it there."""
        root = self._settings.root
        disbelieved = read_card(root) is None
        if disbelieved and not self._disbelieved:
            self._say(
                "services-card",
                f"services hand over but do not read {CARD} (their limits, and whether there is room), because {root} belongs "
                f"to another user than this sidecar: mount the volume one level above, at {os.path.dirname(root)}, "
                "and the sidecar makes the spool in it",
                CARD,
            )
        self._disbelieved = disbelieved
