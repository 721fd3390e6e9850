"""Deploys in queries: what the deploy keeper keeps alive, a series a fact, its value the time it happened."""

from shipper.dashboards.boards.common import Words

SHOWN = 20


class Deploys(Words):
    """Queries over what the deploy keeper keeps alive: a series a fact, its value the time it happened."""

    @property
    def key(self) -> str:
        """What tells deploys of a service apart."""
        return f"{self.config.labels.generation}, {self.config.labels.release}"

    def told(self, metric: str, *matchers: str, by: str = "") -> str:
        """When it happened, of each deploy that is kept."""
        return f"max by ({by or self.key}) ({self.here(metric, *matchers)})"

    def within(self, happened: str) -> str:
        """Those that happened in the time shown."""
        return f"{happened} > (time() - $__range_s)"
