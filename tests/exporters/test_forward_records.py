"""What a log record becomes in the forward protocol: its keys, its time, its tag, its id, and how messages are cut."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Batch, Cut, Prepared, Request, Signal
from shipper.errors import ConfigError, Rejected
from shipper.otlp.encode import LineEncoder, resource, scope
from shipper.testing.clock import START_WALL_NS
from shipper.testing.streams import LIFE, log_request
from shipper_exporters._forward.request import MESSAGE
from shipper_exporters.forward import ForwardExporter, ForwardSettings
from tests.exporters.fluent_server import Taken, check
from tests.exporters.log_kit import HOST, batch, context, payload, request
from tests.sources.forward_wire import pack


def exporter(**options: Any) -> ForwardExporter:
    return ForwardExporter("fluentd", ForwardSettings(endpoint="logs.example", **options), context())


def taken(prepared: Prepared) -> list[Taken]:
    """What a server makes of the messages of a request."""
    return [check(msgpack.unpackb(message.data, strict_map_key=False)) for message in prepared.body.messages]


def records(one: Request, **options: Any) -> list[dict[str, Any]]:
    """The records of a request, as a server sees them."""
    return [record for message in taken(exporter(**options).prepare(one)) for _, record in message.entries]


IDENTITY = {
    "service": "checkout",
    "release": "2.4.1",
    "environment": "production",
    "generation": "deploy-17",
    "host": "ip-10-0-1-17",
    "life": LIFE,
    "image": "ami-1",
    "resource": {"host.id": "i-0abc", "host.image.id": "ami-1"},
}


def test_everything_known_of_a_record_is_in_it() -> None:
    """Identity under short keys, then text, severity, event, trace context, logger and attributes; nothing is left out."""
    row = {
        "body": "paid",
        "time_unix_nano": START_WALL_NS + 7,
        "observed_time_unix_nano": START_WALL_NS + 9,
        "severity_number": 18,
        "attributes": {"order.id": 7, "nested": {"a": [1.5, None, b"\xff"]}},
        "trace_id": bytes(range(16)),
        "span_id": bytes(range(8)),
        "flags": 1,
        "event_name": "order.paid",
    }
    data = payload([row], scope="shop", version="1.0", scope_attributes={"team": "pay"})
    (message,) = taken(exporter().prepare(request((data, 1))))
    assert message.entries == [
        (
            START_WALL_NS + 7,
            IDENTITY
            | {
                "logger": "shop",
                "logger_version": "1.0",
                "scope": {"team": "pay"},
                "message": "paid",
                "severity": "ERROR2",
                "severity_number": 18,
                "event": "order.paid",
                "trace_id": bytes(range(16)).hex(),
                "span_id": bytes(range(8)).hex(),
                "trace_flags": 1,
                "attributes": {"order.id": 7, "nested": {"a": [1.5, None, b"\xff"]}},
            },
        )
    ]


def test_plain_lines_say_no_more_than_is_known() -> None:
    """A line has its text, when it was seen, and whose it is; by the fast way as by the slow one."""
    lines = ["", "short", "é" * 20, "x" * 31, "x" * 32, "x" * 255, "x" * 256, "x" * 65_535, "x" * 65_536]
    plain = LineEncoder(resource(HOST), scope("")).encode([line.encode() for line in lines], START_WALL_NS)
    slow = payload([{"body": line, "observed_time_unix_nano": START_WALL_NS} for line in lines])
    for data in (plain, slow):
        (message,) = taken(exporter().prepare(request((data, len(lines)))))
        assert message.entries == [(START_WALL_NS, IDENTITY | {"message": line}) for line in lines]


@pytest.mark.parametrize(
    ("attributes", "image"),
    [
        ({"container.image.repo_digests": ["shop@sha256:ab"], "oci.manifest.digest": "sha256:ab"}, "shop@sha256:ab"),
        ({"oci.manifest.digest": "sha256:ab", "container.image.name": "shop"}, "sha256:ab"),
        ({"container.image.name": "shop", "host.image.id": "ami-1"}, "shop"),
        ({"container.image.repo_digests": []}, None),
        ({"host.image.id": 7}, None),
    ],
)
def test_the_image_is_the_most_exact_name_that_is_known(attributes: dict[str, Any], image: str | None) -> None:
    """A digest before a name, a container's image before the machine's; all of it stays beside it."""
    (record,) = records(request((payload([{"body": "a"}], resource=attributes), 1)))
    assert record.get("image") == image
    assert record["resource"] == attributes


def test_keys_can_be_those_that_a_pipeline_expects() -> None:
    """The text under ``log`` as Docker has it, and an id that is the same whenever a record is sent again."""
    one = request(
        (payload([{"body": "a"}, {"body": "b"}]), 2), (payload([{"body": {"k": 1}, "severity_text": "E"}]), 1)
    )
    found = records(one, message_key="log", id_key="_id")
    assert [record["log"] for record in found] == ["a", "b", {"k": 1}]
    assert [record["_id"] for record in found] == [f"{LIFE}.file-1.{end}" for end in ("0.0", "0.1", "200.0")]
    assert found[2]["severity"] == "E"
    assert "severity_number" not in found[2]
    assert records(one, message_key="log", id_key="_id") == found


@pytest.mark.parametrize(
    ("template", "about", "tag"),
    [
        ("{service}.{source}", {}, "checkout.logs"),
        ("{service}.{source}", {"scope": "shop.cart"}, "checkout.logs"),
        ("{service}.{source}", {"scope": "shipper.journal"}, "checkout.journal"),
        (
            "{service}.{source}",
            {"scope": "shipper.file", "scope_attributes": {"log.file.name": "app one.log"}},
            "checkout.app_one.log",
        ),
        ("app.{environment}.{release}", {}, "app.production.2.4.1"),
        ("{generation}-{host}", {}, "deploy-17-ip-10-0-1-17"),
        ("plain", {}, "plain"),
        ("{service}", {"resource": {"service.name": "große Kasse"}}, "gro_e_Kasse"),
        ("{service}.{release}", {"resource": {}}, "unknown.unknown"),
    ],
)
def test_tags_are_made_of_the_identity(template: str, about: dict[str, Any], tag: str) -> None:
    """As fluent-logger's they are words with dots between; what has no place in a tag becomes an underscore."""
    (message,) = taken(exporter(tag=template).prepare(request((payload([{"body": "a"}], **about), 1))))
    assert message.tag == tag


