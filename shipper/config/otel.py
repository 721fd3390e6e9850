"""The OpenTelemetry exporter variables, for a host that was set up for OpenTelemetry and for nothing else.

They fill what nobody said otherwise: the OTLP destination made from the environment, or one of the file that has no
endpoint. A signal whose own variables ask for something else gets a destination of its own, so that each goes where and how
it was told to. Credentials (headers, client keys) go only to the endpoint they were set with; an API key meant for a vendor
must not be sent to a gateway that ``SHIPPER_OTLP_ENDPOINT`` names.

Specification: OpenTelemetry, "OpenTelemetry Protocol Exporter".
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
_ENDPOINTS = ("endpoint", "endpoints", *(f"{signal}_endpoint" for signal in SIGNALS))
_COMPRESSIONS = ("gzip", "zstd", "none")
_PROTOCOLS = ("http/protobuf", "http/json", "grpc")
_GRPC_PORT = ":4317"  # registered for OTLP over gRPC

Given = Mapping[str, str]
"""The variables that are set, by the name behind the prefix."""


def apply_otel(layers: Layers, env: Mapping[str, str], warnings: list[str]) -> None:
    """Fill in from ``OTEL_EXPORTER_OTLP_*`` what neither flags nor ``SHIPPER_`` variables nor the file set."""
    given = {
        name.removeprefix(PREFIX): value.strip()
        for name, value in env.items()
        if name.startswith(PREFIX) and value.strip()
    }
    path = otlp_destination(layers)
    options = layers.get(path)
    if not given or (layers.get(("destinations",)) and not (isinstance(options, dict) and is_otlp(options))):
        return
    told = next((name for name in _ENDPOINTS if isinstance(options, dict) and options.get(name)), "")
    if not told:
        _put_destinations(layers, path, given, warnings)
    elif layers.origin((*path, told)).kind != "file":  # a destination the file describes is described by the file
        _fill_elsewhere(layers, path, given, warnings)


def _put_destinations(layers: Layers, path: Path, given: Given, warnings: list[str]) -> None:
    """Make the destination, or complete it, and one more for each signal that is told to go another way."""
    signals = [signal for signal in SIGNALS if "ENDPOINT" in given or f"{signal.upper()}_ENDPOINT" in given]
    if not signals:
        return
    ways = {signal: _way(signal, given) for signal in signals}
    main = ways[signals[0]]  # that of logs, which are what a sidecar ships first, if they are told where to go
    together = [signal for signal in signals if _said(ways[signal], given) == _said(main, given)]
    known = dict(layers.get(path) or {})
    whole = len(together) == len(SIGNALS)
    _put_endpoints(layers, path, together, given, whole=whole)
    _put_options(layers, path, main, given, warnings)
    for signal in signals:
        if signal not in together:
            own = (*path[:-1], f"{path[-1]}-{signal}")
            for option, value in known.items():
                layers.put((*own, option), value, layers.origin((*path, option)))
            _put_endpoints(layers, own, [signal], given, whole=False)
            _put_options(layers, own, ways[signal], given, warnings)


def _way(signal: str, given: Given) -> dict[str, str]:
    """By suffix, the variable that counts for a signal: its own if it is set, else the general one; protocols by value."""
    found = {}
    for suffix in (*_OPTIONS, *_CREDENTIALS):
        own = f"{signal.upper()}_{suffix}"
        name = own if own in given else suffix
        if name in given:
            found[suffix] = name
    found["PROTOCOL"] = _protocol(signal, given)
    return found


def _said(way: Mapping[str, str], given: Given) -> dict[str, str]:
    """What the variables of a way say, whichever they are."""
    return {suffix: given.get(name, name) for suffix, name in way.items()}


def _protocol(signal: str, given: Given) -> str:
    """What is spoken to a signal's endpoint; empty: nothing was said that is understood."""
    told = given.get(f"{signal.upper()}_PROTOCOL") or given.get("PROTOCOL", "")
    if not told and _endpoint(signal, given).rstrip("/").endswith(_GRPC_PORT):
        return "grpc"
    return told if told in _PROTOCOLS else ""


def _endpoint(signal: str, given: Given) -> str:
    return given.get(f"{signal.upper()}_ENDPOINT") or given.get("ENDPOINT", "")


