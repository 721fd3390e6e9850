"""A stream as destinations see it that mask secrets: the same positions, and each secret counted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.contracts import Batch, Cut, Signal, Stream, StreamKind
from shipper.shape.redact import Redaction
from shipper.shape.redact_stream import redacted_view
from shipper.shape.shaping import PLAIN

LINES = [b"password=hunter2", b"plain", b"bob@example.com", b"token: abc"]


class Lines(Stream):
    """A line is a position."""

    id, signal, name, start = "s", Signal.LOGS, "lines", 0

    def __init__(self, kind: StreamKind = StreamKind.DATA) -> None:
        self.kind = kind
        self.done = 0

    def frontier(self) -> int:
        return len(LINES)

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        end = min(len(LINES), at + limit)
        return self.reread(Cut(at, end, at, end, end - at, observed_ns)) if at < end else None

    def reread(self, cut: Cut) -> Batch:
        shaped = PLAIN.shape(b"", b"", LINES[cut.start : cut.end], cut.observed_ns)
        return Batch("life", self.id, self.signal, cut, shaped.payload, self.kind)

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        return None

    def border(self, position: int) -> int | None:
        return position

    def valuable(self, start: int, end: int) -> list[tuple[int, int]]:
        return [(1, 2)]

    def released(self, below: int) -> None:
        self.done = below

    @property
    def finished(self) -> bool:
        return True

    def first_seen(self, position: int) -> float | None:
        return 3.0


def view(stream: Stream, counts: Counter[str]) -> Stream:
    def count(more: Mapping[str, int]) -> None:
        counts.update(more)

    return redacted_view(Redaction(["passwords", "email"]), count)(stream)


def bodies(batch: Batch | None) -> list[str]:
    assert batch is not None
    (logs,) = ExportLogsServiceRequest.FromString(batch.payload).resource_logs
    return [record.body.string_value for record in logs.scope_logs[0].log_records]


def test_a_secret_is_counted_once_however_often_it_is_cut() -> None:
    """Each destination cuts for itself, and what is sent again is built again: with the same bytes, and no new count."""
    counts: Counter[str] = Counter()
    seen = view(Lines(), counts)
    first = seen.cut(0, 0, 2, 7)
    assert bodies(first) == ["password=*******", "plain"]
    assert first is not None
    assert seen.reread(first.cut).payload == first.payload
    assert counts == {"field": 1}
    assert bodies(seen.cut(0, 0, 2, 7)) == ["password=*******", "plain"]
    assert counts == {"field": 1}
    assert bodies(seen.cut_up_to(2, 2, 4, 9, 7)) == ["***************", "token: ***"]
    assert counts == {"field": 2, "email": 1}
    assert seen.cut(4, 4, 1, 7) is None


def test_all_else_is_what_the_stream_says() -> None:
    """Ends, borders and values are the stream's own."""
    stream = Lines()
    seen = view(stream, Counter())
    assert (seen.id, seen.signal, seen.kind, seen.name, seen.start) == ("s", Signal.LOGS, StreamKind.DATA, "lines", 0)
    assert (seen.frontier(), seen.finished, seen.border(3), seen.valuable(0, 4)) == (4, True, 3, [(1, 2)])
    assert (seen.halve(Cut(0, 1, 0, 1, 1, 7)), seen.first_seen(1)) == (None, 3.0)
    seen.released(2)
    assert stream.done == 2


def test_the_account_of_a_life_is_not_looked_at() -> None:
    """It tells of Shipper itself, and an audit reads it."""
    for kind in (StreamKind.ACCOUNT, StreamKind.LIFE):
        stream = Lines(kind)
        assert view(stream, Counter()) is stream
