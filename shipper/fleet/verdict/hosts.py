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
    requests: dict[Cell, int] = {}
    bads: dict[Cell, int] = {}
    own: list[Count] = []
    for host in serving:
        served = failed = 0
        for cell, (total, bad) in host.counts.items():
            requests[cell] = requests.get(cell, 0) + total
            served += total
            if bad:
                bads[cell] = bads.get(cell, 0) + bad
                failed += bad
        own.append(Count(served, failed))
    whole = added(iter(own))
    if whole.bad < MIN_ERRORS or not any(far(count, whole) for count in own):
        return None
    expected = _expected(serving, {cell: bad / requests[cell] for cell, bad in bads.items()})
    worst = max(range(len(serving)), key=lambda index: own[index].bad - expected[index])
    count = own[worst]
    if not far(count, whole) or _at_least(count.bad, whole.bad, expected[worst] / whole.bad) * len(serving) > ALPHA:
        return None
    return OddHost(serving[worst].name, group.generation, count.total, count.bad, count.bad / whole.bad)


def without(group: Group, odd: OddHost | None) -> Group:
    """The others."""
    if odd is None:
        return group
    return Group(group.generation, tuple(host for host in group.hosts if host.name != odd.name), group.left_out)


def far(own: Count, whole: Count) -> bool:
    """Whether a host fails so many times as often as the others do that it would be worth naming."""
    rest = Count(whole.total - own.total, whole.bad - own.bad)
    return own.total > 0 and rest.total > 0 and own.ratio >= MIN_FACTOR * rest.ratio


def _expected(hosts: Sequence[Host], ratios: dict[Cell, float]) -> list[float]:
    """What each host would have had, had all been alike."""
    return [
        sum(host.counts[cell][0] * ratio for cell, ratio in ratios.items() if cell in host.counts) for host in hosts
    ]


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
