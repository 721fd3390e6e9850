"""Where records go: to the spool of a sidecar, by OTLP, by the forward protocol, or nowhere until a spool appears.

``auto`` never guesses an address: a service without a sidecar and without a word about where to send must start and run
as if we were not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shipper.handoff.places import find_root, root_places
from shipper.sdk.settings import Settings

_OTLP = tuple(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in ("", "TRACES_", "LOGS_", "METRICS_"))


@dataclass(frozen=True, slots=True)
class Choice:
    """``kind`` is ``spool``, ``otlp``, ``forward`` or ``off``. With ``waiting`` the spool is not there (yet).

    ``places``: where it may come to be. ``root`` is the first of them.
    """

    kind: str
    why: str
    root: str
    waiting: bool = False
    places: tuple[str, ...] = ()


def otlp_endpoint(env: Mapping[str, str]) -> str:
    """The name of a variable that explicitly says where OTLP is to go, or empty."""
    return next((name for name in _OTLP if env.get(name, "").strip()), "")


def choose(settings: Settings, env: Mapping[str, str]) -> Choice:
    """The hand-off, and a sentence on why it is this one."""
    root = find_root(env)
    kind = settings.handoff
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Choice("off", "OTEL_SDK_DISABLED is set: nothing is recorded", root.path)
    if kind == "off":
        return Choice("off", "hand-off is off: nothing is recorded", root.path)
    if kind == "otlp":
        where = settings.endpoint or otlp_endpoint(env) or "the default local endpoint"
        return Choice("otlp", f"records are sent by OTLP to {where}, as asked for", root.path)
    if kind == "forward":
        return Choice(
            "forward", f"records are sent by the forward protocol to {settings.endpoint or 'localhost'}", root.path
        )
    if root.usable:
        return Choice("spool", f"records are handed to the sidecar through {root.path}", root.path)
    where = settings.endpoint or otlp_endpoint(env)
    if kind == "auto" and where:
        return Choice("otlp", f"{root.why_not}; records are sent by OTLP ({where})", root.path)
    return Choice(
        "spool",
        f"{root.why_not}; until that changes the latest records are kept in memory, and older ones discarded and counted. "
        "Start the sidecar (shipper run), set SHIPPER_SPOOL_DIR to where its spool is mounted, or say where to send "
        "(OTEL_EXPORTER_OTLP_ENDPOINT)",
        root.path,
        waiting=True,
        places=root_places(env),
    )
