"""The OpenTelemetry exporter variables, for a host that was set up for OpenTelemetry and for nothing else.

They fill what nobody said otherwise: the OTLP destination made from the environment, or one of the file that has no
endpoint. Credentials (headers, client keys) go only to the endpoint they were set with; an API key meant for a vendor
must not be sent to a gateway that ``SHIPPER_OTLP_ENDPOINT`` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from shipper.config.convert import FromText, Path
from shipper.config.env import is_otlp, otlp_destination
from shipper.config.layers import Layers, Origin

PREFIX = "OTEL_EXPORTER_OTLP_"
SIGNALS = ("logs", "traces", "metrics")
# suffix of the variable -> option of the otlp exporter
_OPTIONS = {"TIMEOUT": "timeout", "COMPRESSION": "compression", "CERTIFICATE": "ca_file"}
_CREDENTIALS = {"HEADERS": "headers", "CLIENT_CERTIFICATE": "cert_file", "CLIENT_KEY": "key_file"}
_COMPRESSIONS = ("gzip", "none")
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
                f"{PREFIX}{suffix} was set for OTEL_EXPORTER_OTLP_ENDPOINT and is not sent elsewhere; "
                f"set SHIPPER_OTLP_{option.upper()} if it is meant for this endpoint too"
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
    # logs are what a sidecar ships first, so their own variable stands for all signals when the general one is missing
    name = next((n for n in (PREFIX + suffix, f"{PREFIX}LOGS_{suffix}") if n in given), "")
    for signal in ("TRACES", "METRICS"):
        other = f"{PREFIX}{signal}_{suffix}"
        if other in given and given[other] != given.get(name):
            warnings.append(f"{other} is not used: a destination has one {option} for all signals")
    if not name or layers.get((*path, option)) is not None:
        return
    value = _value(option, name, given[name].strip(), warnings)
    if value is not None:
        layers.put((*path, option), value, Origin("env", name))


def _value(option: str, name: str, text: str, warnings: list[str]) -> Any:
    """A variable's text as the exporter's option; None, and a warning, for what Shipper cannot do."""
    if option == "timeout":
        return FromText(_milliseconds(name, text, warnings))
    if option == "headers":
        headers, bad = parse_pairs(text)
        warnings += [f"{name}: entry {number} is not key=value, ignored" for number in bad]  # its text may be a secret
        return headers
    if option == "compression" and text not in _COMPRESSIONS:
        warnings.append(f"{name}={text}: Shipper compresses with gzip or not at all; gzip is used")
        return None
    return FromText(text)


def parse_pairs(text: str) -> tuple[dict[str, str], list[int]]:
    """``key=value,...`` with percent-encoded values, and the numbers (from 1) of the entries that are not like that."""
    pairs: dict[str, str] = {}
    bad: list[int] = []
    for number, entry in enumerate((part.strip() for part in text.split(",")), start=1):
        key, equals, value = entry.partition("=")
        if equals and key.strip():
            pairs[key.strip()] = unquote(value.strip())
        elif entry:
            bad.append(number)
    return pairs, bad


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
