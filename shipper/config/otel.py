"""The OpenTelemetry exporter variables, for a host that was set up for OpenTelemetry and for nothing else.

They fill what nobody said otherwise: the OTLP destination made from the environment, or one of the file that has no
endpoint. Credentials (headers, client keys) go only to the endpoint they were set with; an API key meant for a vendor
must not be sent to a gateway that ``SHIPPER_OTLP_ENDPOINT`` names.
"""

from __future__ import annotations

from collections.abc import Mapping

from shipper.config.convert import FromText, Path
from shipper.config.env import is_otlp, otlp_destination
from shipper.config.layers import Layers, Origin

PREFIX = "OTEL_EXPORTER_OTLP_"
SIGNALS = ("logs", "traces", "metrics")
# suffix of the variable -> option of the otlp exporter
_OPTIONS = {"TIMEOUT": "timeout", "COMPRESSION": "compression", "CERTIFICATE": "certificate"}
_CREDENTIALS = {"HEADERS": "headers", "CLIENT_CERTIFICATE": "client_certificate", "CLIENT_KEY": "client_key"}
_GRPC_PORT = ":4317"


def apply_otel(layers: Layers, env: Mapping[str, str], warnings: list[str]) -> None:
    """Fill in from ``OTEL_EXPORTER_OTLP_*`` what neither flags nor ``SHIPPER_`` variables nor the file set."""
    given = {name: value for name, value in env.items() if name.startswith(PREFIX) and value.strip()}
    path = otlp_destination(layers)
    options = layers.get(path)
    if not given or (layers.get(("destinations",)) and not (isinstance(options, dict) and is_otlp(options))):
        return
    elsewhere = isinstance(options, dict) and bool(options.get("endpoint"))
    if elsewhere and layers.origin((*path, "endpoint")).kind == "file":
        return  # a destination the file describes is described by the file
    if not elsewhere and not _put_endpoints(layers, path, given):
        return
    for suffix, option in _OPTIONS.items():
        _fill(layers, path, option, given, suffix, warnings)
    for suffix, option in _CREDENTIALS.items():
        if not elsewhere:
            _fill(layers, path, option, given, suffix, warnings)
        elif PREFIX + suffix in given and option not in (options or {}):
            warnings.append(
                f"{PREFIX}{suffix} was set for another endpoint and is not used for SHIPPER_OTLP_ENDPOINT; "
                f"set SHIPPER_OTLP_{suffix} if it is meant for both"
            )
    _warn_protocol(layers, path, given, warnings)


def _put_endpoints(layers: Layers, path: Path, given: Mapping[str, str]) -> bool:
    """The general endpoint and those of single signals; False when there is none."""
    found = False
    for suffix, option in (("ENDPOINT", "endpoint"), *((f"{s.upper()}_ENDPOINT", f"{s}_endpoint") for s in SIGNALS)):
        name = PREFIX + suffix
        if name in given:
            layers.put((*path, option), FromText(given[name].strip()), Origin("env", name))
            found = True
    return found


def _fill(layers: Layers, path: Path, option: str, given: Mapping[str, str], suffix: str, warnings: list[str]) -> None:
    # the variable of the logs signal stands for all when the general one is missing: logs are what a sidecar ships first
    name = next((n for n in (PREFIX + suffix, f"{PREFIX}LOGS_{suffix}") if n in given), "")
    if not name or layers.get((*path, option)) is not None:
        return
    value = given[name].strip()
    if option == "timeout":
        value = _milliseconds(name, value, warnings)
    layers.put((*path, option), FromText(value), Origin("env", name))


def _milliseconds(name: str, value: str, warnings: list[str]) -> str:
    """The specification counts in milliseconds, Python's SDK in seconds: below 100 only seconds make sense."""
    if not value.isdecimal():
        return value
    if int(value) < 100:
        warnings.append(f"{name}={value} is taken as seconds, as Python's SDK does; 100 and more are milliseconds")
        return f"{value}s"
    return f"{value}ms"


def _warn_protocol(layers: Layers, path: Path, given: Mapping[str, str], warnings: list[str]) -> None:
    protocol = given.get(f"{PREFIX}PROTOCOL", "").strip()
    if protocol not in ("", "http/protobuf"):
        warnings.append(f"{PREFIX}PROTOCOL={protocol}: Shipper sends http/protobuf")
    endpoint = str(layers.get((*path, "endpoint")) or "")
    if endpoint.rstrip("/").endswith(_GRPC_PORT):
        warnings.append(f"{endpoint}: port 4317 usually speaks gRPC; Shipper sends http/protobuf, usually on port 4318")
