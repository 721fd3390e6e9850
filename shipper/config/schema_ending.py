"""A host's end: who says that it comes, and what is done then."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shipper.config.section import Section
from shipper.config.units import Seconds, Word


class Drain(Section, frozen=True):
    """What happens on SIGTERM, SIGINT, `shipper drain`, or a notice."""

    deadline: Annotated[
        Seconds,
        Meta(description="Time a drain may take after a stop signal; 0: what the platform usually gives.", ge=0),
    ] = 0.0
    quiet: Annotated[
        Seconds, Meta(description="Silence that counts as the end, once no writer is left as far as that can be told.")
    ] = 0.25
    reserve: Annotated[Seconds, Meta(description="Time kept before the deadline for the farewell.")] = 1.0
    ephemeral: Annotated[
        Literal["auto", "true", "false"],
        Meta(description="Whether a SIGTERM ends the life of the host (true), or only this run (false)."),
    ] = "auto"
    fallback: Annotated[
        str,
        Meta(description="A destination that is used only in a drain whose other destinations fail or are too slow."),
    ] = ""
    services_grace: Annotated[
        Seconds,
        Meta(
            description="How long a hold waits, with nothing left to send, for services that are still writing.", ge=0
        ),
    ] = 30.0
    wait_for: Annotated[
        list[Word],
        Meta(
            description="Whose end a drain waits for: unit:NAME, cgroup:PATH, pid:NUMBER, pidfile:PATH, container:ID."
        ),
    ] = msgspec.field(default_factory=list)


class Notices(Section, frozen=True):
    """Word that the host will die (docs/notices.md)."""

    watch: Annotated[
        list[Word], Meta(description="Platforms to listen to by name; auto: those that this host seems to run on.")
    ] = msgspec.field(default_factory=lambda: ["auto"])
    endpoints: Annotated[
        dict[str, str],
        Meta(description="Where metadata services are, by name (aws, gce, azure, ...), if not where usual."),
    ] = msgspec.field(default_factory=dict)
    budgets: Annotated[
        dict[str, Seconds], Meta(description="Time assumed where a platform states none, by name of the budget.")
    ] = msgspec.field(default_factory=dict)
    lead: Annotated[
        Seconds, Meta(description="How long before its time a scheduled notice begins a drain, at least.", ge=1)
    ] = 120.0
    touch_file: Annotated[
        str, Meta(description="A drain begins when this file appears, and is taken back when it goes; empty: off.")
    ] = ""
    asg_hooks: Annotated[
        list[Word],
        Meta(
            description="Auto Scaling terminate hooks to complete when empty; none: the only one, or one named *shipper*."
        ),
    ] = msgspec.field(default_factory=list)
    hold: Annotated[
        bool, Meta(description="Keep platforms waiting that let themselves, while there is something to save.")
    ] = True
