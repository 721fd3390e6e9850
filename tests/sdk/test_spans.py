"""Spans are handed over as OpenTelemetry's own exporter would encode them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from shipper.handoff.frame import ERROR, NOT_A_REQUEST, SPAN_KIND, Kind
from shipper.sdk.emit.fingerprint import FINGERPRINT
from shipper.sdk.emit.redact import Texts
from shipper.sdk.emit.spans import ShipperSpanProcessor, SpanEncoder, encode_span
from tests.sdk.memory_spool import MemorySpool, attributes_of, nothing_stated


class Ended(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def stock(span: ReadableSpan) -> SpanMessage:
    message = encode_spans([span]).resource_spans[0].scope_spans[0].spans[0]
    return SpanMessage.FromString(message.SerializeToString())


def ours(span: ReadableSpan, encoder: SpanEncoder | None = None) -> SpanMessage:
    return SpanMessage.FromString(encode_span(span, encoder))


def without_fingerprints(message: SpanMessage) -> SpanMessage:
    for event in message.events:
        kept = [pair for pair in event.attributes if pair.key != FINGERPRINT]
        del event.attributes[:]
        event.attributes.extend(kept)
    return message


def provider(limits: SpanLimits | None = None, sampler: Any = ALWAYS_ON) -> tuple[TracerProvider, Ended]:
    ended = Ended()
    made = TracerProvider(resource=Resource({}), sampler=sampler, span_limits=limits, shutdown_on_exit=False)
    made.add_span_processor(ended)
    return made, ended


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
scalars = st.one_of(
    texts, st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False), st.binary()
)
values = st.recursive(
    st.one_of(scalars, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts.filter(bool), inner, max_size=3)),
    max_leaves=8,
)
attribute_sets = st.dictionaries(texts.filter(bool), values, max_size=6)
contexts = st.builds(
    SpanContext,
    st.integers(1, (1 << 128) - 1),
    st.integers(1, (1 << 64) - 1),
    st.booleans(),
    st.builds(TraceFlags, st.integers(0, 3)),
    st.sampled_from([TraceState(), TraceState([("a", "1"), ("b", "x=y")])]),
)


@settings(max_examples=80, deadline=None)
@given(
    name=texts,
    attributes=attribute_sets,
    kind=st.sampled_from(list(SpanKind)),
    parent=st.one_of(st.none(), contexts),
    links=st.lists(st.tuples(contexts, attribute_sets), max_size=3),
    events=st.lists(st.tuples(texts, attribute_sets, st.integers(1, (1 << 63) - 1)), max_size=3),
    status=st.tuples(st.sampled_from(list(StatusCode)), st.one_of(st.none(), texts)),
    times=st.tuples(st.integers(1, 1 << 62), st.integers(1, 1 << 62)),
)
def test_a_span_decodes_to_what_the_stock_exporter_makes_of_it(
    name: str,
    attributes: dict[str, Any],
    kind: SpanKind,
    parent: SpanContext | None,
    links: Sequence[tuple[SpanContext, dict[str, Any]]],
    events: Sequence[tuple[str, dict[str, Any], int]],
    status: tuple[StatusCode, str | None],
    times: tuple[int, int],
) -> None:
    """Whatever a span holds, our bytes decode to the message that OpenTelemetry's exporter sends."""
    made, ended = provider(SpanLimits(max_attributes=4, max_events=2, max_links=2))
    context = trace.set_span_in_context(NonRecordingSpan(parent)) if parent is not None else None
    span = made.get_tracer("t").start_span(
        name,
        context=context,
        kind=kind,
        attributes=attributes,
        links=[Link(target, more) for target, more in links],
        start_time=times[0],
    )
    for title, more, at in events:
        span.add_event(title, more, at)
    span.set_status(Status(status[0], status[1] if status[0] is StatusCode.ERROR else None))
    span.end(times[1])
    assert without_fingerprints(ours(ended.spans[0])) == stock(ended.spans[0])


def test_a_span_made_by_hand_is_encoded_by_its_public_properties() -> None:
    """A ReadableSpan with plain dicts, tuples and an older shape than the SDK's own comes out the same as stock."""
    context = SpanContext(5, 6, False, TraceFlags(1), TraceState([("k", "v")]))
    span = ReadableSpan(
        "by hand",
        context=context,
        parent=SpanContext(5, 7, True),
        resource=Resource({}),
        attributes={"a": 1, "b": "two"},
        events=(Event("e", {"x": True}, 77), Event("f", None, 78)),
        links=(Link(SpanContext(8, 9, True), None),),
        kind=SpanKind.CONSUMER,
        start_time=1,
        end_time=2,
    )
    assert ours(span) == stock(span)


