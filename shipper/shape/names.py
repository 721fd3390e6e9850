"""Which field says what, by the names that logging libraries use.

``traceId``, ``trace_id``, ``trace.id`` and ``TraceId`` are one name: names are compared in lower case without ``_``, ``.``
and ``-``. A name stands in the order of preference, should a record have several.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["time", "severity", "trace", "span", "flags", "parent", "message"]

_NAMES: Mapping[Role, str] = {
    "time": "@timestamp timestamp time ts datetime eventtime asctime logtime @t t$date timeunixnano date",
    "severity": "level severity severitytext loglevel levelname lvl @l severitynumber levelno syslogseverity priority",
    "trace": "traceid oteltraceid contexttraceid logginggoogleapiscom/trace ddtraceid",
    "span": "spanid otelspanid contextspanid logginggoogleapiscom/spanid",
    "flags": "traceflags contexttraceflags oteltracesampled tracesampled logginggoogleapiscom/tracesampled",
    "parent": "traceparent",
    "message": "message msg @m shortmessage event @mt",
}
_BY_NAME: Mapping[str, tuple[Role, int]] = {
    name: (role, rank) for role, names in _NAMES.items() for rank, name in enumerate(names.split())
}
ROOTS = frozenset(("log", "trace", "span", "dd", "t", "context", "event", "severity", "syslog"))
"""Objects in which fields with a meaning lie (ECS: ``log.level``, ``trace.id``; MongoDB: ``t.$date``)."""

_LONGEST = 40  # characters of a name that means something

DOUBTFUL = frozenset(("date", "event", "priority"))
"""Names that often mean something else: it is no failure when they do not say what they could."""


@lru_cache(4096)
def _normal(name: str) -> str:
    return name.lower().replace("_", "").replace(".", "").replace("-", "")


def roles(names: Iterable[str]) -> dict[Role, list[str]]:
    """The names that mean something, by what they do, in the order of preference."""
    ranked: dict[Role, list[tuple[int, str]]] = {}
    for name in names:
        if len(name) <= _LONGEST and (meant := _BY_NAME.get(_normal(name))) is not None:
            ranked.setdefault(meant[0], []).append((meant[1], name))
    return {role: [name for _, name in sorted(found)] for role, found in ranked.items()}


def matters(fields: Collection[str] | None) -> Callable[[str], bool]:
    """Whether a top-level field is of any use, when ``fields`` are wanted besides those with a meaning (None: all are)."""
    if fields is None:
        return lambda name: True
    wanted = set(fields) | {name[:at] for name in fields for at in range(len(name)) if name[at] == "."}

    @lru_cache(4096)
    def of_use(name: str) -> bool:
        return name in wanted or name in ROOTS or bool(roles((name,)))

    return lambda name: of_use(name) if len(name) <= _LONGEST else name in wanted
