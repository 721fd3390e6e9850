"""The base of every section of the configuration, in a file of its own so that sections can stand in several."""

from __future__ import annotations

import msgspec


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: frozen, and unknown keys are refused."""