def test_true_and_one_stay_what_they_are() -> None:
    """Values that compare equal in Python keep their types, whichever of them was seen first."""
    made, ended = provider()
    for value in (True, 1, 1.0, False, 0, 0.0):
        made.get_tracer("t").start_span("s", attributes={"v": value}).end()
    found = [ours(span).attributes[0].value.WhichOneof("value") for span in ended.spans]
    assert found == ["bool_value", "int_value", "double_value"] * 2


def test_the_caches_of_names_and_values_stay_bounded() -> None:
    """Ever new attribute names, values and span names do not fill the memory."""
    encoder = SpanEncoder()
    made, ended = provider()
    tracer = made.get_tracer("t")
    for number in range(12_000):
        tracer.start_span(f"s{number}", attributes={f"k{number}": number, "n": number}).end()
        encoder.encode(ended.spans.pop())
    assert len(encoder._attributes) < 10_000
    assert len(encoder._names) <= 2048


class Host:
    """A provider with our processor on a hand-off in memory."""

    def __init__(self, sampler: Any = ALWAYS_ON, texts: Texts | None = None) -> None:
        self.spool = MemorySpool()
        self.series = self.spool.series("traces")
        self.processor = ShipperSpanProcessor(self.spool, nothing_stated, SpanEncoder(texts))
        self.provider = TracerProvider(resource=Resource({}), sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)
        self.tracer = self.provider.get_tracer("lib", "1.2", "https://example.org/schema", {"scope": "yes"})

    @contextmanager
    def span(self, name: str, **options: Any) -> Iterator[trace.Span]:
        with self.tracer.start_as_current_span(name, **options) as span:
            yield span


def test_an_ended_span_is_one_frame_with_what_the_sidecar_reads_from_its_head() -> None:
    """Kind, duration, trace, route and time stand in the frame's head, so that nobody needs to decode the body."""
    host = Host()
    span = host.tracer.start_span(
        "GET /items", kind=SpanKind.SERVER, attributes={"http.route": "/items"}, start_time=1000
    )
    span.end(6000)
    (frame,) = host.series.given
    assert frame.kind == Kind.SPAN
    assert frame.flags & SPAN_KIND == 2
    assert not frame.flags & ERROR
    assert frame.duration_ns == 5000
    assert frame.trace == span.get_span_context().trace_id & ((1 << 64) - 1)
    assert host.series.routes == ["/items"]
    assert frame.route == 1
    assert frame.time_ns > 0
    scope = host.series.scope_of(frame)
    assert (scope.name, scope.version, attributes_of(scope)) == ("lib", "1.2", {"scope": "yes"})


@pytest.mark.parametrize(
    ("kind", "attributes", "status", "error"),
    [
        (SpanKind.SERVER, {}, StatusCode.ERROR, True),
        (SpanKind.INTERNAL, {}, StatusCode.ERROR, True),
        (SpanKind.SERVER, {"http.response.status_code": 503}, StatusCode.UNSET, True),
        (SpanKind.SERVER, {"http.status_code": 500}, StatusCode.UNSET, True),
        (SpanKind.SERVER, {"http.response.status_code": 404}, StatusCode.UNSET, False),
        (SpanKind.CLIENT, {"http.response.status_code": 503}, StatusCode.UNSET, False),
        (SpanKind.SERVER, {"http.response.status_code": "503"}, StatusCode.UNSET, False),
    ],
)
def test_an_error_is_marked(kind: SpanKind, attributes: dict[str, Any], status: StatusCode, error: bool) -> None:
    """A span is an error by its status, a server's also by a 5xx answer."""
    host = Host()
    span = host.tracer.start_span("s", kind=kind, attributes=attributes)
    span.set_status(status)
    span.end()
    assert bool(host.series.given[0].flags & ERROR) is error


@pytest.mark.parametrize(
    ("kind", "attributes", "request_"),
    [
        (SpanKind.SERVER, {"url.scheme": "wss"}, False),
        (SpanKind.SERVER, {"http.scheme": "ws"}, False),
        (SpanKind.SERVER, {"url.scheme": "https"}, True),
        (SpanKind.SERVER, {"rpc.system": "grpc"}, True),
        (SpanKind.CLIENT, {"url.scheme": "ws"}, True),
    ],
)
def test_a_websocket_is_no_request(kind: SpanKind, attributes: dict[str, Any], request_: bool) -> None:
    """It says so at its end and, for the case that there is none, in the table of open spans."""
    host = Host()
    span = host.tracer.start_span("chat", kind=kind, attributes=attributes)
    (begun,) = host.spool.open_spans.begun
    span.end()
    (frame,) = host.series.given
    assert begun[4] == frame.flags == kind.value + 1 + (0 if request_ else NOT_A_REQUEST)


