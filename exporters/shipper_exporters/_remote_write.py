"""Remote write 1.0 on the wire: samples cut into requests of a bounded size, in order of time, as snappy-compressed protobuf.

https://prometheus.io/docs/specs/prw/remote_write_spec/ ; a WriteRequest holds series, each with sorted labels and its samples in
order of time. Samples are cut by time first: an older one is never in a later request than a newer one, since a receiver takes
each series only forward.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import cramjam

from shipper.otlp.wire import field as wire_field
from shipper_exporters._prometheus_convert import Sample

PROTOBUF = "application/x-protobuf"
HEADERS: Mapping[str, str] = {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}

TWICE = "several values of one series at the same time"


@dataclass(frozen=True, slots=True)
class Part:
    """Samples that go in one HTTP request, in order of time, and the body that they make."""

    samples: Sequence[Sample] = field(repr=False)
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Part:
        """The part that holds ``samples``."""
        return cls(samples, encode(samples))

    def halves(self) -> tuple[Part, Part] | None:
        """Two parts with an older and a newer half, or, of one time, with different series; None for a single sample.

        What is of one time stays together as long as possible: what was there before is a whole push of somebody.
        """
        samples = self.samples
        if len(samples) < 2:
            return None
        middle = len(samples) // 2
        borders = [at for at in range(1, len(samples)) if samples[at][0] != samples[at - 1][0]]
        if borders:
            middle = min(borders, key=lambda at: abs(at - middle))
        return Part.of(samples[:middle]), Part.of(samples[middle:])


def cut(samples: Iterable[Sample], most: int) -> tuple[list[Part], list[Sample]]:
    """Parts of at most ``most`` samples each, the oldest first, and the samples left out because of another of that time.

    Of equal samples one is kept, and nobody misses the other.
    """
    ordered = sorted(samples, key=itemgetter(0))
    kept: list[Sample] = []
    twice: list[Sample] = []
    at_time: dict[bytes, bytes] = {}
    now = -1
    for sample in ordered:
        time_ms, labels, value, _ = sample
        if time_ms != now:
            now = time_ms
            at_time = {}
        before = at_time.setdefault(labels, value)
        if before is value:
            kept.append(sample)
        elif before != value:
            twice.append(sample)
    return [Part.of(kept[at : at + most]) for at in range(0, len(kept), most)], twice


def encode(samples: Iterable[Sample]) -> bytes:
    """A compressed WriteRequest. ``samples`` are in order of time; a series is written once, where its first sample is."""
    series: dict[bytes, bytes] = {}
    for _, labels, value, _ in samples:
        series[labels] = series.get(labels, b"") + value
    message = b"".join([wire_field(1, labels + values) for labels, values in series.items()])
    return bytes(cramjam.snappy.compress_raw(message))
