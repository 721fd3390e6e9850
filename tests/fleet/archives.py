"""Archives made as the real ones are: by the exporter, from requests of a host, directly or through a gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shipper.clock import Deadline
from shipper.contracts import Batch, Cut, ExporterContext, Member, Request, Signal, StreamKind
from shipper.ids import uuid7
from shipper.otlp.encode import LineEncoder, export_logs, log_record, resource, scope
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper_exporters.archive import ArchiveExporter, ArchiveSettings

LINE = 20  # bytes of a line in these archives, its end included
SECOND = 1_000_000_000
NOW = START_WALL_NS + 3600 * SECOND


def lines(host: str, first: int, last: int) -> list[bytes]:
    """The lines [first, last) of a host's only log."""
    return [f"{host} line {number}".ljust(LINE - 1).encode() for number in range(first, last)]


def host_resource(host: str, release: str = "1.0", generation: str = "g1") -> bytes:
    """A host's encoded resource."""
    return resource({"host.name": host, "service.version": release, "shipper.generation": generation})


def batch(
    host: str,
    first: int,
    last: int,
    *,
    life: str = "",
    stream: str = "f1",
    release: str = "1.0",
    generation: str = "g1",
) -> Batch:
    """The batch of a host's lines [first, last); positions are byte offsets."""
    payload = LineEncoder(host_resource(host, release, generation), scope("file")).encode(
        lines(host, first, last), START_WALL_NS + first
    )
    cut = Cut(first * LINE, last * LINE, first * LINE, last * LINE, last - first, START_WALL_NS + first)
    return Batch(life or f"life-{host}", stream, Signal.LOGS, cut, payload)


def statement(host: str, what: str, seq: int, streams: Sequence[Mapping[str, Any]] = (), **more: Any) -> Batch:
    """A birth, account or farewell of a host as a batch of its account streams."""
    life = more.pop("life", f"life-{host}")
    at_ns = more.pop("at_ns", START_WALL_NS + seq * SECOND)
    body = {
        "version": 1,
        "life": life,
        "run": 1,
        "seq": seq,
        "at_ns": at_ns,
        "role": "sidecar",
        "host": host,
        "labels": {"host": host, "release": "1.0", "generation": "g1", "image": "img"},
        "born_ns": START_WALL_NS,
        "streams": list(streams),
        **more,
    }
    record = log_record(
        time_ns=at_ns, observed_ns=at_ns, body=json.dumps(body), event_name=f"shipper.{what}", attributes={}
    )
    payload = export_logs(host_resource(host), scope("shipper.account"), [record])
    kind = StreamKind.ACCOUNT if what == "account" else StreamKind.LIFE
    cut = Cut(seq * 1000, seq * 1000 + 1000, seq * 1000, seq * 1000 + 1000, 1, at_ns)
    return Batch(life, kind.value, Signal.LOGS, cut, payload, kind)


def claims(read: int, acknowledged: int | None = None, *, size: int | None = None, **more: Any) -> dict[str, Any]:
    """What a host says about its stream ``f1`` at destination ``gw``, in lines; all in order from the first."""
    acked = read if acknowledged is None else acknowledged
    figures = {
        "read_to": read * LINE,
        "read": read,
        "acknowledged": acked,
        "pending": read - acked,
        "acknowledged_ranges": [[0, acked * LINE]] if acked else [],
        "unread": (read if size is None else size) * LINE - read * LINE,
        "trusted": True,
        **more,
    }
    end = (read if size is None else size) * LINE
    return {
        "id": "f1",
        "name": "/log",
        "kind": "data",
        "signal": "logs",
        "start": 0,
        "size": end,
        "destinations": {"gw": figures},
    }


def gateway_batch(members: Sequence[Batch], start: int = 0, *, stream: str = "spool-logs") -> Batch:
    """A gateway's batch that carries the batches of hosts."""
    at, inside = 0, []
    for one in members:
        cut = one.cut
        inside.append(
            Member(one.life, one.stream, cut.start, cut.end, cut.records, at, len(one.payload), NOW - SECOND, one.kind)
        )
        at += len(one.payload)
    payload = b"".join(one.payload for one in members)
    end = start + len(payload) + 100 * len(members)
    records = sum(one.cut.records for one in members)
    cut = Cut(start, end, start, end, records, START_WALL_NS)
    return Batch("life-gateway", stream, Signal.LOGS, cut, payload, members=tuple(inside))


@dataclass
class Writer:
    """Writes archives into a directory with the real exporter."""

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        context = ExporterContext(self.clock, "life-gateway", 1, "test")
        self.exporter = ArchiveExporter("archive", ArchiveSettings(url=str(self.root), **self.settings), context)

    def put(self, *batches: Batch, request_id: str = "") -> str:
        """Archive the batches as one request; the request's id."""
        self.clock.advance(1)
        request = Request(request_id or uuid7(self.clock.wall_ns()), batches[0].signal, batches)
        prepared = self.exporter.prepare(request)
        asyncio.run(self.exporter.send(prepared, Deadline.after(self.clock, 60)))
        return request.id

    def objects(self) -> list[Path]:
        """The data objects, in the order of writing."""
        return sorted(self.root.glob("year=*/**/*.binpb*"), key=lambda path: path.name)

    def range_lists(self) -> list[Path]:
        """The range lists, in the order of writing."""
        return sorted(self.root.glob("shipper/ranges/*.json"))
