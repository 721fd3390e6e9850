"""A request of log records as bulk requests, in either mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from shipper.contracts import Batch, Request
from shipper.otlp.encode import AttributeValue
from shipper.otlp.rows import Envelope, log_blocks
from shipper_exporters._elasticsearch.bulk import BulkBody, Run, Writer, action, id_prefix
from shipper_exporters._elasticsearch.ecs import EcsLogs
from shipper_exporters._elasticsearch.ecs_text import numbers
from shipper_exporters._elasticsearch.names import Target, Targets
from shipper_exporters._elasticsearch.otel import OtelLogs
from shipper_exporters._elasticsearch.settings import ElasticsearchSettings

_KEPT = 1024
_NOBODY: Mapping[str, AttributeValue] = {}


def spans_of(batch: Batch) -> Iterator[tuple[str, str, int, bytes]]:
    """Life, stream, position and payload of what a batch is made of: those of other hosts that a relay carries, and its own.

    What a relay took from others than Shipper lies between those, and counts as its own. It has no positions by itself; its
    place in the payload serves, as a frame takes more room in the spool, and so it stays within the batch's range.
    """
    done = 0
    for member in sorted(batch.members, key=lambda member: member.offset):
        if member.offset > done:
            yield batch.life, batch.stream, batch.cut.start + done, batch.payload[done : member.offset]
        done = member.offset + member.length
        yield member.life, member.stream, member.start, batch.payload[member.offset : done]
    if done < len(batch.payload):
        yield batch.life, batch.stream, batch.cut.start + done, batch.payload[done:]


class LogBodies:
    """Makes the bodies; may be called in several threads at once."""

    def __init__(self, settings: ElasticsearchSettings, targets: Targets) -> None:
        self._otel = settings.mapping == "otel"
        self._targets = targets
        self._most = settings.max_body_bytes
        self._compressed = settings.compression == "gzip"
        self._index = "" if targets.varies else targets.of("logs", _NOBODY, otel=self._otel).index
        self._place = lru_cache(_KEPT)(self._target)
        self._documents = lru_cache(_KEPT)(self._maker)

    def make(self, request: Request) -> BulkBody:
        """The body of a request. Raises `MalformedOtlp`."""
        writer = Writer(self._most, self._compressed)
        runs: list[Run] = []
        records = 0
        for batch in request.batches:
            for life, stream, start, payload in spans_of(batch):
                number = 0
                prefix = id_prefix(life, stream, start)
                for block in log_blocks(payload):
                    target = self._place(block.envelope)
                    before = action("" if target.index == self._index else target.index, prefix)
                    first = number
                    for documents in self._documents(target).documents(block, start + number, batch.cut.observed_ns):
                        writer.add(_items(before, number, documents))
                        number += len(documents)
                    runs.append(Run(target.index, prefix, range(first, number)))
                records += number
        writer.cut()
        return BulkBody(self._index, tuple(writer.parts), records, self._compressed, tuple(runs))

    def _target(self, envelope: Envelope) -> Target:
        return self._targets.of("logs", envelope.resource, otel=self._otel)

    def _maker(self, target: Target) -> EcsLogs | OtelLogs:
        more = {"data_stream": target.data_stream} if target.data_stream else {}
        return OtelLogs(more) if self._otel else EcsLogs(more)


def _items(before: bytes, number: int, documents: list[bytes]) -> list[bytes]:
    """Each document with its action; the ids go on from ``number``."""
    items: list[bytes] = []
    for beginning, endings in numbers(number, len(documents)):
        begun = before + beginning
        some = documents[len(items) : len(items) + len(endings)]
        items += [b"".join((begun, ending, b'"}}\n', one, b"\n")) for ending, one in zip(endings, some, strict=True)]
    return items
