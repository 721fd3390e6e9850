"""What is read of a journal, and how. Made of the configuration once; nothing here changes later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shipper.otlp.encode import AttributeValue
from shipper.shape import PLAIN, Shape


@dataclass(frozen=True, slots=True)
class Choice:
    """Which entries are shipped. ``priority``: the least urgent that is. Names are globs."""

    units: tuple[str, ...] = ()
    exclude_units: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    exclude_identifiers: tuple[str, ...] = ()
    priority: int = 7
    kernel: bool = True
    boot: bytes = b""  # only entries of this one; empty: of all


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """One journal. ``name`` begins the ids of its streams. ``fields``: which become attributes as they are; None: all.

    ``attributes``: the resource. ``from_beginning``: of what is there at the very first start. ``each_boot``: entries say of
    which boot they are.
    """

    name: str = "journal"
    directories: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    nested: bool = False  # directories that lie in these hold journals as well, as with ``journalctl -D``
    choice: Choice = Choice()
    from_beginning: bool = True
    each_boot: bool = False
    fields: tuple[str, ...] | None = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    service_from_unit: bool = False
    shape: Shape = PLAIN
    max_message: int = 1 << 20
    hold: float = 0.5
    poll_interval: float = 0.1
