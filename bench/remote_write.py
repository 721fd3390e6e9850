"""How fast numbers become remote writes: the numbers of a fleet as a gateway gets them, from OTLP to compressed requests.

CPU time, as a gateway has other things to do: the first push of a fleet, whose labels have to be worked out, and the later ones.
"""

from __future__ import annotations

import time

from bench.row import Row
from shipper.otlp import metrics
from shipper.otlp.encode import resource, scope
from shipper_exporters._prometheus.convert import Converter
from shipper_exporters._prometheus.remote_write import Version, cut

HOSTS = 500
GAUGES = 50  # with two counters and a histogram of five edges: 60 series a host
PUSHES = 5
INTERVAL_NS = 15_000_000_000
SAMPLES_PER_SEND = 2000


def push(host: int, time_ns: int, number: int) -> bytes:
    """What one host sends every 15 s."""
    attributes = {
        "service.name": "checkout",
        "service.version": "2026.11.23",
        "shipper.generation": "g42",
        "deployment.environment.name": "prod",
        "service.instance.id": f"i-{host:017x}",
        "host.id": f"i-{host:017x}",
        "cloud.region": "eu-west-1",
        "host.image.id": "ami-0123456789abcdef0",
    }
    requests = [metrics.number(number * 100 + host, time_ns, 1, {"outcome": outcome}) for outcome in ("ok", "error")]
    durations = metrics.distribution([number] * 6, [0.05, 0.2, 0.5, 1.0, 5.0], number / 3, time_ns, 1)
    found = [
        metrics.counter("shipper.requests", requests, unit="{request}"),
        metrics.histogram("shipper.request.duration", [durations], unit="s"),
    ]
    for gauge in range(GAUGES):
        point = metrics.number(number + gauge / 7, time_ns, 0, {"destination": "gateway"})
        found.append(metrics.gauge(f"shipper_gauge_{gauge}", [point]))
    return metrics.export_metrics(resource(attributes), scope("shipper.measure", "1"), found)


def convert(_size: int) -> list[Row]:
    """The pushes of a fleet, one after the other, in each version of the protocol."""
    return [row for version in Version for row in _rows(version)]


def _rows(version: Version) -> list[Row]:
    converter = Converter({})
    spent: list[float] = []
    samples = wire = 0
    for number in range(PUSHES):
        payloads = [push(host, 1_700_000_000_000_000_000 + number * INTERVAL_NS, number) for host in range(HOSTS)]
        begun = time.process_time()
        parts, _ = cut(converter.convert(payloads).samples, SAMPLES_PER_SEND, version)
        spent.append(time.process_time() - begun)
        samples = sum(len(part.samples) for part in parts)
        wire = sum(len(part.data) for part in parts)
    later = sorted(spent[1:])[len(spent[1:]) // 2]
    case = "remote-write"
    return [
        Row(case, f"{version}: first push of {HOSTS} hosts", "CPU-s", spent[0]),
        Row(case, f"{version}: a later push of {HOSTS} hosts", "CPU-s", later),
        Row(case, f"{version}: samples, converted and compressed", "samples/CPU-s", samples / later),
        Row(case, f"{version}: samples a host and push", "samples", samples / HOSTS),
        Row(case, f"{version}: on the wire", "bytes/sample", wire / samples),
    ]