def test_a_started_span_stands_in_the_table_until_its_end_names_its_slot() -> None:
    """What was begun is noted with its ids, and the frame of its end says which slot is free again."""
    host = Host()
    with host.span("outer") as outer:
        with host.span("inner"):
            pass
    (first, second) = host.spool.open_spans.begun
    assert first[0] == outer.get_span_context().trace_id
    assert (first[2], second[2]) == (0, outer.get_span_context().span_id)
    assert (first[5], second[5]) == ("outer", "inner")
    assert [frame.slot for frame in host.series.given] == [1, 0]


def test_unsampled_spans_are_not_handed_over() -> None:
    """As with OpenTelemetry's own processors, what the sampler left out is neither noted nor sent."""
    host = Host(sampler=ALWAYS_OFF)
    with host.span("unseen"):
        pass
    host.processor.on_end(ReadableSpan("by hand", context=SpanContext(1, 2, False), resource=Resource({})))
    assert host.series.given == []
    assert host.spool.open_spans.begun == []


def test_an_exception_event_gets_the_fingerprint() -> None:
    """The exception that ended a span carries the name by which it is known again."""
    host = Host()
    for message in ("order 17", "order 18"):
        with pytest.raises(KeyError), host.span("s"):
            raise KeyError(message)
    first, second = (attributes_of(span.events[0]) for span in host.series.spans)
    assert first["exception.type"] == "KeyError"
    assert first["exception.message"] != second["exception.message"]
    assert first[FINGERPRINT] == second[FINGERPRINT]
    assert first[FINGERPRINT].startswith("v1-")


def test_redaction_reaches_every_text_of_a_span() -> None:
    """Names, values at any depth, events, links and the status message go through the hook; attribute names do not."""
    host = Host(texts=Texts(lambda text: text.replace("secret", "***")))
    link = Link(SpanContext(1, 2, True), {"secret-link": "a secret"})
    with host.span(
        "secret name", attributes={"http.route": "/secret", "deep": {"in": ["secret"]}}, links=[link]
    ) as span:
        span.add_event("secret event", {"e": "secret"})
        span.set_status(StatusCode.ERROR, "secret status")
    message = host.series.spans[0]
    assert (message.name, message.status.message, message.events[0].name) == ("*** name", "*** status", "*** event")
    assert attributes_of(message) == {"http.route": "/***", "deep": {"in": ["***"]}}
    assert attributes_of(message.events[0]) == {"e": "***"}
    assert attributes_of(message.links[0]) == {"secret-link": "a ***"}
    assert host.spool.open_spans.begun[0][5] == "*** name"
    assert host.series.routes == ["/***"]


def test_a_span_that_would_be_too_large_is_made_smaller_and_says_so() -> None:
    """Long texts are cut with a mark; when that is not enough, events go and are counted as dropped."""
    host = Host()
    with host.span("long", attributes={"a": "x" * 200_000}):
        pass
    with host.span("many") as span:
        for _ in range(128):
            span.add_event("e", {f"k{number}": "y" * 2000 for number in range(20)})
    long, many = host.series.spans
    assert attributes_of(long)["a"].endswith("…[134464 more characters]")
    assert (len(many.events), many.dropped_events_count) == (0, 128)
    assert all(len(frame.body) <= 1 << 20 for frame in host.series.given)


def test_faults_of_a_span_do_not_reach_the_service() -> None:
    """A span that cannot be encoded is counted as dropped, and its end returns as always."""
    host = Host()
    span = host.tracer.start_span("s")
    span._start_time = "yesterday"  # type: ignore[attr-defined]
    span.end()
    host.processor.on_end(object())  # type: ignore[arg-type]
    assert host.series.given == []
    assert host.spool.open_spans.cleared == [0]
    assert host.series.dropped == {"unencodable": 2}
    assert host.processor.faults.counts == {"a span could not be handed over": 2}


def test_flush_and_shutdown_return_at_once_and_records_are_taken_afterwards() -> None:
    """Nothing is held back, so there is nothing to wait for; spans that end during shutdown still count."""
    host = Host()
    assert host.processor.force_flush(0)
    host.provider.shutdown()
    with host.span("late"):
        pass
    assert [span.name for span in host.series.spans] == ["late"]


def test_a_span_that_was_open_at_a_fork_belongs_to_the_parents_table() -> None:
    """A forked child that ends its parent's span frees no slot of its own table, and asks for its numbers anew."""
    host = Host()
    span = host.tracer.start_span("s")
    child = os.fork()
    if child == 0:
        host.series.resources.clear()
        span.end()
        os._exit(0 if host.series.given[0].slot == -1 and len(host.series.resources) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    span.end()
    assert host.series.given[0].slot == 0
