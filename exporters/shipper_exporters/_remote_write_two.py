"""The message of remote write 2.0: texts once in a table, and beside its samples each series' type, unit, help and start.

https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/ and Prometheus, ``prompb/io/prometheus/write/v2/types.proto``. When a
counter began stands in two places: in the series, as the first receivers look for it, and in each sample, as the later drafts
have it (from 2.0-rc.4 on); a receiver skips the one that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable

from shipper.otlp.wire import double_field, field, read_varint, varint, varint_field
from shipper_exporters._prometheus_samples import Family, Labels, Sample, is_histogram

MESSAGE = "io.prometheus.write.v2.Request"

_SAMPLE_START, _HISTOGRAM_START = 3, 17
_HISTOGRAMS = b"\x1a"  # the tag of a native histogram in a series, 0x22 in 1.0


class _Symbols:
    """The table of texts; the first is the empty one."""

    def __init__(self) -> None:
        self.at: dict[str, int] = {"": 0}

    def ref(self, text: str) -> int:
        return self.at.setdefault(text, len(self.at))

    def refs(self, pairs: Iterable[tuple[str, str]]) -> bytes:
        """The references of labels, packed as field 1 of a series or an exemplar."""
        setdefault, at = self.at.setdefault, self.at
        found = [setdefault(text, len(at)) for pair in pairs for text in pair]
        packed = bytes(found) if max(found, default=0) < 0x80 else b"".join(map(varint, found))
        return field(1, packed) if packed else b""

    def written(self) -> bytes:
        return b"".join([field(4, text.encode()) for text in self.at])


def message(samples: Iterable[Sample]) -> bytes:
    """A Request. ``samples`` are in order of time, and their series are `Labels`.

    A series is written once for each start it has, where its first sample is; and once more if it is also histograms.
    """
    symbols = _Symbols()
    series: dict[tuple[bytes, int, bool], list[bytes]] = {}
    exemplars: dict[tuple[bytes, int, bool], bytes] = {}
    for _, labels, value, _, more in samples:
        start_ms = 0 if more is None else more.start_ms
        key = (labels, start_ms, is_histogram(value))
        there = series.get(key)
        if there is None:
            there = series[key] = []
        there.append(_value(value, start_ms))
        if more is not None and more.exemplars:
            exemplars[key] = exemplars.get(key, b"") + b"".join(
                field(4, symbols.refs(one.labels) + double_field(2, one.value) + varint_field(3, one.time_ms))
                for one in more.exemplars
            )
    metadata: dict[Family, bytes] = {}
    written = []
    for key, values in series.items():
        labels, start_ms, _ = key
        assert isinstance(labels, Labels), "the text of labels is kept beside their bytes"
        about = metadata.get(labels.family)
        if about is None:
            about = metadata[labels.family] = _metadata(labels.family, symbols)
        start = varint_field(6, start_ms) if start_ms else b""
        content = b"".join((symbols.refs(labels.pairs), *values, exemplars.get(key, b""), about, start))
        written.append(field(5, content))
    return symbols.written() + b"".join(written)


def _metadata(family: Family, symbols: _Symbols) -> bytes:
    help_ref, unit_ref = symbols.ref(family.help), symbols.ref(family.unit)
    return field(5, varint_field(1, family.type) + varint_field(3, help_ref) + varint_field(4, unit_ref))


def _value(value: bytes, start_ms: int) -> bytes:
    """The field of a sample or histogram as 2.0 has it."""
    tag = _HISTOGRAMS if is_histogram(value) else value[:1]
    if not start_ms:
        return tag + value[1:]
    start = varint_field(_HISTOGRAM_START if is_histogram(value) else _SAMPLE_START, start_ms)
    length, at = read_varint(value, 1, len(value))
    return tag + varint(length + len(start)) + value[at:] + start
