"""Hosts in queries: what is asked of each of them, and in which states they can be."""

from shipper.dashboards import names
from shipper.dashboards.boards.common import Words
from shipper.dashboards.duration import duration
from shipper.dashboards.kit import looks

ROWS = 100  # of a table of hosts
STATES = {
    "1": ("running", looks.GOOD),
    "2": ("noticed: its end is announced", looks.WARNING),
    "3": ("draining", looks.NEW),
    "4": ("drained", looks.OLD),
    "5": ("expired: its time was too short", looks.BAD),
}


class Hosts(Words):
    """Queries over the hosts of the chosen generation, a series a host."""

    @property
    def instance(self) -> str:
        """The label that tells hosts apart."""
        return self.config.labels.instance

    def by_host(self, metric: str, *matchers: str) -> str:
        """The metric of every host that is there now: one that fell silent is gone after three pushes."""
        chosen_ones = self.here(metric, self.one, *matchers)
        present = f"present_over_time({chosen_ones}[{duration(self.config.windows.present)}])"
        return f"max by ({self.instance}) ({chosen_ones} and {present})"

    def known(self, metric: str) -> str:
        """The metric's last value of every host that was there at some time shown."""
        return f"max by ({self.instance}) (last_over_time({self.here(metric, self.one)}[$__range]))"

    def born(self) -> str:
        """When each host that was there was born."""
        return self.known(names.HOST_STARTED)

    def heard(self) -> str:
        """When each was last heard of, to the push; a life too short for that to be seen ended when it was born."""
        stamps = f"timestamp({self.here(names.HOST_INFO, self.one)})"
        seen = f"max_over_time({stamps}[$__range:{duration(self.config.intervals.push)}])"
        return f"(max by ({self.instance}) ({seen}) or {self.born()})"

    def ended(self) -> str:
        """When those that are gone were born; the youngest where they are many."""
        return f"topk({ROWS}, {self.born()} unless on({self.instance}) {self.by_host(names.HOST_INFO)})"

    @property
    def this(self) -> str:
        """The matcher of the chosen host."""
        return f'{self.instance}="$instance"'
