"""What the verdict's questions call things in Prometheus, taken from the one list of names that boards and rules have.

A module of its own, as the verdict's room and the boards' stand side by side, and the command needs only the base install.
"""

from __future__ import annotations

from shipper.dashboards import names
from shipper.fleet.verdict.queries import Series

SERIES = Series(
    requests=names.REQUESTS,
    durations=names.REQUEST_DURATION,
    generation_started=names.GENERATION_STARTED,
    started=names.STARTED,
    age=names.AGE,
    hosts=names.HOSTS_COUNT,
    requests_first=names.REQUESTS_FIRST,
    errors_first=names.ERRORS_FIRST,
    slow_first=names.SLOW_FIRST,
    newest=names.NEWEST,
)