def _put_endpoints(layers: Layers, path: Path, signals: list[str], given: Given, *, whole: bool) -> None:
    """The endpoints of these signals; ``whole``: they are all there are, so that the general one may stand for them."""
    if whole and "ENDPOINT" in given:
        layers.put((*path, "endpoint"), FromText(_url("logs", "ENDPOINT", given)), Origin("env", f"{PREFIX}ENDPOINT"))
    for signal in signals:
        own = f"{signal.upper()}_ENDPOINT"
        if own in given:
            url = _url(signal, own, given)
        elif not whole:
            own, url = "ENDPOINT", _url(signal, "ENDPOINT", given)
            if _protocol(signal, given) != "grpc":
                url = f"{url.rstrip('/')}/v1/{signal}"
        else:
            continue
        layers.put((*path, f"{signal}_endpoint"), FromText(url), Origin("env", PREFIX + own))


def _url(signal: str, name: str, given: Given) -> str:
    """The URL in a variable; gRPC's may be without a scheme, and it is INSECURE then that says whether TLS is spoken."""
    text = given[name]
    if "://" in text or _protocol(signal, given) != "grpc":
        return text
    insecure = given.get(f"{signal.upper()}_INSECURE") or given.get("INSECURE", "")
    return f"{'http' if insecure.lower() == 'true' else 'https'}://{text}"


def _put_options(layers: Layers, path: Path, way: Mapping[str, str], given: Given, warnings: list[str]) -> None:
    for suffix, option in (*_OPTIONS.items(), *_CREDENTIALS.items()):
        if suffix in way:
            _put(layers, path, option, way[suffix], given, warnings)
    name = next((n for n in ("PROTOCOL", *(f"{s.upper()}_PROTOCOL" for s in SIGNALS)) if n in given), "PROTOCOL")
    if way["PROTOCOL"] and layers.get((*path, "protocol")) is None:
        if way["PROTOCOL"] != "http/protobuf":
            layers.put((*path, "protocol"), way["PROTOCOL"], Origin("env", PREFIX + name))
    elif name in given and given[name] not in _PROTOCOLS:
        warnings.append(f"{PREFIX}{name}={given[name]}: Shipper knows {', '.join(_PROTOCOLS)}; it sends http/protobuf")


def _fill_elsewhere(layers: Layers, path: Path, given: Given, warnings: list[str]) -> None:
    """Complete a destination whose endpoint is not OpenTelemetry's; how that is spoken to says nothing about this one."""
    options = layers.get(path)
    for suffix, option in _OPTIONS.items():
        # logs' own variable stands for all signals when the general one is missing
        name = next((n for n in (suffix, f"LOGS_{suffix}") if n in given), "")
        for signal in ("TRACES", "METRICS"):
            other = f"{signal}_{suffix}"
            if other in given and given[other] != given.get(name):
                warnings.append(f"{PREFIX}{other} is not used: a destination has one {option} for all signals")
        if name:
            _put(layers, path, option, name, given, warnings)
    for suffix, option in _CREDENTIALS.items():
        if suffix in given and option not in options:
            warnings.append(
                f"{PREFIX}{suffix} was set for OTEL_EXPORTER_OTLP_ENDPOINT and is not sent elsewhere; "
                f"set SHIPPER_OTLP_{option.upper()} if it is meant for this endpoint too"
            )
    if not options.get("protocol") and str(options.get("endpoint") or "").rstrip("/").endswith(_GRPC_PORT):
        warnings.append(
            f"{options['endpoint']}: port 4317 usually speaks gRPC; set SHIPPER_OTLP_PROTOCOL=grpc if it does, "
            "http/protobuf is usually spoken on port 4318"
        )


def _put(layers: Layers, path: Path, option: str, name: str, given: Given, warnings: list[str]) -> None:
    if layers.get((*path, option)) is None:
        value = _value(option, PREFIX + name, given[name], warnings)
        if value is not None:
            layers.put((*path, option), value, Origin("env", PREFIX + name))


def _value(option: str, name: str, text: str, warnings: list[str]) -> Any:
    """A variable's text as the exporter's option; None, and a warning, for what Shipper cannot do."""
    if option == "timeout":
        return FromText(_milliseconds(name, text, warnings))
    if option == "headers":
        headers, bad = parse_pairs(text)
        warnings += [f"{name}: entry {number} is not key=value, ignored" for number in bad]  # its text may be a secret
        return headers
    if option == "compression" and text not in _COMPRESSIONS:
        warnings.append(f"{name}={text}: Shipper compresses with gzip, zstd or not at all; gzip is used")
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
