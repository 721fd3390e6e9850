"""Requests of all signals, masked in their texts alone: the same as taking each apart, masking its texts and putting it together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from shipper.contracts import Signal
from shipper.shape.redact import Redaction
from shipper.shape.redact_leaves import IDENTITY
from shipper.shape.redact_match import OwnPattern
from shipper.shape.redact_patterns import KINDS, KNOWN

OWN = (OwnPattern("whole", r"^own-\d+$"), OwnPattern("word", r"\bown=(\w+)", 1))
EVERY = Redaction(KINDS, OWN)
REQUESTS: dict[Signal, Callable[[], Any]] = {
    Signal.LOGS: ExportLogsServiceRequest,
    Signal.TRACES: ExportTraceServiceRequest,
    Signal.METRICS: ExportMetricsServiceRequest,
}
NAMES = {  # what names things, by the message that it is in
    "InstrumentationScope": ("name", "version"),
    "Metric": ("name", "unit"),
    "KeyValue": ("key",),
    "ResourceLogs": ("schema_url",),
    "ScopeLogs": ("schema_url",),
    "ResourceSpans": ("schema_url",),
    "ScopeSpans": ("schema_url",),
    "ResourceMetrics": ("schema_url",),
    "ScopeMetrics": ("schema_url",),
    "EntityRef": ("schema_url", "type", "id_keys", "description_keys"),
}
IDS = ("trace_id", "span_id", "parent_span_id")
SECRETS = (
    *("password=hunter2", "token: abcdef", "Bearer abcdef0123456789", "AKIAIOSFODNN7EXAMPLE", "bob@example.com"),
    *("4111 1111 1111 1111", "078-05-1120", "DE89370400440532013000", "postgres://a:b@c", "own-12", "own=ab"),
    *("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.doz", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", '{"secret":"x\\"y"}'),
)
BITS = (
    "eyJ",
    "@",
    "pass",
    "4111",
    " ",
    "\n",
    "ü",
    "://",
    ":",
    "token",
    "own",
    "-1",
    "=",
    '"',
    "\\",
    "1",
    "12",
    "AK",
    "IA",
    "*",
)
texts = st.lists(st.sampled_from(SECRETS + BITS) | st.text(max_size=8), max_size=5).map("".join)
keys = st.sampled_from(
    ("user", "db.password", "x-api-key", "password_hint", "service.name", "host.id", "bob@example.com", "q")
)
values = st.recursive(
    texts.map(lambda text: AnyValue(string_value=text))
    | texts.map(lambda text: AnyValue(bytes_value=text.encode() + b"\xff"))
    | st.integers(0, 1 << 62).map(lambda number: AnyValue(int_value=number))
    | st.just(AnyValue()),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: AnyValue(array_value=ArrayValue(values=found)))
        | st.lists(st.tuples(keys, inner), max_size=3).map(
            lambda pairs: AnyValue(
                kvlist_value=KeyValueList(values=[KeyValue(key=key, value=value) for key, value in pairs])
            )
        )
    ),
    max_leaves=4,
)


@st.composite
def messages(draw: st.DrawFn, kind: Any, depth: int = 0) -> Any:
    """Any message of a kind, with texts in all of its strings."""
    made = kind._concrete_class()
    if made.DESCRIPTOR.name == "AnyValue":
        return draw(values)
    for one in made.DESCRIPTOR.fields:
        if one.containing_oneof is not None and one.containing_oneof.name == "data" and draw(st.booleans()):
            continue
        if one.message_type is not None:
            count = draw(st.integers(0 if depth > 1 else 1, 2)) if one.is_repeated else int(draw(st.booleans()))
            for _ in range(count):
                inner = draw(messages(one.message_type, depth + 1))
                target = getattr(made, one.name)
                (target.add() if one.is_repeated else target).CopyFrom(inner)
        elif one.type == one.TYPE_STRING:
            text = draw(keys if one.name == "key" else texts)
            if one.is_repeated:
                getattr(made, one.name).append(text)
            else:
                setattr(made, one.name, text)
        elif one.type == one.TYPE_BYTES:
            setattr(made, one.name, b"4111111111111111" if one.name == "trace_id" else b"\x08" * 8)
        elif one.type == one.TYPE_FIXED64 and not one.is_repeated:
            setattr(made, one.name, draw(st.integers(0, 1 << 63)))
    return made


def mask(message: Any, *, resource: bool = False, secret: bool = False) -> None:
    """The long way: field by field."""
    kind = message.DESCRIPTOR.name
    if kind == "KeyValue":
        if resource and message.key.encode().startswith(IDENTITY):
            return
        secret = secret or bool(EVERY.text(f"{message.key}=x".encode()).counts.get("field"))
    for one, value in message.ListFields():
        if one.message_type is not None:
            for inner in value if one.is_repeated else [value]:
                mask(inner, resource=kind == "Resource", secret=secret)
        elif one.name in IDS or one.name in NAMES.get(kind, ()):
            continue
        elif one.type == one.TYPE_STRING:
            setattr(message, one.name, hide(value.encode(), secret).decode())
        elif one.type == one.TYPE_BYTES:
            setattr(message, one.name, hide(value, secret))


def hide(text: bytes, secret: bool) -> bytes:
    return b"*" * len(text) if secret else EVERY.text(text).data


@pytest.mark.parametrize("signal", Signal)
def test_a_request_is_masked_as_if_it_were_taken_apart(signal: Signal) -> None:
    """Whatever its texts are: of the same length, every text masked, and all else as it was."""

    @settings(max_examples=60, deadline=None)
    @given(messages(REQUESTS[signal].DESCRIPTOR))  # type: ignore[attr-defined]
    def check(message: Message) -> None:
        data = message.SerializeToString()
        made = EVERY.request(signal, data)
        mask(message)
        assert len(made.data) == len(data)
        assert REQUESTS[signal]().FromString(made.data) == message
        assert made.data == message.SerializeToString()

    check()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(list(Signal)), st.sampled_from(SECRETS))
def test_any_bytes_keep_their_length_and_lose_their_secrets(data: bytes, signal: Signal, secret: str) -> None:
    """What cannot be walked is masked wherever a pattern matches, and never raises."""
    broken = b"\x0a\xff" + secret.encode() + b"\n" + data
    made = EVERY.request(signal, broken)
    assert len(made.data) == len(broken)
    assert EVERY.request(signal, data).data == EVERY.request(signal, data).data
    if EVERY.text(b" " + secret.encode() + b"\n").counts:
        assert secret.encode() + b"\n" not in made.data


def test_a_length_that_looks_like_a_letter_is_not_touched() -> None:
    """The bytes around a text are no part of it, though a card number may seem to begin in them."""
    message = ExportLogsServiceRequest()
    record = message.resource_logs.add().scope_logs.add().log_records.add()
    for text in ("1" * 0x34, "111111111111111", "4111111111111111".ljust(0x34), "AKIA"):
        record.attributes.add(key="a").value.string_value = text
    data = message.SerializeToString()
    made = EVERY.request(Signal.LOGS, data).data
    found = ExportLogsServiceRequest.FromString(made).resource_logs[0].scope_logs[0].log_records[0].attributes
    assert [one.value.string_value for one in found] == [
        *("1" * 0x34, "111111111111111"),
        "*" * 16 + " " * (0x34 - 16),
        "AKIA",
    ]


def test_the_identity_of_a_resource_is_never_masked() -> None:
    """Without it nobody could tell whose records they are; what else a resource says is masked."""
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add()
    for key in ("service.name", "shipper.life.id", "host.name", "process.command_line"):
        spans.resource.attributes.add(key=key).value.string_value = "password=hunter2"
    span = spans.scope_spans.add().spans.add()
    span.attributes.add(key="host.name").value.string_value = "password=hunter2"
    made = ExportTraceServiceRequest.FromString(EVERY.request(Signal.TRACES, message.SerializeToString()).data)
    shown = [one.value.string_value for one in made.resource_spans[0].resource.attributes]
    assert shown == ["password=hunter2"] * 3 + ["password=*******"]
    assert made.resource_spans[0].scope_spans[0].spans[0].attributes[0].value.string_value == "password=*******"


def test_a_value_is_secret_when_its_key_says_so() -> None:
    """All texts below such a key are masked whole, numbers stay, and each text is counted."""
    message = ExportLogsServiceRequest()
    record = message.resource_logs.add().scope_logs.add().log_records.add()
    inner = record.body.kvlist_value.values.add(key="db.password").value
    inner.array_value.values.add(string_value="hunter2")
    inner.array_value.values.add(int_value=7)
    inner.array_value.values.add(bytes_value=b"abc")
    record.attributes.add(key="passwords").value.string_value = "many"
    made = EVERY.request(Signal.LOGS, message.SerializeToString())
    inner.array_value.values[0].string_value = "*******"
    inner.array_value.values[2].bytes_value = b"***"
    assert ExportLogsServiceRequest.FromString(made.data) == message
    assert made.counts == {"field": 2}


def test_a_request_without_a_secret_is_the_very_same_object() -> None:
    """Nothing is copied where nothing is masked."""
    message = ExportLogsServiceRequest()
    message.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "a token, basic, @ and eyJ"
    data = message.SerializeToString()
    assert EVERY.request(Signal.LOGS, data).data is data


def test_a_secret_that_begins_within_another_word_is_found() -> None:
    """As in ``apikeyJ...``, where the search goes on behind a word in which a token began."""
    words = [word for one in KNOWN for word in (*one.exact, *one.folded)]
    tail = b"hbGciOiJIUzI1NiJ9.zdWIiOiIxMjM0In0_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH"
    found = 0
    for first, second in product(words, repeat=2):
        for size in range(1, min(len(first), len(second))):
            if first.lower().endswith(second[:size].lower()):
                text = first[:-size] + second + tail
                message = ExportLogsServiceRequest()
                message.resource_logs.add().scope_logs.add().log_records.add().body.string_value = text.decode()
                made = EVERY.request(Signal.LOGS, message.SerializeToString()).data
                assert EVERY.text(text).data in made, text
                found += EVERY.text(text).data != text
    assert found  # or this looked at nothing


def nested(depth: int) -> Iterator[AnyValue]:
    value = AnyValue(string_value="password=hunter2")
    for _ in range(depth):
        value = AnyValue(array_value=ArrayValue(values=[value]))
        yield value


def test_values_nested_as_deep_as_protobuf_allows_are_masked() -> None:
    """Down to where no destination can read them."""
    for value in nested(40):
        message = ExportLogsServiceRequest()
        message.resource_logs.add().scope_logs.add().log_records.add().body.CopyFrom(value)
        data = message.SerializeToString()
        made = EVERY.request(Signal.LOGS, data).data
        assert b"hunter2" not in made
        assert ExportLogsServiceRequest.FromString(made).ByteSize() == len(data)
