"""Reading remote writes in tests, with the protobuf library and a description of the messages of its own."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


@dataclass(frozen=True)
class Series:
    """One series of a request, as it is in it; the value of a sample by its bits, as NaN is not equal to itself."""

    labels: Sequence[tuple[str, str]]
    samples: Sequence[tuple[int, int]]


def bits(value: float) -> int:
    """The bits of a double."""
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def series_of(body: bytes) -> list[Series]:
    """The series in the body of a request."""
    message = _WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    return [
        Series(
            [(label.name, label.value) for label in one.labels],
            [(sample.timestamp, bits(sample.value)) for sample in one.samples],
        )
        for one in message.timeseries
    ]


def values_of(body: bytes) -> dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]:
    """Times and values by series."""
    return {
        tuple(one.labels): [(at, struct.unpack("<d", struct.pack("<Q", value))[0]) for at, value in one.samples]
        for one in series_of(body)
    }


def _messages() -> type:
    """``prometheus.WriteRequest`` (prompb ``remote.proto`` and ``types.proto``), as far as it is used."""
    file = descriptor_pb2.FileDescriptorProto(name="remote.proto", package="prometheus", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    shapes = {
        "Label": [("name", 1, field.TYPE_STRING, ""), ("value", 2, field.TYPE_STRING, "")],
        "Sample": [("value", 1, field.TYPE_DOUBLE, ""), ("timestamp", 2, field.TYPE_INT64, "")],
        "TimeSeries": [("labels", 1, field.TYPE_MESSAGE, "Label"), ("samples", 2, field.TYPE_MESSAGE, "Sample")],
        "WriteRequest": [("timeseries", 1, field.TYPE_MESSAGE, "TimeSeries")],
    }
    for name, members in shapes.items():
        message = file.message_type.add(name=name)
        for member, number, kind, of in members:
            added = message.field.add(name=member, number=number, type=kind, label=field.LABEL_OPTIONAL)
            if of:
                added.label, added.type_name = field.LABEL_REPEATED, f".prometheus.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("prometheus.WriteRequest"))


_WriteRequest = _messages()
