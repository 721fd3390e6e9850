"""Whatever texts hold: no shape raises, none is lost, and what becomes of one does not depend on those beside it."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.shape.settings import Condition, ShapeSettings
from shipper.shape.understood import UnderstoodShape
from tests.shape.shapekit import OBSERVED, records, shaped

KEYS = st.sampled_from([
    "time", "ts", "level", "severity", "trace_id", "traceId", "trace", "id", "span_id", "traceparent", "msg", "message",
    "a", "b", "a.b", "trace.id", "log", "log.level", "x-y", "", "é",
])  # fmt: skip
WORDS = st.sampled_from([
    "2026-11-23T02:00:08.5Z", "2026-02-30T00:00:00Z", "Nov 23 02:00:08", "error", "INFO", "30", "request", "é\n", "0" * 32,
    "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
])  # fmt: skip
LEAVES = (
    WORDS
    | st.text(max_size=8)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.none()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)
OBJECTS = st.dictionaries(KEYS | st.text(max_size=4), VALUES, max_size=6).map(
    lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
)
LINES = st.one_of(
    OBJECTS,
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(st.tuples(KEYS, WORDS), max_size=5).map(lambda pairs: " ".join(f'{k}="{v}"' for k, v in pairs).encode()),
    st.sampled_from(
        [
            b"",
            b"{",
            b'{"a":[1',
            b"2]}",
            b'{"a":1},{"b":2}',
            b'{"a":NaN}',
            b'{"a":"\\ud800"}',
            b'{"a":1e999}',
            b"[" * 5000,
            b'{"a":' * 3000,
            b'{"n":' + b"9" * 5000 + b"}",
            b'10.0.0.1 - bob [23/Nov/2026:02:00:08 +0000] "GET /a?b=1 HTTP/1.1" 503 12 "-" "curl/8"',
            b"2026-11-23 02:00:08,123 ERROR [shop] trace_id=4bf92f3577b34da6a3ce929d0e0e4736 failed",
            b"I1123 02:00:00.123456   12 main.go:3] started",
        ]
    ),
)
RULES = {
    "drop": (Condition(re.compile(b"started")), Condition(field="a.b"), Condition(at_least=9, below=13)),
    "keep": (Condition(re.compile(rb".", re.DOTALL)), Condition(at_least=1)),
    "sample": 0.5,
}
SHAPES = [
    ShapeSettings("plain", sample=0.5),
    ShapeSettings("auto", fields=None),
    ShapeSettings("auto", fields=("a.b", "trace"), message_body=True),
    ShapeSettings("json", fields=None, zone="+02:00", **RULES),
    ShapeSettings("json", fields=None, message_body=True),
    ShapeSettings("json", zone="local", time_format="%b %d %H:%M:%S"),
    ShapeSettings("logfmt", fields=None, message_body=True),
    ShapeSettings("common", fields=None, drop=(Condition(re.compile(b"^/a"), field="url.path"),)),
    ShapeSettings("regex", pattern=r"(?P<time>^\S+ \S+) (?P<level>[A-Z]+)(?: \[(?P<app>\w+)\])?", fields=None),
]


@pytest.mark.parametrize("chosen", SHAPES, ids=lambda one: one.parse)
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(LINES, min_size=1, max_size=12), cuts=st.lists(st.integers(0, 12), max_size=2))
def test_a_text_becomes_the_same_record_wherever_it_stands(
    chosen: ShapeSettings, texts: list[bytes], cuts: list[int]
) -> None:
    """A chunk gives the records of its parts, by a shape that has learned from all of them or from nothing."""
    shape = UnderstoodShape(chosen)
    whole = shaped(shape, texts)
    assert shaped(shape, texts).payload == whole.payload
    assert shaped(UnderstoodShape(chosen), texts).payload == whole.payload
    assert whole.records + whole.filtered + whole.sampled == len(texts)
    borders = sorted({0, len(texts), *(cut for cut in cuts if cut < len(texts))})
    parts = [shaped(UnderstoodShape(chosen), texts[start:end]) for start, end in pairwise(borders)]
    assert (whole.records, whole.filtered, whole.sampled) == (
        sum(part.records for part in parts),
        sum(part.filtered for part in parts),
        sum(part.sampled for part in parts),
    )
    singly = [found for text in texts for found in records(UnderstoodShape(chosen), [text])]
    assert records(shape, texts) == singly


@pytest.mark.parametrize("chosen", SHAPES, ids=lambda one: one.parse)
def test_what_came_with_the_texts_stays_on_their_records(chosen: ShapeSettings) -> None:
    """Further fields and times of a container runtime are kept, the latter where the text does not say when it was written."""
    texts = [b"nothing is said here", b'{"a":1}']
    extra = {1: b"\x32\x07\x0a\x01k\x12\x02\x0a\x00"}
    for found in records(chosen, texts, extra=extra, times=[OBSERVED - 5, 0]):
        if found.body.string_value == "nothing is said here":
            assert found.time_unix_nano == OBSERVED - 5
        else:
            assert found.time_unix_nano == 0
            assert "k" in [pair.key for pair in found.attributes]


@pytest.mark.parametrize("chosen", SHAPES, ids=lambda one: one.parse)
def test_no_texts_are_no_payload(chosen: ShapeSettings) -> None:
    """Where there is nothing, nothing is sent."""
    made = shaped(chosen, [])
    assert (made.payload, made.records, made.filtered, made.sampled) == (b"", 0, 0, 0)
