"""A Loki for tests: a fake that refuses what the real one refuses, in its words, and the real one where there is a binary.

The fake follows loki 3.7: ``pkg/distributor/validator.go``, ``pkg/ingester/stream.go``; what is not about a push (query, chunks)
it has not. ``tests/exporters/test_loki_peer.py`` runs the same cases against both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

from shipper.contracts import Signal
from shipper.testing.sink import Answer, Received, Sink, raw

PUSH_PATHS = {"/loki/api/v1/push": Signal.LOGS}
STORED = Answer(204, b"")
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"')
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class Line:
    """An entry as Loki has it."""

    stream: str
    time_ns: int
    line: str
    metadata: tuple[tuple[str, str], ...]


def lines_of(wire: bytes) -> list[Line]:
    """The entries in the body of a push, in order."""
    message = _PushRequest.FromString(bytes(cramjam.snappy.decompress_raw(wire)))
    return [
        Line(
            stream.labels,
            entry.timestamp.seconds * SECOND + entry.timestamp.nanos,
            entry.line,
            tuple((pair.name, pair.value) for pair in entry.metadata),
        )
        for stream in message.streams
        for entry in stream.entries
    ]


@dataclass
class FakeLoki:
    """Judges pushes for a `Sink`, and keeps what it took."""

    now_ns: int
    max_line_size: int = 256 << 10
    max_age: int = 7 * 24 * HOUR
    window: int = HOUR  # how far behind its stream's newest an entry may be
    too_fast: set[str] = field(default_factory=set)  # lines that exceed the stream's rate, until taken out of here
    stored: list[Line] = field(default_factory=list)
    pushes: list[list[Line]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    _newest: dict[str, int] = field(default_factory=dict)

    def sink(self, **options: Any) -> Sink:
        """A sink that answers as this."""
        sink = Sink(paths=PUSH_PATHS, **options)
        sink.judge = self.judge
        return sink

    def judge(self, received: Received) -> Answer:
        """The answer to a push."""
        assert received.headers["Content-Type"] == "application/x-protobuf"
        lines = lines_of(received.wire)
        self.pushes.append(lines)
        status, said = self._judge(lines)
        self.answers.append(said)
        return raw(status, said.encode(), "text/plain; charset=utf-8") if said else Answer(204, b"")

    def texts(self) -> list[str]:
        """The lines it has, in order of time."""
        return [line.line for line in sorted(self.stored, key=lambda line: line.time_ns)]

    def _judge(self, lines: Sequence[Line]) -> tuple[int, str]:
        if not lines:
            return 422, "error at least one valid stream is required for ingestion\n"
        wrong = Counter[str]()
        valid: dict[str, list[Line]] = {}
        for line in lines:
            assert _LABEL.sub("", line.stream).replace(", ", "") == "{}", line.stream
            for name, value in line.metadata:
                assert _NAME.fullmatch(name), name
                assert value, f"{name} is empty"
            assert len({name for name, _ in line.metadata}) == len(line.metadata), "a name comes twice"
            problem = self._invalid(line)
            if problem:
                wrong[problem] += 1
            else:
                valid.setdefault(line.stream, []).append(line)
        last = ""  # as in the real one the answer is that of the last stream
        status = 204
        for stream, members in valid.items():
            status, last = self._ingest(stream, members)
        if last:
            return status, last
        several = len(wrong) > 1 or wrong.total() > 1
        said = "; ".join((f"{n} errors like: " if several else "") + text for text, n in wrong.items())
        return (400, said + "\n") if said else (204, "")

    def _invalid(self, line: Line) -> str:
        if line.time_ns < self.now_ns - self.max_age:
            oldest = _rfc3339(self.now_ns - self.max_age)
            said = f"has timestamp too old: {_rfc3339(line.time_ns)}, oldest acceptable timestamp is: {oldest}"
            return f"entry for stream '{line.stream}' {said}"
        if line.time_ns > self.now_ns + 600 * SECOND:
            return f"entry for stream '{line.stream}' has timestamp too new: {_rfc3339(line.time_ns)}"
        size = len(line.line.encode())
        if size > self.max_line_size:
            limit = f"max entry size '{self.max_line_size}' bytes exceeded"
            return f"{limit} for stream '{line.stream}' while adding an entry with length '{size}' bytes"
        if len(line.metadata) > 128:
            said = f"has too many structured metadata labels: '{len(line.metadata)}', limit: '128'"
            return f"stream '{line.stream}' {said}. Please see `limits_config.max_structured_metadata_entries_count`"
        return ""

    def _ingest(self, stream: str, lines: Sequence[Line]) -> tuple[int, str]:
        failed: list[tuple[Line, int, str]] = []
        for line in lines:
            cutoff = self._newest.get(stream, 0) - self.window
            if line.line in self.too_fast:
                said = (
                    f"Per stream rate limit exceeded (limit: 1KB/sec) while attempting to ingest for stream '{stream}'"
                )
                failed.append((line, 429, f"{said} totaling 10B, consider splitting a stream via additional labels"))
            elif line.time_ns < cutoff:
                said = f"entry too far behind, entry timestamp is: {_rfc3339(line.time_ns)}"
                failed.append((line, 400, f"{said}, oldest acceptable timestamp is: {_rfc3339(cutoff)}"))
            else:
                self._newest[stream] = max(self._newest.get(stream, 0), line.time_ns)
                if line not in self.stored:
                    self.stored.append(line)
        if not failed:
            return 204, ""
        named = "".join(
            f"entry with timestamp {_go_time(line.time_ns)} ignored, reason: '{why}',\n" for line, _, why in failed[:10]
        )
        total = f"user 'fake', total ignored: {len(failed)} out of {len(lines)} for stream: {stream}\n"
        return failed[-1][1], named + total


def _rfc3339(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _go_time(time_ns: int) -> str:
    """As Go's ``Time.String``: the fraction without zeros at its end."""
    fraction = f".{time_ns % SECOND:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(time_ns // SECOND, UTC):%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def _messages() -> Any:
    """``logproto.PushRequest`` (loki ``pkg/push/push.proto``), as far as clients use it."""
    file = descriptor_pb2.FileDescriptorProto(name="push.proto", package="logproto", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    kinds = descriptor_pb2.FieldDescriptorProto
    shapes = {
        "Pair": [("name", 1, ""), ("value", 2, "")],
        "Entry": [("timestamp", 1, ".google.protobuf.Timestamp"), ("line", 2, ""), ("metadata", 3, "*.logproto.Pair")],
        "Stream": [("labels", 1, ""), ("entries", 2, "*.logproto.Entry")],
        "PushRequest": [("streams", 1, "*.logproto.Stream")],
    }
    for name, members in shapes.items():
        message = file.message_type.add(name=name)
        for member, number, of in members:
            kind = kinds.TYPE_MESSAGE if of else kinds.TYPE_STRING
            added = message.field.add(name=member, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
            if of:
                added.type_name = of.removeprefix("*")
            if of.startswith("*"):
                added.label = kinds.LABEL_REPEATED
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("logproto.PushRequest"))


_PushRequest = _messages()
