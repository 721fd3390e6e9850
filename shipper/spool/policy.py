"""What a spool's owner decides: when a frame counts as durable, how large the spool may become, what happens then."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Policy = Literal["refuse", "drop_oldest"]


class Fsync(StrEnum):
    """When an appended frame counts as durable."""

    NEVER = "never"  # at once; it survives the process, not the machine
    INTERVAL = "interval"  # at once, and it is on disk a little later
    ALWAYS = "always"  # when fsync said so


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a spool may hold; sizes in bytes. See `Spool.open`."""

    segment_bytes: int
    max_bytes: int
    keep_free_bytes: int
    policy: Policy
