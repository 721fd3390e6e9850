"""OpenTelemetry's limits for log records, where its SDK is not there to apply them: on the log bridge.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#logrecord-limits
"""

from __future__ import annotations

from collections.abc import Mapping

DEFAULT_COUNT = 128


def count_limit(env: Mapping[str, str]) -> int | None:
    """How many attributes a record may have; None: any number. What is no number counts as not set."""
    return _limit(env, "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT", DEFAULT_COUNT)


def length_limit(env: Mapping[str, str]) -> int | None:
    """How many characters the text of an attribute may have; None: as many as Shipper takes."""
    return _limit(env, "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", None)


def _limit(env: Mapping[str, str], own: str, general: str, default: int | None) -> int | None:
    for name in (own, general):
        given = env.get(name)
        if given is None:
            continue
        if not given.strip():
            return None  # set to nothing means no limit, to OpenTelemetry's SDK
        if given.strip().isascii() and given.strip().isdecimal():
            return int(given)
    return default
