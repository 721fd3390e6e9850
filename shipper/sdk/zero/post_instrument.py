"""The post-instrument hook of OpenTelemetry's auto-instrumentation: called for every program, whichever distro it runs with.

It therefore does nothing unless somebody meant it: by a variable of ours, or by running a sidecar on the host without naming
another destination. It loads nothing before it knows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_OURS = ("SHIPPER_HANDOFF", "SHIPPER_SPOOL_DIR")
_FILES = ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")


def after_instrumentation() -> None:
    """Put the hand-off on the providers that are there, once. Never raises."""
    try:
        if meant(os.environ):
            from shipper.sdk.start import init, started

            if started() is None:
                init({"instrument": False}, in_code=False)
    except Exception as error:
        from shipper.sdk import voice

        voice.fault("the post-instrument hook", error)


def meant(env: Mapping[str, str]) -> bool:
    """Whether this program's records are meant to be handed over."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if any(env.get(name, "").strip() for name in _OURS):
        return env.get("SHIPPER_HANDOFF", "").strip().lower() != "off"
    if any(env.get(name, "").strip() for name in _FILES):
        return False  # a file says where records go
    from shipper.handoff.places import find_root
    from shipper.sdk.ways.handoff_choice import otlp_endpoint

    return not otlp_endpoint(env) and find_root(env).usable
