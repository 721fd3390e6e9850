"""What each way of parsing finds in a text, and what becomes of what it does not understand."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.shape.access import AccessParser
from shipper.shape.names import roles
from shipper.shape.settings import ShapeSettings
from shipper.shape.understood import UnderstoodShape
from tests.shape.shapekit import OBSERVED, attributes, flat, ns, record, records, shaped

ALL = ShapeSettings("json", fields=None)
NAMES = st.text(min_size=1, max_size=5).filter(lambda name: "." not in name and not roles((name,)))
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.text(max_size=20) | NUMBERS | st.booleans() | st.none()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=10
)


def parts(name: str, value: Any) -> list[str]:
    """All names that the fields in a value have."""
    return (
        [name] if not isinstance(value, dict) else [part for k, v in value.items() for part in parts(f"{name}.{k}", v)]
    )


@settings(max_examples=100, deadline=None)
@given(objects=st.lists(st.dictionaries(NAMES, VALUES, max_size=5), min_size=1, max_size=5))
def test_attributes_are_the_fields_of_the_object(objects: list[dict[str, Any]]) -> None:
    """Every field is there with its type, objects in it by dotted names; the body is the text as it was."""
    objects = [one for one in objects if not roles([name for k, v in one.items() for name in parts(k, v)])]
    texts = [
        json.dumps(one, ensure_ascii=bool(index % 2)).encode("utf-8", "backslashreplace")
        for index, one in enumerate(objects)
    ]
    for found, one, text in zip(records(ALL, texts), objects, texts, strict=True):
        expected = flat(json.loads(text))
        read = attributes(found)
        assert read == {
            name.encode("utf-8", "backslashreplace").decode(): value for name, value in expected.items()
        } or (any("\ud800" <= character <= "\udfff" for character in str(expected)))
        assert [type(read[name]) for name in expected if name in read] == [
            type(value) for name, value in expected.items() if name in read
        ]
        assert found.body.string_value == text.decode()
        assert one == one


def test_numbers_keep_their_digits() -> None:
    """Integers beyond 64 bits become text, so that none is lost; what only some libraries call JSON is read, too."""
    big = 10**30
    text = f'{{"big":{big},"edge":{(1 << 63) - 1},"low":{-(1 << 63)},"zero":-0.0}}'.encode()
    found = attributes(record(ALL, text))
    assert found == {"big": str(big), "edge": (1 << 63) - 1, "low": -(1 << 63), "zero": 0.0}
    assert math.copysign(1, found["zero"]) == -1
    odd = attributes(record(ALL, b'{"nan":NaN,"inf":-Infinity,"half":"\\ud83d"}'))
    assert math.isnan(odd["nan"])
    assert (odd["inf"], odd["half"]) == (-math.inf, "\\ud83d")


def test_booleans_are_not_the_integers_they_equal() -> None:
    """True and 1, False and 0, and 1.0 stay apart, however often they stand beside each other."""
    texts = [b'{"v":true}', b'{"v":1}', b'{"v":1.0}', b'{"v":false}', b'{"v":0}', b'{"v":0.0}'] * 9
    values = [attributes(found)["v"] for found in records(ALL, texts)]
    assert [(type(value), value) for value in values[:6]] == [
        (bool, True), (int, 1), (float, 1.0), (bool, False), (int, 0), (float, 0.0)
    ]  # fmt: skip
    assert values == values[:6] * 9


def test_what_nests_too_deep_is_kept_as_text() -> None:
    """Eight levels become dotted names, what lies deeper an object, and what OTLP cannot hold its JSON."""
    value: Any = 1
    for _ in range(60):
        value = {"k": value}
    found = attributes(record(ALL, json.dumps(value).encode()))
    assert list(found) == [".".join("k" * 8)]
    assert json.loads(found[".".join("k" * 8)]) == json.loads("{" + '"k":{' * 51 + '"k":1' + "}" * 52)
    lists: Any = 1
    for _ in range(60):
        lists = [lists]
    assert json.loads(attributes(record(ALL, json.dumps({"l": lists}).encode()))["l"]) == lists


def test_two_fields_of_one_name_are_one() -> None:
    """The same one of them, whatever came before and beside it."""
    texts = [b'{"a.b":1,"a":{"b":2}}', b'{"a":{"b":2},"a.b":1}', b'{"a.b":3}', b'{"a":{"b":4}}', b'{"a":5,"a":6}']
    assert [attributes(found) for found in records(ALL, texts)] == [
        {"a.b": 1}, {"a.b": 1}, {"a.b": 3}, {"a.b": 4}, {"a": 6}
    ]  # fmt: skip


def test_a_log_of_ever_new_fields_is_read_all_the_same() -> None:
    """Hundreds of names that never come again cost time, not records."""
    texts = [json.dumps({f"k{i}": i, "o": {f"n{i}": str(i)}, "same": "x"}).encode() for i in range(300)]
    for i, found in enumerate(records(ALL, texts)):
        assert attributes(found) == {f"k{i}": i, f"o.n{i}": str(i), "same": "x"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((), {}),
        (("user",), {"user": 7}),
        (("http.status", "nope"), {"http.status": 200}),
        (None, {"user": 7, "http.status": 200, "http.path": "/a", "msg": "done"}),
    ],
)
def test_only_fields_that_are_asked_for_become_attributes(
    fields: tuple[str, ...] | None, expected: dict[str, Any]
) -> None:
    """None, some by name, or all; what has a place of its own in a record is in that."""
    text = b'{"time":"2026-11-23T02:00:08Z","level":"warn","user":7,"http":{"status":200,"path":"/a"},"msg":"done","n":null}'
    found = record(ShapeSettings("json", fields=fields), text)
    assert attributes(found) == expected
    assert (found.time_unix_nano, found.severity_number) == (ns("2026-11-23T02:00:08"), 13)


def test_the_message_is_the_body_if_that_is_asked_for() -> None:
    """Then it is no attribute; a text without one is its own body."""
    shape = ShapeSettings("json", fields=None, message_body=True)
    first, second, third = records(shape, [b'{"msg":"done","a":1}', b'{"a":1}', b'{"msg":7,"message":"ready"}'])
    assert (first.body.string_value, attributes(first)) == ("done", {"a": 1})
    assert (second.body.string_value, attributes(second)) == ('{"a":1}', {"a": 1})
    assert (third.body.string_value, attributes(third)) == ("ready", {"msg": 7})


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (ALL, b"2026-11-23T02:00:08Z ERROR no JSON"),
        (ALL, b'["2026"]'),
        (ALL, b'{"a":1'),
        (ShapeSettings("logfmt", fields=None), b"2026-11-23T02:00:08Z ERROR no pairs"),
        (ShapeSettings("common", fields=None), b"2026-11-23T02:00:08Z ERROR no request"),
        (ShapeSettings("regex", pattern="^(?P<a>x+)$", fields=None), b"2026-11-23T02:00:08Z ERROR no x"),
    ],
)
def test_what_cannot_be_parsed_is_passed_on_and_counted(shape: ShapeSettings, text: bytes) -> None:
    """With what a plain line says of itself, and an attribute by which it can be found."""
    found = record(shape, text)
    assert found.body.string_value == text.decode()
    assert attributes(found) == {"shipper.shape.error": shape.parse}
    assert shaped(shape, [text, text, b""]).failures == {shape.parse: 2}
    if b"ERROR" in text:
        assert (found.severity_number, found.time_unix_nano) == (17, ns("2026-11-23T02:00:08"))


def test_auto_takes_lines_as_they_come() -> None:
    """Objects and plain lines beside each other, and nothing that begins like an object has to be one."""
    texts = [b'{"level":"warn","a":1}', b"2026-11-23T02:00:08Z ERROR x", b"{not json} INFO", b""]
    made = shaped(ShapeSettings("auto", fields=None), texts)
    assert made.failures == {}
    found = records(ShapeSettings("auto", fields=None), texts)
    assert [one.severity_number for one in found] == [13, 17, 9, 0]
    assert [attributes(one) for one in found] == [{"a": 1}, {}, {}, {}]


def test_a_time_that_is_none_is_counted_and_kept() -> None:
    """The record has the time at which it was read, and the field stays as it is."""
    made = shaped(ALL, [b'{"time":"2026-02-30T00:00:00Z"}', b'{"time":"2026-02-28T00:00:00Z"}', b'{"date":"today"}'])
    assert made.failures == {"time": 1}
    found = record(ALL, b'{"time":"2026-02-30T00:00:00Z"}')
    assert (found.time_unix_nano, found.observed_time_unix_nano) == (0, OBSERVED)
    assert attributes(found) == {"time": "2026-02-30T00:00:00Z"}


def test_logfmt_is_pairs() -> None:
    """Quoted or not; words without a value are passed over, and all values are text."""
    text = b'time=2026-11-23T02:00:08Z level=info msg="a \\"b\\" c" user=7 empty= q="" done http.path=/a?b=c\xc3\xa9'
    found = record(ShapeSettings("logfmt", fields=None), text)
    assert attributes(found) == {
        "msg": 'a "b" c', "user": "7", "empty": "", "q": "", "http.path": "/a?b=cé"
    }  # fmt: skip
    assert (found.time_unix_nano, found.severity_number) == (ns("2026-11-23T02:00:08"), 9)


def test_a_pattern_names_its_fields() -> None:
    """A group that took no part is no field; what a group is called says what it means, as elsewhere."""
    shape = ShapeSettings(
        "regex", pattern=r"^(?P<time>\S+) (?P<level>\w+)(?: \[(?P<app>\w+)\])? (?P<message>.*)", fields=None
    )
    first, second = records(shape, [b"2026-11-23T02:00:08Z WARN [shop] hot", b"2026-11-23T02:00:08Z WARN cold"])
    assert attributes(first) == {"app": "shop", "message": "hot"}
    assert attributes(second) == {"message": "cold"}
    assert (first.time_unix_nano, first.severity_number) == (ns("2026-11-23T02:00:08"), 13)


ACCESS = (
    b'10.0.0.1 - bob [23/Nov/2026:03:00:08 +0100] "GET /a/b?c=d HTTP/1.1" %s 512 "https://x/" "curl/8 \\"q\\"" 0.123'
)


def test_an_access_log_has_the_attributes_of_the_spans_beside_it() -> None:
    """The names and types of OpenTelemetry's conventions for HTTP; the time, and an error where the server failed."""
    shape = ShapeSettings("common", fields=None)
    good, bad = records(shape, [ACCESS % b"200", ACCESS % b"503"])
    assert attributes(good) == {
        "client.address": "10.0.0.1",
        "user.name": "bob",
        "http.request.method": "GET",
        "url.path": "/a/b",
        "url.query": "c=d",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
        "http.response.body.size": 512,
        "http.request.header.referer": ["https://x/"],
        "user_agent.original": 'curl/8 \\"q\\"',
    }
    assert good.time_unix_nano == ns("2026-11-23T02:00:08")
    assert (good.severity_number, bad.severity_number) == (9, 17)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'::1 - - [23/Nov/2026:02:00:08 +0000] "GET / HTTP/2" 304 -', {"http.request.method": "GET", "url.path": "/"}),
        (b'::1 - a b [23/Nov/2026:02:00:08 +0000] "\\x16\\x03\\x01" 400 0 "-" "-"', {"user.name": "a b"}),
        (b'::1 - - [23/Nov/2026:02:00:08 +0000] "-" 408 -', {}),
        (
            b'::1 - - [23/Nov/2026:02:00:08 +0000] "GET /only" 200 1',
            {"http.request.method": "GET", "url.path": "/only"},
        ),
    ],
)
def test_access_logs_hold_what_strangers_sent(line: bytes, expected: dict[str, str]) -> None:
    """Requests that are none, names with blanks, answers without a body."""
    found = attributes(record(ShapeSettings("common", fields=None), line))
    assert {
        name: value for name, value in found.items() if name in ("http.request.method", "url.path", "user.name")
    } == expected
    assert isinstance(found["http.response.status_code"], int)
    assert AccessParser().parse([line], [0]).failed == []


def test_a_long_text_costs_no_more_than_its_length() -> None:
    """Texts made to have each parser look again and again are done with at once."""
    evil = [
        b'{"a":' * 20_000,
        b"a" * 200_000,
        b"x=" * 100_000,
        b'="' * 50_000,
        b"1.1.1.1 - " + b"[" * 100_000,
        b"[" * 100_000,
    ]
    for parse in ("auto", "json", "logfmt", "common", "plain"):
        made = UnderstoodShape(ShapeSettings(parse, fields=None, sample=0.999)).shape(b"", b"", evil, OBSERVED)  # type: ignore[arg-type]
        assert made.records + made.sampled == len(evil)
