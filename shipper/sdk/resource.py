"""From OpenTelemetry's resource to what a RESOURCE frame declares: attributes somebody stated, and attributes found here.

A provider that was made by somebody else has a resource of its own. What its owner put there is stated; what stands in it
only because our detector (or the SDK's default) put it there stays a guess; and of the process it must speak the truth
also in a forked child, where OpenTelemetry makes a random instance id and other detectors' facts are their parent's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from shipper.otlp.encode import key_value
from shipper.otlp.wire import field
from shipper.sdk import voice
from shipper.sdk.who import INSTANCE, Who, from_environment

_UNKNOWN = "unknown_service"
_OF_A_PROCESS = ("process.pid", "process.parent_pid", "container.id")


class HasAttributes(Protocol):
    """An ``opentelemetry.sdk.resources.Resource``, or what looks like one."""

    @property
    def attributes(self) -> Mapping[str, Any]: ...


class ResourceOf:
    """``resource_of(resource) -> (stated, guessed)`` as `shipper.handoff.frame.pack_resource` takes them."""

    def __init__(self, who: Callable[[], Who]) -> None:
        self._who = who
        self._seen: dict[str, int] = {}  # instance id in a provider's resource -> pid of the process that had it first

    def saw(self, resource: HasAttributes) -> None:
        """A provider with this resource is used in this process: its instance id is not meant for forked children."""
        self._seen.setdefault(str(resource.attributes.get(INSTANCE, "")), os.getpid())

    def __call__(self, resource: HasAttributes | None) -> tuple[bytes, bytes]:
        """Two runs of encoded Resource.attributes for the calling process. Never raises for odd attributes."""
        stated, guessed = self.split(resource)
        return encode(stated), encode(guessed)

    def split(self, resource: HasAttributes | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """The attributes of a provider's resource and of this process, as (stated, guessed)."""
        who = self._who()
        stated: dict[str, Any] = dict(who.stated)
        guessed: dict[str, Any] = dict(who.guessed)
        for key, value in (resource.attributes if resource is not None else {}).items():
            if key == INSTANCE:
                if self._meant(str(value), who):
                    stated[key] = value
            elif key in _OF_A_PROCESS and key in stated:
                continue
            elif key == "service.name" and str(value).partition(":")[0] == _UNKNOWN:
                if key not in stated and guessed.get(key, _UNKNOWN) == _UNKNOWN:
                    guessed[key] = value
            elif _plain(value) != _plain(guessed.get(key)):
                stated[key] = value
                guessed.pop(key, None)
        return stated, guessed

    def _meant(self, instance: str, who: Who) -> bool:
        """Whether an instance id in a provider's resource was put there by its owner, for this very process."""
        if not instance or instance in (random_instance(), who.instance):
            return False
        if instance == from_environment(os.environ):  # `Who` knows for which process that was meant
            return False
        return self._seen.setdefault(instance, who.process.pid) == who.process.pid


def random_instance() -> str:
    """The instance id that OpenTelemetry's SDK made up for this process; empty where it makes none (before 1.45)."""
    from opentelemetry.sdk import resources

    detector = getattr(resources, "ServiceInstanceIdResourceDetector", None)
    return str(detector().detect().attributes.get(INSTANCE, "")) if detector is not None else ""


def _plain(value: Any) -> Any:
    """OpenTelemetry keeps sequences as tuples; we have lists."""
    return list(value) if isinstance(value, tuple | list) else value


def encode(attributes: Mapping[str, Any]) -> bytes:
    """Encoded Resource.attributes (field 1). What cannot be encoded is left out, and said."""
    fields = []
    for key, value in attributes.items():
        try:
            fields.append(field(1, key_value(str(key), value)))
        except (TypeError, ValueError) as error:
            voice.say(f"the resource attribute {key!r} is left out: {error}")
    return b"".join(fields)
