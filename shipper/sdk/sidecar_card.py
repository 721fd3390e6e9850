"""The sidecar's card as a service sees it: read when it is first wanted, and again only when the file has changed."""

from __future__ import annotations

import os

from shipper.handoff.card import Card, read_card
from shipper.handoff.places import CARD

__all__ = ["Card", "CardReader"]


class CardReader:
    """The current card below the first root that has one; the same object as long as the file is the same."""

    def __init__(self, *roots: str) -> None:
        self._roots = tuple(dict.fromkeys(roots))
        self._seen: tuple[str, int, int] | None = None
        self._card: Card | None = None

    def __call__(self) -> Card | None:
        """The card, or None where there is none (yet) that can be trusted. Never raises."""
        seen = next(filter(None, map(_seen, self._roots)), None)
        if seen != self._seen:
            self._card = read_card(seen[0]) if seen else None
            self._seen = seen
        return self._card


def _seen(root: str) -> tuple[str, int, int] | None:
    """What tells one card from another without reading it."""
    try:
        found = os.stat(os.path.join(root, CARD), follow_symlinks=False)
    except OSError:
        return None
    return root, found.st_ino, found.st_mtime_ns