def test_messages_are_cut_where_the_tag_changes_and_where_one_is_full() -> None:
    """Each has a chunk of its own, the same whenever the request is made again; no entry is lost or moved."""
    services = ["a", "a", "b", "a"]
    made = [payload([{"body": f"{n}"}], resource={"service.name": name}) for n, name in enumerate(services)]
    large = payload([{"body": f"{number}-" + "x" * 100_000} for number in range(60)])
    one = request(*((data, 1) for data in made), (large, 60))
    prepared = exporter(compression="none").prepare(one)
    found = taken(prepared)
    assert [message.tag for message in found[:4]] == ["a.logs", "b.logs", "a.logs", "checkout.logs"]
    assert [message.texts() for message in found[:3]] == [("0", "1"), ("2",), ("3",)]
    assert [text.split("-")[0] for message in found[3:] for text in message.texts()] == [str(n) for n in range(60)]
    assert len(found) > 5
    assert [message.chunk for message in found] == [f"{one.id}.{number}" for number in range(len(found))]
    assert all(len(message.data) < 6_144_000 for message in prepared.body.messages)
    assert exporter(compression="none").prepare(one) == prepared


def test_many_lines_are_cut_at_the_size_of_a_message() -> None:
    """No message is much larger than two megabytes before compression, and each says how many entries it has."""
    lines = [b"x" * 1000] * 10_000
    data = LineEncoder(resource(HOST), scope("")).encode(lines, START_WALL_NS)
    one = log_request(Batch(LIFE, "file-1", Signal.LOGS, Cut(0, 1, 0, 1, len(lines), START_WALL_NS), data))
    prepared = exporter(compression="none").prepare(one)
    assert all(len(message.data) <= MESSAGE + 1000 for message in prepared.body.messages)
    assert sum(len(message.entries) for message in taken(prepared)) == len(lines)
    assert prepared.wire_bytes == sum(len(message.data) for message in prepared.body.messages)
    small = exporter().prepare(one)
    assert small.wire_bytes < prepared.wire_bytes / 10
    assert all(message.compressed for message in taken(small))


