"""What a record becomes in Loki: its stream, its line, its time, and everything else as structured metadata."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Request, StreamKind
from shipper.testing.clock import START_WALL_NS
from shipper.testing.streams import LIFE
from shipper_exporters._loki.encode import LokiEncoder
from shipper_exporters._loki.names import flat, loki_name, loki_text, selector
from shipper_exporters._loki.settings import LABELS
from shipper_exporters._loki.wire import Push, entry, metadata, plain_entries
from tests.exporters.loki_kit import RESOURCE, at, payload, plain, request_of
from tests.exporters.loki_server import Line, lines_of

NOW = START_WALL_NS
IDENTITY = {
    "scope_name": "app",
    "service_version": "1.4.2",
    "shipper_generation": "g-17",
    "shipper_host": "i-0abc",
    "shipper_life_id": LIFE,
}


def pushed(request: Request, most: int = 1 << 20, labels: dict[str, str] = LABELS) -> list[Line]:
    return [line for push in LokiEncoder(labels, most).encode(request) for line in lines_of(push.data)]


def one(**log: Any) -> Line:
    (line,) = pushed(request_of(payload(log)))
    return line


def test_stream_is_service_and_environment_only() -> None:
    """Service and environment are labels, as Loki's OTLP endpoint names them; who the host is stands with every line."""
    (line,) = pushed(request_of(at(NOW, "hello")))
    assert line.stream == '{deployment_environment_name="prod", service_name="checkout"}'
    assert dict(line.metadata) == IDENTITY
    assert (line.line, line.time_ns) == ("hello", NOW)


def test_everything_of_a_record_arrives() -> None:
    """Severity, ids, flags, the event's name, both times and all attributes are there, under Loki's names."""
    line = one(
        time_unix_nano=NOW,
        observed_time_unix_nano=NOW + 5,
        severity_number=17,
        severity_text="ERROR",
        trace_id=bytes(range(16)),
        span_id=bytes(range(8)),
        flags=1,
        event_name="shipper.farewell",
        body="bye",
        attributes={
            "http.route": "/a",
            "n": 7,
            "share": 0.5,
            "whole": 2.0,
            "ok": True,
            "raw": b"\x00\xff",
            "list": [1, "b"],
            "map": {"a": {"b.c": "d"}},
            "1st": "x",
            "": "nameless",
            "empty": "",
        },
    )
    assert dict(line.metadata) == IDENTITY | {
        "observed_timestamp": str(NOW + 5),
        "severity_number": "17",
        "severity_text": "ERROR",
        "trace_id": bytes(range(16)).hex(),
        "span_id": bytes(range(8)).hex(),
        "flags": "1",
        "event_name": "shipper.farewell",
        "http_route": "/a",
        "n": "7",
        "share": "0.5",
        "whole": "2",
        "ok": "true",
        "raw": "AP8=",
        "list": '[1,"b"]',
        "map_a_b_c": "d",
        "key_1st": "x",
        "unnamed": "nameless",
    }


def test_a_name_that_is_taken_hides_nothing() -> None:
    """An attribute named as something that queries need, or as another attribute becomes, is kept under another name."""
    line = one(
        time_unix_nano=NOW,
        trace_id=bytes(range(16)),
        body="x",
        attributes={"trace_id": "theirs", "service_name": "me", "shipper.host": "h", "a.b": "1", "a_b": "2", "m": {}},
    )
    found = dict(line.metadata)
    assert len(found) == len(line.metadata)
    assert found["trace_id"] == bytes(range(16)).hex()
    assert found["shipper_host"] == "i-0abc"
    taken = {"trace_id": "theirs", "service_name": "me", "shipper_host": "h", "a_b": "2"}
    assert {name: found[f"{name}_extracted"] for name in taken} == taken
    assert found["a_b"] == "1"


def test_what_the_resource_says_is_not_said_twice() -> None:
    """An attribute that repeats one of the resource is one."""
    line = one(body="x", attributes={"shipper.life.id": LIFE, "service.name": "checkout", "n": 1})
    assert dict(line.metadata) == {**IDENTITY, "n": "1"}


def test_bodies_that_are_no_text() -> None:
    """A body that is no string is JSON; none at all is an empty line."""
    bodies = {"a": [1, None, b"x"]}, 5, None, True, 1.5
    assert [line.line for line in pushed(request_of(at(NOW, *bodies)))] == [
        '{"a":[1,null,"eA=="]}',
        "5",
        "",
        "true",
        "1.5",
    ]


def test_lines_that_were_written_twice_are_two() -> None:
    """Plain lines of a batch are numbered in nanoseconds, so that Loki, which keeps one of equal entries, has all."""
    lines = pushed(plain(["same", "other", "same"]))
    assert [(line.line, line.time_ns - NOW) for line in lines] == [("same", 0), ("other", 1), ("same", 2)]


def test_batches_observed_at_one_time_do_not_meet() -> None:
    """Numbers go on over the batches of a request that were observed at the same time, or nearly."""
    one, two, three = plain(["a", "a"]), plain(["a", "a"], NOW + 1), plain(["a"])
    lines = pushed(dataclasses.replace(one, batches=one.batches + two.batches + three.batches))
    assert [line.time_ns - NOW for line in lines] == [0, 1, 2, 3, 4]


def test_records_that_are_the_same_in_everything() -> None:
    """Of records with a time of their own only those that are equal to another in everything are moved, by a nanosecond."""
    same = {"time_unix_nano": NOW, "body": "a"}
    logs = [
        same,
        same,
        {**same, "body": "b"},
        same,
        {**same, "time_unix_nano": NOW + 1},
        {**same, "time_unix_nano": NOW + 9},
    ]
    lines = pushed(request_of(payload(*logs)))
    assert [(line.line, line.time_ns - NOW) for line in lines] == [
        ("a", 0), ("a", 1), ("b", 0), ("a", 2), ("a", 3), ("a", 9),
    ]  # fmt: skip


