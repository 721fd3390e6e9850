"""All hosts of an environment in queries, whatever service they are of."""

from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration


class Fleet:
    """Queries over all hosts of the chosen environment, of every service: gateways with it, which are hosts, too."""

    def __init__(self, config: BoardConfig) -> None:
        self.config = config

    @property
    def host(self) -> str:
        """What tells hosts apart, and leads to them."""
        labels = self.config.labels
        return f"{labels.service}, {labels.generation}, {labels.instance}"

    def all(self, metric: str, *matchers: str) -> str:
        """The metric of every host of the environment."""
        inside = [f'{self.config.labels.env}="$env"', *matchers]
        return f"{metric}{{{','.join(inside)}}}"

    def alive(self, metric: str, *matchers: str) -> str:
        """The same of those that are there now: a host that fell silent is gone after three pushes."""
        chosen = self.all(metric, *matchers)
        return f"({chosen} and present_over_time({chosen}[{duration(self.config.windows.present)}]))"

    def grew(self, metric: str, over: str = "$__range") -> str:
        """By how much a counter grew, of hosts that ended meanwhile, too."""
        return f"increase({self.all(metric)}[{over}])"

    def rate(self, metric: str, by: str) -> str:
        """A second, by a label that takes few values."""
        return f"sum by ({by}) (rate({self.all(metric)}[$__rate_interval]))"
