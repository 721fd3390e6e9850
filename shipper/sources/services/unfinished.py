"""Spans that were running when their process died, ended in its name: so that the request that killed it can be seen.

They go into one more segment of the dead process's trace series, under a name that stands only when it is whole. Then
``alive`` is deleted: where it is gone, all was seen to. A crash in between repeats the step, or finds it done.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from shipper.contracts import Signal
from shipper.handoff.frame import ERROR, NOT_A_REQUEST, Kind, pack
from shipper.handoff.hello import Hello
from shipper.handoff.places import ALIVE, segment_name
from shipper.handoff.table import SIZE, OpenSpan, ended_ns, open_spans
from shipper.otlp.encode import AttributeValue, key_value
from shipper.otlp.wire import field, fixed64_field, text, varint_field
from shipper.sources.services.process import Process
from shipper.sources.services.series import Series

WRITER = "sidecar"
DIED = "process died"
ENDED = "process ended"  # by itself, as it said, and all the same without ending the span
MARK: Mapping[str, AttributeValue] = {"shipper.span.unfinished": True}
_MOST = 16 * SIZE
_FIELD = {Kind.RESOURCE: "resource", Kind.SCOPE: "scope", Kind.ROUTE: "route"}


def write_open_spans(process: Process, now_ns: int) -> int:
    """End what a dead process had open, and delete its ``alive``; how many spans that were.

    ``now_ns``: when it was found dead; it died no later. To be called when all its segments were looked at. Raises OSError
    (then nothing changed that a repetition would not find), `Strange`.
    """
    with process.place.opened() as directory:
        table = _read(process, directory)
        spans = _unended(process, open_spans(table))
        if spans and not _written(process):
            reason = ENDED if ended_ns(table) else DIED
            _write(process, directory, spans, _died(process, table, now_ns), reason)
        with suppress(FileNotFoundError):
            os.unlink(ALIVE, dir_fd=directory)
    return len(spans)


def _read(process: Process, directory: int) -> bytes:
    try:
        descriptor = process.place.open_file(directory, ALIVE)
    except FileNotFoundError:
        return b""
    try:
        return os.read(descriptor, _MOST)
    finally:
        os.close(descriptor)


def _unended(process: Process, spans: list[OpenSpan]) -> list[OpenSpan]:
    """Those whose last frame is not there; a process that died between writing it and clearing the slot had ended them."""
    series = process.series.get(Signal.TRACES)
    if series is None:
        return spans
    return [
        span for span in spans if span.ending_seq < 0 or not series.seqs.covers(span.ending_seq, span.ending_seq + 1)
    ]


def _written(process: Process) -> bool:
    series = process.series.get(Signal.TRACES)
    return series is not None and any(segment.hello and segment.hello.writer == WRITER for segment in series.segments)


def _died(process: Process, table: bytes, now_ns: int) -> int:
    """When it died, as far as anybody knows: as it said itself, else not before its last words and not after now."""
    said = ended_ns(table)
    return min(now_ns, max(said, process.newest_ns())) if said else max(process.newest_ns(), now_ns)


def _write(process: Process, directory: int, spans: list[OpenSpan], died_ns: int, reason: str) -> None:
    series = process.series.get(Signal.TRACES) or process.add(Signal.TRACES)
    last = series.segments[-1] if series.segments else None
    base = max(last.base + last.size, last.next_base) if last is not None else series.begins
    content = _content(process, series, base, [(span, _span(span, died_ns, reason)) for span in spans], died_ns)
    name = segment_name(Signal.TRACES.value, base)
    draft = f".{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o644, dir_fd=directory)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.rename(draft, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(draft, dir_fd=directory)
        raise
    finally:
        os.close(descriptor)


def _content(process: Process, series: Series, base: int, spans: list[tuple[OpenSpan, bytes]], died_ns: int) -> bytes:
    pairs = series.seqs.pairs()
    seq = pairs[-1][1] if pairs else 0
    known = process.hello or Hello(Signal.TRACES.value, base, seq, pid=process.pid)
    hello = replace(known, signal=Signal.TRACES.value, base=base, seq=seq, created_ns=died_ns, writer=WRITER)
    frames = [pack(Kind.HEAD, seq, hello.body(), time_ns=died_ns)]
    for kind, number, body in series.declared.bodies():
        frames.append(pack(kind, seq + len(frames), body, **{_FIELD[Kind(kind)]: number}))
    for span, body in spans:
        frames.append(
            pack(
                Kind.SPAN,
                seq + len(frames),
                body,
                time_ns=died_ns,
                flags=span.kind | ERROR | (0 if span.request else NOT_A_REQUEST),
                resource=span.resource,
                scope=span.scope,
                duration_ns=max(0, died_ns - span.start_ns),
                trace=int.from_bytes(span.trace_id[8:], "big"),
            )
        )
    frames.append(pack(Kind.SEAL, seq + len(frames), b"", time_ns=died_ns))
    return b"".join(frames)


def _span(span: OpenSpan, died_ns: int, reason: str) -> bytes:
    """The content of a Span (opentelemetry-proto ``trace/v1/trace.proto``)."""
    parts = [field(1, span.trace_id), field(2, span.span_id)]
    if any(span.parent_id):
        parts.append(field(4, span.parent_id))
    parts += [
        field(5, text(span.name)),
        varint_field(6, span.kind),
        fixed64_field(7, span.start_ns),
        fixed64_field(8, max(span.start_ns, died_ns)),
    ]
    parts += [field(9, key_value(key, value)) for key, value in MARK.items()]
    parts.append(field(15, field(2, text(reason)) + varint_field(3, 2)))
    return b"".join(parts)
