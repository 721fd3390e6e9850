"""The sidecar's card as a service sees it: read when it is first wanted, and again only when the file has changed."""

from __future__ import annotations

import os

from shipper.handoff.card import Card, read_card
from shipper.handoff.places import CARD

__all__ = ["Card", "CardReader"]


class CardReader:
    """The current card below a root; the same object as long as the file is the same."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._seen: tuple[int, int] | None = None
        self._card: Card | None = None

    def __call__(self) -> Card | None:
        """The card, or None where there is none (yet) that can be trusted. Never raises."""
        try:
            found = os.stat(os.path.join(self._root, CARD), follow_symlinks=False)
            seen = found.st_ino, found.st_mtime_ns
        except OSError:
            seen = None
        if seen != self._seen:
            self._card = read_card(self._root) if seen else None
            self._seen = seen
        return self._card
