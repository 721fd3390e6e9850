"""``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=shipper``: the full identity for those who keep their own exporters.

OpenTelemetry runs detectors while it imports its own modules, once for each provider, and again in each forked child. So this
file imports nothing of the SDK but its resources, and the answer is kept. It has no schema URL: two detectors with different
ones would cost the later one all of its attributes.
"""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource, ResourceDetector

from shipper.labels.identity import UNKNOWN_SERVICE
from shipper.sdk import voice
from shipper.sdk.identity import identity


class ShipperResourceDetector(ResourceDetector):
    """Finds what `shipper.identity` says. What the service states elsewhere wins, as OpenTelemetry merges resources."""

    def detect(self) -> Resource:
        """The resource; empty when something is wrong, which is said. Never raises unless told to."""
        try:
            attributes = dict(identity().attributes)
        except Exception as error:
            if self.raise_on_error:
                raise
            voice.fault("the resource detector", error)
            return Resource.get_empty()
        if attributes.get("service.name") == UNKNOWN_SERVICE:
            del attributes["service.name"]  # then OpenTelemetry's own default says more
        return Resource(attributes)

    def is_process_dependent(self) -> bool:
        """True: a forked child is another instance."""
        return True
