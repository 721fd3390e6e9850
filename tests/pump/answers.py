"""What a destination answers in these tests, what it is sent, and what is counted of it."""

from __future__ import annotations

from shipper.clock import Deadline
from shipper.contracts import Accepted, Prepared
from shipper.errors import Rejected
from shipper.ledger import Counts
from tests.pump.pumpkit import Host, lines_of


def counts(host: Host, stream: str = "a") -> Counts:
    """What the ledger says of a stream at the only destination."""
    return host.ledger.ledger.cursor("dest", stream).counts


def value(host: Host, name: str, **labels: str) -> float:
    """A metric's value, 0 when it never moved."""
    return host.metrics.registry.get_sample_value(name, labels) or 0.0


class Failing:
    """Raises the given errors one after the other, then takes everything."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if self.errors:
            raise self.errors.pop(0)
        return Accepted()


class Refusing:
    """Refuses requests that hold one of the given lines."""

    def __init__(self, *bad: bytes) -> None:
        self.bad = set(bad)

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if self.bad & set(lines_of(prepared)):
            raise Rejected("HTTP 400: I do not like one of these")
        return Accepted()


def numbered(count: int) -> bytes:
    """Lines ``line 0`` to ``line count-1``."""
    return b"".join(b"line %d\n" % n for n in range(count))