def test_a_time_that_event_time_cannot_hold_stays_at_its_end() -> None:
    """Seconds have 32 bits; without any time it is zero, which Fluentd takes for now."""
    late = {"body": "a", "time_unix_nano": (1 << 62) + 5}
    (message,) = taken(exporter().prepare(request((payload([late, {"body": "b"}]), 2))))
    assert [when for when, _ in message.entries] == [((1 << 32) - 1) * 10**9 + 999_999_999, 0]


def test_what_is_no_otlp_is_refused() -> None:
    """It would never be taken, so it is set aside and counted."""
    with pytest.raises(Rejected, match=r"fluentd: not valid OTLP"):
        exporter().prepare(log_request(batch(b"\xff\xff\xff", 1)))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
rows = st.fixed_dictionaries(
    {},
    optional={
        "body": values,
        "attributes": st.dictionaries(st.text(max_size=8), values, max_size=20),
        "severity_number": st.integers(0, 30),
        "severity_text": st.text(max_size=8),
        "time_unix_nano": st.integers(0, 1 << 61),
        "event_name": st.text(max_size=8),
    },
)


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=1, max_size=5), st.dictionaries(st.text(max_size=8), values, max_size=20), st.booleans())
def test_any_record_comes_out_as_it_went_in(given_rows: list[Any], about: dict[str, Any], named: bool) -> None:
    """Whatever a record and its resource hold, what a server reads is that."""
    found = records(request((payload(given_rows, resource=about), len(given_rows))), id_key="id" if named else "")
    assert len(found) == len(given_rows)
    for row, record in zip(given_rows, found, strict=True):
        assert pack(record["message"]) == pack(row.get("body"))
        assert pack(record.get("attributes", {})) == pack(row.get("attributes", {}))
        assert pack(record.get("resource", {})) == pack(about)
        assert record.get("severity_number", 0) == row.get("severity_number", 0)
        assert record.get("event", "") == row.get("event_name", "")
        assert ("id" in record) is named


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tag": ""}, "tag: is no template such as {service}.{source}"),
        ({"tag": "{nonsense}"}, "tag: {nonsense} is not one of service, environment"),
        ({"tag": "{service"}, "tag: is no template"),
        ({"tag": "{}"}, "tag: is no template"),
        ({"tag": "{service!r}"}, "tag: is no template"),
        ({"tag": "{service:>9}"}, "tag: is no template"),
        ({"tag": "a b"}, "tag: has characters other than"),
        ({"message_key": ""}, "message_key: is empty"),
        ({"message_key": "host"}, "message_key: is a key that records have for something else: host"),
        ({"id_key": "event"}, "id_key: is a key that records have for something else: event"),
        ({"id_key": "message"}, "id_key: is the same as message_key"),
        ({"username": "u"}, "username: username and password_file are given together"),
        ({"password_file": "/p"}, "password_file: username and password_file are given together"),
        ({"username": "u", "password_file": "/p"}, "username: needs shared_key_file"),
    ],
)
def test_settings_that_cannot_work(options: dict[str, Any], words: str) -> None:
    """Each is refused before anything is sent, with the option and a sentence."""
    with pytest.raises(ConfigError) as caught:
        exporter(**options)
    assert str(caught.value).startswith(f"destinations.fluentd.{words}")
