"""What the sidecar tells services: its card in the root, kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shipper.handoff.card import Card, read_card, write_card
from shipper.otlp.encode import AttributeValue
from shipper.sources.services.settings import ServiceSettings


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

    def publish(self, *, full: bool) -> None:
        """Say who the host is, and whether there is room; free when nothing changed and the card stands."""
        card = Card(self._life, self._labels, self._attributes, self._settings.process_max, full)
        if card == self._published and read_card(self._settings.root) is not None:
            return
        try:
            write_card(self._settings.root, card)
        except OSError as problem:
            self._say("services-card", f"host.json cannot be written: {problem.strerror or problem}", "host.json")
        else:
            self._published = card
