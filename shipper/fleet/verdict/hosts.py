"""One bad host or a bad generation: the host whose errors the traffic it had does not explain.

Judged within its own generation and in the same minutes, so neither a burst nor a busy host looks like a bad one. It is left
out of what is said of the generation, and named; what it had is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from shipper.fleet.verdict.model import Cell, Count, Group, Host, OddHost, added

ALPHA = 0.01
"""How often a generation of hosts that are all alike may have one that is called odd."""
MIN_HOSTS = 3
"""Of two, nobody can say which is the odd one."""
MIN_ERRORS = 5
MIN_FACTOR = 2.0
"""An odd host fails at least so many times as often as the others."""


def odd_host(group: Group) -> OddHost | None:
    """The host with the most errors over what its traffic explains, where that is more than chance."""
    serving = [host for host in group.hosts if host.counts]
    if len(serving) < MIN_HOSTS:
        return None
    bads: dict[Cell, int] = {}
    for host in serving:
        for cell, (_, bad) in host.counts.items():
            if bad:
                bads[cell] = bads.get(cell, 0) + bad
    if sum(bads.values()) < MIN_ERRORS:
        return None
    requests = {cell: sum(host.counts[cell][0] for host in serving if cell in host.counts) for cell in bads}
    ratios = {cell: bad / requests[cell] for cell, bad in bads.items()}
    total = added(count for host in serving for count in host.counts.values())
    own, expected, host = _worst(serving, ratios)
    rest = Count(total.total - own.total, total.bad - own.bad)
    if not own.total or not rest.total or own.ratio < MIN_FACTOR * rest.ratio:
        return None
    if _at_least(own.bad, total.bad, expected / total.bad) * len(serving) > ALPHA:
        return None
    return OddHost(host.name, group.generation, own.total, own.bad, own.bad / total.bad)


def without(group: Group, odd: OddHost | None) -> Group:
    """The others."""
    if odd is None:
        return group
    return Group(group.generation, tuple(host for host in group.hosts if host.name != odd.name), group.left_out)


def _worst(hosts: Sequence[Host], ratios: dict[Cell, float]) -> tuple[Count, float, Host]:
    """The host furthest over what it would have had, had all been alike; with its count and that number."""
    found: tuple[Count, float, Host] | None = None
    for host in hosts:
        own = added(iter(host.counts.values()))
        expected = sum(count[0] * ratios[cell] for cell, count in host.counts.items() if cell in ratios)
        if found is None or own.bad - expected > found[0].bad - found[1]:
            found = (own, expected, host)
    assert found is not None
    return found


def _at_least(bad: int, of: int, share: float) -> float:
    """An upper bound of the probability that a binomial is as large (Chernoff)."""
    part = bad / of
    if part <= share:
        return 1.0
    if share <= 0:
        return 0.0
    distance = part * math.log(part / share)
    if part < 1:
        distance += (1 - part) * math.log((1 - part) / (1 - share))
    return math.exp(-of * distance)
