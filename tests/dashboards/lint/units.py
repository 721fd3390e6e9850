"""The unit ids Grafana knows, as the pinned SDK lists them, and the forms a user may make up."""

from functools import cache

from grafana_foundation_sdk.models import units

_FREE = ("suffix:", "prefix:", "time:", "si:", "count:", "currency:")


@cache
def _known() -> frozenset[str]:
    return frozenset(value for value in vars(units).values() if isinstance(value, str))


def is_unit(unit: str) -> bool:
    """Whether Grafana shows numbers with this unit as something other than bare numbers of its own choice."""
    return unit in _known() or unit.startswith(_FREE)
