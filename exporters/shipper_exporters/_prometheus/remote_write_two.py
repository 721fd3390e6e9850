"""The message of remote write 2.0: texts once in a table, and beside its samples each series' type, unit, help and start.

https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/ and Prometheus, ``prompb/io/prometheus/write/v2/types.proto``. When a
counter began stands in two places: in the series, as the first receivers look for it, and in each sample, as the later drafts
have it (from 2.0-rc.4 on); a receiver skips the one that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from shipper.otlp.wire import double_field, field, read_varint, varint, varint_field
from shipper_exporters._prometheus.samples import HISTOGRAM_TAG, Exemplar, Family, Labels, Sample

MESSAGE = "io.prometheus.write.v2.Request"

_SAMPLE_START, _HISTOGRAM_START = 3, 17
_FEW = 1 << 14
_REFS = tuple(map(varint, range(_FEW)))  # nearly all references that a request has
_HISTOGRAMS = b"\x1a"  # the tag of a native histogram in a series, 0x22 in 1.0


class _Symbols(dict[str, int]):
    """The table of texts; the first is the empty one, and a text that is asked for is there from then on."""

    def __missing__(self, text: str) -> int:
        found = self[text] = len(self)
        return found

    def refs(self, texts: Iterable[str]) -> bytes:
        """The references of names and values by turns, packed as field 1 of a series or an exemplar."""
        found = list(map(self.__getitem__, texts))
        few = len(self) < 0x80
        packed = bytes(found) if few else b"".join([_REFS[ref] if ref < _FEW else varint(ref) for ref in found])
        return field(1, packed) if packed else b""

    def written(self) -> bytes:
        """The fields of the table."""
        return b"".join([field(4, text.encode()) for text in self])


def message(samples: Iterable[Sample]) -> bytes:
    """A Request. ``samples`` are in order of time, and their series are `Labels`.

    A series is written once for each start it has, where its first sample is; and once more if it is also histograms.
    """
    symbols = _Symbols({"": 0})
    series: dict[tuple[bytes, int, bool], bytes] = {}
    exemplars: dict[tuple[bytes, int, bool], bytes] = {}
    for _, labels, value, _, more in samples:
        start_ms = 0 if more is None else more.start_ms
        histogram = value[0] == HISTOGRAM_TAG
        key = (labels, start_ms, histogram)
        series[key] = series.get(key, b"") + (_value(value, start_ms) if start_ms or histogram else value)
        if more is not None and more.exemplars:
            exemplars[key] = exemplars.get(key, b"") + b"".join(
                field(4, symbols.refs(text for pair in one.labels for text in pair) + _measured(one))
                for one in more.exemplars
            )
    metadata: dict[Family, bytes] = {}
    written = []
    starts = {0: b""}
    for key, values in series.items():
        labels, start_ms, _ = key
        assert isinstance(labels, Labels), "the text of labels is kept beside their bytes"
        about = metadata.get(labels.family)
        if about is None:
            about = metadata[labels.family] = _metadata(labels.family, symbols)
        start = starts.get(start_ms)
        if start is None:
            start = starts[start_ms] = varint_field(6, start_ms)
        content = b"".join((symbols.refs(labels.texts), values, exemplars.get(key, b""), about, start))
        written.append(field(5, content))
    return symbols.written() + b"".join(written)


def _metadata(family: Family, symbols: _Symbols) -> bytes:
    help_ref, unit_ref = varint_field(3, symbols[family.help]), varint_field(4, symbols[family.unit])
    return field(5, varint_field(1, family.type) + help_ref + unit_ref)


def _measured(one: Exemplar) -> bytes:
    return double_field(2, one.value) + varint_field(3, one.time_ms)


@lru_cache(maxsize=1024)
def _start(start_ms: int) -> bytes:
    """When the counter of a sample began."""
    return varint_field(_SAMPLE_START, start_ms)


def _value(value: bytes, start_ms: int) -> bytes:
    """The field of a sample or histogram as 2.0 has it."""
    if value[0] != HISTOGRAM_TAG:  # its length is a single byte, and stays one
        start = _start(start_ms)
        return b"\x12" + bytes((value[1] + len(start),)) + value[2:] + start
    start = varint_field(_HISTOGRAM_START, start_ms) if start_ms else b""
    length, at = read_varint(value, 1, len(value))
    return _HISTOGRAMS + varint(length + len(start)) + value[at:] + start
