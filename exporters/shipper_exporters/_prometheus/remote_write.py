"""Remote write on the wire: samples cut into requests of a bounded size, in order of time, as snappy-compressed protobuf.

Samples are cut by time first: an older one is never in a later request than a newer one, since a receiver takes each series only
forward. Version 1.0 (https://prometheus.io/docs/specs/prw/remote_write_spec/) has series with their labels; how 2.0 is written is
in ``_remote_write_two``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter

import cramjam

from shipper.otlp.wire import field as wire_field
from shipper_exporters._prometheus import remote_write_two
from shipper_exporters._prometheus.samples import HISTOGRAM_TAG, Sample

TWICE = "several values of one series at the same time"


class Version(StrEnum):
    """Of the protocol, as `PrometheusSettings.protocol` names it."""

    ONE = "1.0"
    TWO = "2.0"

    @property
    def content_type(self) -> str:
        """How its message is called in a request."""
        return (
            "application/x-protobuf"
            if self is Version.ONE
            else f"application/x-protobuf;proto={remote_write_two.MESSAGE}"
        )

    @property
    def headers(self) -> Mapping[str, str]:
        """What else a request has to say."""
        version = "0.1.0" if self is Version.ONE else "2.0.0"  # 0.1.0 is how 1.0 calls itself
        return {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": version}


@dataclass(frozen=True, slots=True)
class Part:
    """Samples that go in one HTTP request, in order of time, and the body that they make in one version."""

    samples: Sequence[Sample] = field(repr=False)
    version: Version
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, samples: Sequence[Sample], version: Version = Version.ONE) -> Part:
        """The part that holds ``samples``."""
        return cls(samples, version, encode(samples, version))

    def written(self, version: Version) -> bytes:
        """The body in ``version``."""
        return self.data if version is self.version else encode(self.samples, version)

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
        return Part.of(samples[:middle], self.version), Part.of(samples[middle:], self.version)


def cut(samples: Iterable[Sample], most: int, version: Version = Version.ONE) -> tuple[list[Part], list[Sample]]:
    """Parts of at most ``most`` samples each, the oldest first, and the samples left out because of another of that time.

    Of equal samples one is kept, and nobody misses the other.
    """
    ordered = sorted(samples, key=itemgetter(0))
    kept: list[Sample] = []
    twice: list[Sample] = []
    at_time: dict[bytes, bytes] = {}
    now = -1
    for sample in ordered:
        time_ms, labels, value, *_ = sample
        if time_ms != now:
            now = time_ms
            at_time = {}
        before = at_time.setdefault(labels, value)
        if before is value:
            kept.append(sample)
        elif before != value:
            twice.append(sample)
    return [Part.of(kept[at : at + most], version) for at in range(0, len(kept), most)], twice


def encode(samples: Iterable[Sample], version: Version) -> bytes:
    """A compressed request. ``samples`` are in order of time; a series is written once, where its first sample is."""
    message = remote_write_two.message(samples) if version is Version.TWO else _message_one(samples)
    return bytes(cramjam.snappy.compress_raw(message))


def _message_one(samples: Iterable[Sample]) -> bytes:
    """A WriteRequest of 1.0."""
    series: dict[bytes, bytes] = {}
    histograms: dict[bytes, bytes] = {}  # a series has numbers or histograms; one that changed is written twice
    for _, labels, value, *_ in samples:
        there = histograms if value[0] == HISTOGRAM_TAG else series
        there[labels] = there.get(labels, b"") + value
    return b"".join(
        [wire_field(1, labels + values) for there in (series, histograms) for labels, values in there.items()]
    )
