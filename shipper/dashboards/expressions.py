"""The parts that queries are made of: what is known to be right for hosts that come and go, written once.

Every formulation here has a usual form that lies: a join with an info metric loses the dying host, a rate of a sum makes
traffic out of deaths, a ratio without ``or 0 *`` is empty for a healthy generation (docs/dashboards.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.selector import Selector, quoted

Over = Literal["rate", "increase", "first"]
"""How a counter is read: per second over a window, in it, or since birth."""


def edge(value: float) -> str:
    """A matcher for the bucket that ends at ``value``, whichever way the exposition spells the number."""
    text = f"{value:.12g}"
    pattern = re.escape(text).replace("\\", "\\\\")
    return f'le=~"{pattern}(\\\\.0)?"' if "." not in text else f'le="{text}"'


@dataclass(frozen=True)
class Expressions:
    """PromQL over the series of hosts, in the label names of one configuration."""

    config: BoardConfig

    @property
    def service(self) -> str:
        """``env, service``: what tells services apart."""
        return f"{self.config.labels.env}, {self.config.labels.service}"

    @property
    def generation(self) -> str:
        """``env, service, generation``: what tells generations apart."""
        return f"{self.service}, {self.config.labels.generation}"

    @property
    def host(self) -> str:
        """``env, service, generation, instance``: what tells hosts apart."""
        return f"{self.generation}, {self.config.labels.instance}"

    def heard(self, seconds: float, *, by: str = "") -> str:
        """One series a host that pushed anything in the last ``seconds``, also if it has ended since."""
        return f"count by ({by or self.host}) (present_over_time({names.HOST_INFO}[{duration(seconds)}]))"

    def alive(self, *, by: str = "") -> str:
        """One series a host that is there now: gone at once with its stale markers, after three pushes without them."""
        info = names.HOST_INFO
        present = duration(self.config.windows.present)
        return f"count by ({by or self.host}) ({info} and present_over_time({info}[{present}]))"

    def farewelled(self, seconds: float) -> str:
        """One series a host that said farewell in the last ``seconds``."""
        return f"sum by ({self.host}) (max_over_time({names.FAREWELLS}[{duration(seconds)}])) > 0"

    def silent(self, seconds: float) -> str:
        """One series a host that was heard in the last ``seconds`` and fell silent without a farewell."""
        return (
            f"{self.heard(seconds)}\n"
            f"unless on ({self.host}) {self.heard(self.config.windows.silent)}\n"
            f"unless on ({self.host}) ({self.farewelled(seconds)})"
        )

    def requests(self, over: Over, window: float, *, host: bool = False) -> str:
        """All requests by generation (or by ``host``)."""
        return self._summed(Selector.parse(self.config.requests.requests), over, window, host)

    def errors(self, over: Over, window: float, *, host: bool = False) -> str:
        """Failed requests by generation (or by ``host``); nothing where no series of errors is there: see `or_zero`."""
        return self._summed(Selector.parse(self.config.requests.errors), over, window, host)

    def or_zero(self, expr: str, requests: str) -> str:
        """0 where there were ``requests`` (recorded, so that they are not added up again) and ``expr`` has nothing."""
        return f"{expr}\nor on ({self.generation})\n0 * {requests}"

    def slow(self, over: Over, window: float) -> str:
        """Requests that took longer than the objective, by generation; only where ``requests.durations`` is given."""
        requests = self.config.requests
        histogram = Selector.parse(requests.durations)
        objective = requests.objective * (1000 if requests.unit == "milliseconds" else 1)
        counted = self._summed(histogram.with_(suffix="_count"), over, window)
        within = self._summed(histogram.with_(edge(objective), suffix="_bucket"), over, window)
        return f"clamp_min(\n{counted}\n-\n{within}, 0)"

    def _summed(self, selector: Selector, over: Over, window: float, host: bool = False) -> str:
        """The count of each series, summed, under our own label names."""
        inner = self._counted(selector, over, window)
        by = self.host if host else self.generation
        there = self._names(host)
        if all(name == own for own, name in there.items()):
            return f"sum by ({by}) ({inner})"
        expr = f"sum by ({', '.join(name for name in there.values() if not name.startswith('='))}) ({inner})"
        for own, name in there.items():
            if name.startswith("="):
                expr = f'label_replace({expr}, "{own}", {_replacement(name[1:])}, "", "")'
            elif name != own:
                expr = f'label_replace({expr}, "{own}", "$1", "{name}", "(.*)")'
        return f"sum by ({by}) ({expr})"

    def _counted(self, selector: Selector, over: Over, window: float) -> str:
        """What each series grew by, before anything is summed: the other order makes rates out of hosts that die.

        Steady counters begin at 0, so what they have now less what they had when the window began is the count, to the
        request, however short a life was. `increase` would raise each life's count to the ends of the window it did not see.
        """
        ranged = f"{selector}[{duration(window)}]"
        if not self.config.requests.steady:
            return f"{'increase' if over == 'first' else over}({ranged})"
        highest = f"max_over_time({ranged})"
        if over == "first":  # an older life of a key that came back is left out whole
            return f"{highest} unless {selector} offset {duration(window + self.config.windows.present)}"
        grown = f"(clamp_min({highest} - {selector} offset {duration(window)}, 0) or {highest})"
        return f"{grown} / {window:g}" if over == "rate" else grown

    def _names(self, host: bool) -> dict[str, str]:
        """Our label names, and what they are called on the request metrics."""
        labels, there = self.config.labels, self.config.requests.labels
        wanted = ("env", "service", "generation", "instance") if host else ("env", "service", "generation")
        return {getattr(labels, name): getattr(there, name) or getattr(labels, name) for name in wanted}

    def recent(self, name: str, seconds: float) -> str:
        """What was recorded under a name within the last ``seconds``, the newest value of each series."""
        return f"last_over_time({name}[{duration(seconds)}])"

    def verdict(self, *matchers: str) -> str:
        """The verdicts that are not too old to be one; a series that nobody writes any more lasts for minutes otherwise."""
        series = f"{names.VERDICT}{{{','.join(matchers)}}}" if matchers else names.VERDICT
        return f"({series} and time() - timestamp({series}) <= {self.config.windows.verdict:g})"

    def z(self, bad: str, total: str, role: str) -> str:
        """How many standard deviations ``role`` is worse than "old": pooled, the variance inflated by the design effect.

        ``bad`` and ``total`` are recorded by role. Both sides serve in the same minutes, so a burst hits both.
        """
        new_bad, old_bad = (f'{bad}{{role="{which}"}}' for which in (role, "old"))
        new, old = (f'({total}{{role="{which}"}} > 0)' for which in (role, "old"))
        same = "ignoring (role)"
        pooled = f"clamp(({new_bad} + {same} {old_bad}) / {same} ({new} + {same} {old}), 1e-9, 1 - 1e-9)"
        spread = f"{pooled} * (1 - {pooled}) * {same} (1 / {new} + {same} 1 / {old})"
        return (
            f"({new_bad} / {new} - {same} {old_bad} / {old})\n"
            f"/\nsqrt({self.config.thresholds.design_effect:g} * {spread})"
        )


def _replacement(value: str) -> str:
    return quoted(value.replace("$", "$$"))
