"""Every exporter that ships over the network, as it is by default, and those together that are fed alike."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper.clock import SystemClock
from shipper.contracts import ExporterContext, Limits, Signal
from shipper.pump.load import make_exporter

LIFE = "0190aaaa-0000-7000-8000-000000000001"
NOT_SENDING = {"file", "stdout", "prometheus-scrape"}  # the host's own disk and output, and one that is asked
SECRET = "0123456789abcdef0123456789abcdef\n"

KINDS: dict[str, Mapping[str, Any]] = {
    "archive": {"url": "s3://logs/fleet"},
    "datadog": {"token_file": "{secret}"},
    "elasticsearch": {"endpoint": "http://sink:9200"},
    "forward": {"endpoint": "sink:24224"},
    "kafka": {"endpoints": ["sink:9092"]},
    "logstash": {"endpoint": "sink:5044"},
    "loki": {"endpoint": "http://sink:3100"},
    "opensearch": {"endpoint": "http://sink:9200"},
    "otlp": {"endpoint": "http://sink:4318"},
    "prometheus": {"endpoint": "http://sink:9090/api/v1/write"},
    "pushgateway": {"endpoint": "http://sink:9091"},
    "splunk": {"endpoint": "http://sink:8088", "token_file": "{secret}"},
}
"""What has to be set; all else is as it is by default."""


@dataclass(frozen=True)
class Pace:
    """How often these kinds may send what is not full, and with what; ``limits`` are those of the one with the widest window."""

    kinds: tuple[str, ...]
    limits: Limits
    signal: Signal

    def __str__(self) -> str:
        return ", ".join(self.kinds)


def paces() -> list[Pace]:
    """All kinds in groups of the same pace; how large a request may get makes no difference to those that do not get full."""
    alike: dict[tuple[float, int, float, Signal], list[tuple[str, Limits]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as directory:
        secret = Path(directory) / "secret"
        secret.write_text(SECRET)
        for kind, options in KINDS.items():
            settings = {key: str(secret) if value == "{secret}" else value for key, value in options.items()}
            exporter = make_exporter(kind, "sink", settings, ExporterContext(SystemClock(), LIFE, 1, "bench"))
            limits = exporter.limits
            signal = Signal.LOGS if Signal.LOGS in exporter.signals else min(exporter.signals)
            alike[limits.requests_per_second, limits.burst, limits.linger, signal].append((kind, limits))
    return [
        Pace(
            tuple(kind for kind, _ in group),
            max((limits for _, limits in group), key=lambda one: one.max_in_flight),
            signal,
        )
        for (*_, signal), group in alike.items()
    ]
