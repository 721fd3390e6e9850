"""Hosts that die together do not begin to drain in the same instant: their destination may be what is burning already."""

from __future__ import annotations

from random import Random

FEW_REQUESTS = 4 << 20  # bytes of source: four full requests, were nothing saved by compression
LONGEST = 3.0  # seconds
SHARE = 10  # of the remaining time, at most one part in so many


def start_delay(backlog: int, remaining: float, random: Random) -> float:
    """Seconds by which the waits of our own choice go on when a drain of ``backlog`` bytes begins; ``remaining`` may be inf.

    What is nearly empty goes at once: a few requests hurt nobody, and the host is free that much earlier. Meanwhile sending
    goes on as it did before, so an outage's retries stay spread, and a busy host loses no time.
    """
    if backlog <= FEW_REQUESTS:
        return 0.0
    return random.uniform(0.0, min(LONGEST, remaining / SHARE))
