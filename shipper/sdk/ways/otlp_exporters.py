"""OpenTelemetry's stock OTLP exporters, by the protocol that was asked for; imported only where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from shipper.sdk import voice

_HTTP, _GRPC = "http/protobuf", "grpc"
_MODULES = {_HTTP: "opentelemetry.exporter.otlp.proto.http", _GRPC: "opentelemetry.exporter.otlp.proto.grpc"}
_SIGNALS = {  # signal -> module and class, the same names in both packages
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
}


class Exporters:
    """Makes an exporter for each signal. ``endpoint``: a base URL given in code; the exporters read the variables."""

    def __init__(self, endpoint: str, env: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._env = env

    def spans(self) -> Any:
        """A SpanExporter."""
        return self._make("traces")

    def logs(self) -> Any:
        """A LogRecordExporter."""
        return self._make("logs")

    def metrics(self) -> Any:
        """A MetricExporter."""
        return self._make("metrics")

    def protocol(self, signal: str) -> str:
        """The protocol of a signal: its own variable, the common one, else HTTP, which needs no gRPC."""
        for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
            given = self._env.get(name, "").strip().lower()
            if given in _MODULES:
                return given
            if given:
                voice.say(f"{name}={given}: Shipper sends {_HTTP} or {_GRPC}; {_HTTP} is used")
                return _HTTP
        return _HTTP

    def _make(self, signal: str) -> Any:
        protocol = self.protocol(signal)
        module, name = _SIGNALS[signal]
        kind = getattr(import_module(f"{_MODULES[protocol]}.{module}"), name)
        if not self._endpoint:
            return kind()
        # a base URL, as OTEL_EXPORTER_OTLP_ENDPOINT is: the HTTP exporters take what they are given as the whole
        path = f"/v1/{signal}"
        whole = self._endpoint.rstrip("/")
        return kind(endpoint=whole if protocol == _GRPC or whole.endswith(path) else whole + path)
