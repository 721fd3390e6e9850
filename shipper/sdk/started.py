"""What `shipper.init` set up in this process: who it is, what was asked for, and the way that records take."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from shipper import __version__
from shipper.sdk.identity import Identities
from shipper.sdk.resource import ResourceOf
from shipper.sdk.settings import Settings
from shipper.sdk.ways.handoff_choice import Choice
from shipper.sdk.who import Self

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_ARGV_CHARACTERS = 200


class Way(Protocol):
    """One way for records to leave the process."""

    def install(self) -> None:
        """Put its processors on the providers."""

    def handler(self) -> logging.Handler:
        """A handler for `logging` that sends records this way."""

    def shutdown(self, timeout: float) -> None:
        """Flush what is queued, for at most ``timeout`` seconds, and stop. May be called again."""


@dataclass(slots=True)
class Started:
    """What runs in this process, and in its forked children, since ``init``.

    ``in_code``: the service called it, as opposed to auto-instrumentation.
    """

    settings: Settings
    whoami: Self
    resource_of: ResourceOf
    choice: Choice
    identities: Identities
    in_code: bool = False
    way: Way | None = None

    @property
    def service(self) -> str:
        """The service's name; never empty."""
        return self.identities().service

    def attributes(self) -> dict[str, Any]:
        """All resource attributes of the calling process, as far as they are known in it."""
        return dict(self.identities().attributes)

    def resource(self) -> Resource:
        """The resource of a provider that we make."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.version import __version__ as sdk_version

        who = self.whoami()
        # what a spool's sidecar knows it adds itself; what its card says here may be left from the host's last life
        own = {**who.guessed, **who.stated} if self.choice.kind == "spool" else self.attributes()
        everything = own | {
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": sdk_version,
        }
        if not os.environ.get("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"):
            return Resource(everything)  # what `Resource.create` would add is in it, but for a random instance id
        rest = {key: value for key, value in everything.items() if key not in who.stated}
        return Resource(rest).merge(Resource.create(dict(who.stated)))

    def hello(self) -> dict[str, Any]:
        """What a segment says about the process that wrote it (`shipper.handoff.hello`)."""
        who = self.whoami()
        return {
            "boot": who.process.boot_id,
            "pid": who.process.pid,
            "start_ticks": who.process.start_ticks,
            "pid_ns": who.process.pid_namespace,
            "container": who.process.container_id,
            "instance": who.instance,
            "service": who.service,
            "sdk": __version__,
            "argv": [argument[:_ARGV_CHARACTERS] for argument in sys.argv[:2]],
        }