def test_a_resource_without_a_service() -> None:
    """A stream needs a label: it is the one that Loki itself would give."""
    (line,) = pushed(request_of(payload({"body": "x"}, resource={"host.name": "h"})))
    assert line.stream == '{service_name="unknown_service"}'


def test_labels_can_be_chosen() -> None:
    """Another label for an attribute leaves it in the metadata under its own name too; what has none of them is unknown."""
    (line,) = pushed(request_of(at(NOW, "x")), labels={"job": "service.name", "region": "cloud.region"})
    assert line.stream == '{job="checkout"}'
    assert dict(line.metadata)["service_name"] == "checkout"


def test_labels_with_any_characters() -> None:
    """Quotes, backslashes and line feeds in a value cannot break out of it."""
    assert selector({"a": 'x"}\\\n', "B": "é"}) == '{B="é", a="x\\"}\\\\\\n"}'
    # Go knows no pairs of surrogates, and Loki would refuse all of the stream
    assert selector({"a": "\U0001f680"}) == '{a="\U0001f680"}'


def test_pushes_are_bounded() -> None:
    """A request becomes several pushes of one stream each, in order; a large entry has one of its own."""
    lines = [f"{n:04}" + "x" * 100 for n in range(1000)] + ["y" * 5000, "end"]
    pushes = LokiEncoder(LABELS, 4096).encode(plain(lines))
    assert [line.line for push in pushes for line in lines_of(push.data)] == lines
    assert [push.entries for push in pushes] == [len(lines_of(push.data)) for push in pushes]
    assert all(push.size <= 4096 or push.entries == 1 for push in pushes)


def test_streams_are_apart() -> None:
    """Batches of two services are two pushes."""
    two = payload({"body": "b", "time_unix_nano": NOW}, resource={"service.name": "other"})
    pushes = LokiEncoder(LABELS, 1 << 20).encode(request_of(at(NOW, "a"), two, at(NOW, "c")))
    assert [[line.line for line in lines_of(push.data)] for push in pushes] == [["a", "c"], ["b"]]


def test_account_records_keep_their_attributes() -> None:
    """Birth and farewell are logs whose statement is in the metadata."""
    log = {"time_unix_nano": NOW, "event_name": "shipper.birth", "attributes": {"shipper.run": 1}}
    request = request_of(payload(log, scope="shipper.account"))
    batch = dataclasses.replace(request.batches[0], kind=StreamKind.LIFE)
    (line,) = pushed(dataclasses.replace(request, batches=(batch,)))
    assert {"scope_name": "shipper.account", "event_name": "shipper.birth", "shipper_run": "1"}.items() <= dict(
        line.metadata
    ).items()


@settings(max_examples=60)
@given(
    st.lists(st.binary(max_size=300).map(lambda raw: raw.decode("latin-1").encode()), max_size=300),
    st.integers(0, 2**63),
    st.text(max_size=40),
)
def test_what_is_written_is_read(lines: list[bytes], first_ns: int, value: str) -> None:
    """Any lines at any time, over the borders of seconds and of numbers, are read by the protobuf library as they were."""
    rest = metadata("name", value)
    pieces = [piece for piece, _ in plain_entries(lines, rest, first_ns)]
    push = Push.of(b'{a="b"}', pieces, len(lines))
    read = lines_of(push.data) if lines else []
    assert [(line.line.encode(), line.time_ns) for line in read] == [
        (line, first_ns + n) for n, line in enumerate(lines)
    ]
    assert all(line.metadata == ((("name", value),) if value else ()) for line in read)
    singles = [entry(line, rest, first_ns + n) for n, line in enumerate(lines)]
    assert b"".join(pieces) == b"".join(singles)
    assert [one.data for one in push.contents()] == singles
    assert [one.time_ns for one in push.contents()] == [first_ns + n for n in range(len(lines))]


def test_borders_of_seconds() -> None:
    """Numbers that run over a second, and over what two bytes hold, stay in order."""
    for first in (1_700_000_000_999_999_990, 1_700_000_000_000_016_380, 0):
        pieces = [piece for piece, _ in plain_entries([b"x"] * 40, b"", first)]
        assert [line.time_ns for line in lines_of(Push.of(b"{}", pieces).data)] == [first + n for n in range(40)]


def test_names() -> None:
    """Names are what Prometheus' translator makes of them."""
    given_names = ["service.name", "a..b", "9lives", "", "___", "é", "a-b c", "x" * 300]
    assert [loki_name(name) for name in given_names] == [
        "service_name", "a_b", "key_9lives", "unnamed", "unnamed", "unnamed", "a_b_c", "x" * 300,
    ]  # fmt: skip
    assert dict(flat({"a": {"b": {"c": 1}}, "d": None})) == {"a_b_c": "1", "d": ""}
    assert [loki_text(value) for value in (float("inf"), 1e300, 1e16, -0.25)] == [
        "inf",
        "1e+300",
        "10000000000000000",
        "-0.25",
    ]


def test_the_identity_is_there_for_every_kind_of_record() -> None:
    """Whatever a record is, the life it belongs to can be counted by."""
    requests = plain(["a"]), request_of(at(NOW, "b")), request_of(payload({"event_name": "e"}))
    for request in requests[1:]:
        assert all(dict(line.metadata)["shipper_life_id"] == RESOURCE["shipper.life.id"] for line in pushed(request))
