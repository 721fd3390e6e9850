"""What records become: fields of the Elastic Common Schema, documents of the OpenTelemetry mapping, ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.contracts import Batch, Cut, Member, Request, Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.encode import AttributeValue
from shipper.otlp.jsonform import from_json
from shipper.otlp.rows import LogBlock, LogRow, Some, log_blocks
from shipper.testing.clock import START_WALL_NS
from shipper.testing.streams import LIFE, log_batch, log_payload, log_request
from shipper_exporters._elasticsearch.bulk import BulkBody
from shipper_exporters._elasticsearch.ecs import EcsLogs
from shipper_exporters._elasticsearch.ecs_fields import FIELDS, attributes
from shipper_exporters._elasticsearch.ecs_text import numbers, timestamp
from shipper_exporters._elasticsearch.logs import LogBodies
from shipper_exporters._elasticsearch.names import Targets
from shipper_exporters._elasticsearch.otel import OtelLogs
from shipper_exporters._elasticsearch.settings import ElasticsearchSettings
from shipper_exporters._jsoncolumns import json_texts

NOW = "2023-11-14T22:13:20.000000000Z"


class AsRows(LogBlock):
    """Plain lines that are given as rows all the same."""

    found: list[LogRow]

    def some(self) -> Iterator[Some]:
        yield Some(len(self.found), (), dict(enumerate(self.found)))


def block_of(log: dict[str, Any], **resource: str) -> LogBlock:
    """One record in OTLP's JSON form, with a resource."""
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in resource.items()]
    scope = {"scope": {"name": "app.db", "version": "3"}, "logRecords": [log]}
    document = {"resourceLogs": [{"resource": {"attributes": pairs}, "scopeLogs": [scope]}]}
    (block,) = log_blocks(from_json(Signal.LOGS, json.dumps(document).encode()))
    return block


def ecs(log: dict[str, Any], **resource: str) -> dict[str, Any]:
    ((document,),) = EcsLogs().documents(block_of(log, **resource), 7, START_WALL_NS)
    found: dict[str, Any] = json.loads(document)
    return found


def bodies(request: Request, **options: Any) -> tuple[BulkBody, list[tuple[dict[str, Any], dict[str, Any]]]]:
    """The body of a request, and its actions with their documents."""
    chosen = ElasticsearchSettings(endpoint="http://es:9200", compression="none", **options)
    body = LogBodies(chosen, Targets(chosen)).make(request)
    lines = [json.loads(line) for part in body.parts for line in part.data.splitlines()]
    return body, [(lines[at]["create"], lines[at + 1]) for at in range(0, len(lines), 2)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=5))
def test_texts_as_json_has_them(texts: list[str]) -> None:
    """Whatever is in a text, a JSON reader has it back, for plain lines and for those with line feeds among them."""
    made = json_texts([text.encode() for text in texts])
    assert [json.loads(b'"%b"' % text) for text in made] == texts


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=4))
def test_plain_lines_are_as_rows(texts: list[str]) -> None:
    """The fast way for plain lines and the way for any record make the same documents."""
    blocks = log_blocks(log_payload(texts))
    for block in blocks:
        assert block.lines is not None
        slow = AsRows(block.envelope, lines=block.lines, observed_ns=block.observed_ns)
        slow.found, slow.lines = list(block.rows()), None
        for maker in (EcsLogs({"x": 1}), OtelLogs({"x": 1})):
            fast = [json.loads(one) for one in chain.from_iterable(maker.documents(block, 3, 1))]
            assert fast == [json.loads(one) for one in chain.from_iterable(maker.documents(slow, 3, 1))]
            assert len(fast) == len(texts)


def test_times() -> None:
    """Times have nine digits after the second, and those that the type for nanoseconds has no room for are its last."""
    assert timestamp(START_WALL_NS + 1) == "2023-11-14T22:13:20.000000001Z"
    assert timestamp(0) == "1970-01-01T00:00:00.000000000Z"
    assert timestamp(2**64 - 1) == "2262-04-11T23:47:16.854775807Z"


def test_counting() -> None:
    """Numbers are those asked for, few or many, from 0 or from anywhere."""
    for start, count in ((0, 0), (0, 10_000), (5, 3), (9_999, 10_003), (123_456_789, 20_000)):
        made = [beginning + ending for beginning, endings in numbers(start, count) for ending in endings]
        assert made == [str(number).encode() for number in range(start, start + count)]


def test_identity_in_ecs() -> None:
    """Identity is where Kibana's users look for it, and what ECS has no field for is a label without dots."""
    resource = {
        "service.name": "shop", "service.version": "1.2", "deployment.environment.name": "prod", "host.id": "i-1",
        "host.name": "ip-10", "os.type": "linux", "cloud.region": "eu-1", "k8s.pod.name": "shop-1", "container.id": "c",
        "shipper.generation": "g7", "shipper.life.id": LIFE, "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.language": "python", "telemetry.sdk.version": "1.30", "telemetry.distro.name": "shipper",
    }  # fmt: skip
    document = ecs({"body": {"stringValue": "hi"}, "severityNumber": 18}, **resource)
    assert document == {
        "@timestamp": NOW,
        "message": "hi",
        "event": {"sequence": 7, "severity": 18},
        "log": {"level": "error", "logger": "app.db"},
        "service": {"name": "shop", "version": "1.2", "environment": "prod"},
        "host": {"id": "i-1", "name": "ip-10", "os": {"platform": "linux", "type": "linux"}},
        "cloud": {"region": "eu-1"},
        "kubernetes": {"pod": {"name": "shop-1"}},
        "container": {"id": "c"},
        "agent": {"name": "opentelemetry/python/shipper", "version": "1.30"},
        "labels": {"shipper_generation": "g7", "shipper_life_id": LIFE, "otel_scope_version": "3"},
        "ecs": {"version": "8.11.0"},
    }


def test_attributes_in_ecs() -> None:
    """An attribute is the ECS field of its meaning if it has that field's type, else a label; nothing is lost or in conflict."""
    given_attributes: dict[str, AttributeValue] = {
        "http.response.status_code": "404", "http.request.method": 5, "exception.type": "ValueError",
        "exception.stacktrace": "Traceback", "a": "1", "a.b": 2, "a_b": 2.5, "big": 2**63 - 1, "nan": float("nan"), "huge": 1e39,
        "yes": True, "none": None, "raw": b"\xff", "list": ["x", 1, {"y": 2}],
        "map": {"k.1": "v", "deep": {"n": 1}, "empty": {}}, "host.ip": ["10.0.0.1", "::1"], "thread.name": "main",
    }  # fmt: skip
    document: dict[str, Any] = {}
    attributes(document, given_attributes.items())
    assert document == {
        "http": {"response": {"status_code": 404}},
        "error": {"type": "ValueError", "stack_trace": "Traceback"},
        "host": {"ip": ["10.0.0.1", "::1"]},
        "process": {"thread": {"name": "main"}},
        "labels": {
            "a": "1", "nan": "nan", "huge": "1e+39", "yes": "true", "raw": "/w==", "list": ["x", "1", '{"y":2}'], "map_k_1": "v",
        },
        "numeric_labels": {
            "http_request_method": 5, "a_b": 2, "a_b_": 2.5, "big": 2**63 - 1, "map_deep_n": 1,
        },
    }  # fmt: skip
    mixed: dict[str, Any] = {}
    attributes(mixed, {"host.ip": ["10.0.0.1", "no address"]}.items())
    assert mixed == {"labels": {"host_ip": ["10.0.0.1", "no address"]}}


def test_no_field_is_within_another() -> None:
    """No ECS field that is written is also an object that another lies in."""
    paths = {path for path, _ in FIELDS.values()} | {
        "message",
        "@timestamp",
        "event.sequence",
        "log.level",
        "ecs.version",
    }
    assert not [(one, other) for one in paths for other in paths if other.startswith(f"{one}.")]


def test_attributes_without_a_name() -> None:
    """A name of blanks, for which a whole document would be refused, is another one, in whatever depth."""
    inner = {"kvlistValue": {"values": [{"key": "", "value": {"intValue": "1"}}]}}
    given = [
        {"key": "", "value": {"stringValue": "a"}},
        {"key": " .", "value": {"stringValue": "b"}},
        {"key": "_", "value": {"stringValue": "c"}},
        {"key": "in", "value": inner},
        {"key": "list", "value": {"arrayValue": {"values": [inner]}}},
    ]
    log = {"body": inner, "attributes": given}
    (document,) = [one for some in OtelLogs({}).documents(block_of(log), 0, 1) for one in some]
    found = json.loads(document)
    assert found["attributes"] == {"__": "a", "___": "b", "_": "c", "in": {"_": 1}, "list": [{"_": 1}]}
    assert found["body"] == {"structured": {"_": 1}}
    labels = ecs(log)["labels"]
    assert sorted(value for name, value in labels.items() if not name.strip("_ ")) == ["a", "b", "c"]


def test_an_attribute_named_as_the_life() -> None:
    """What an audit counts by is what the host says, whatever a record says."""
    log = {"body": {"stringValue": "x"}, "attributes": [{"key": "shipper.life.id", "value": {"stringValue": "forged"}}]}
    labels = ecs(log, **{"shipper.life.id": LIFE})["labels"]
    assert labels == {"shipper_life_id": LIFE, "shipper_life_id_": "forged", "otel_scope_version": "3"}


@pytest.mark.parametrize(
    ("body", "text", "structured"),
    [
        ({"stringValue": "x"}, "x", None),
        ({"intValue": "5"}, "5", None),
        ({"boolValue": True}, "true", None),
        ({"bytesValue": "/w=="}, "/w==", None),
        ({"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}}, '{"a":1}', {"a": 1}),
        ({"arrayValue": {"values": [{"stringValue": "x"}]}}, '["x"]', {"value": ["x"]}),
    ],
)
def test_bodies_of_any_type(body: dict[str, Any], text: str, structured: object) -> None:
    """A body that is no text is one in ECS, and keeps its structure in the OpenTelemetry mapping."""
    log = {"body": body, "timeUnixNano": "1700000000000000000", "eventName": "cart.emptied"}
    document = ecs(log)
    assert (document["message"], document["event"]["action"]) == (text, "cart.emptied")
    ((made,),) = OtelLogs({}).documents(block_of(log), 0, 0)
    expected = {"text": text} if structured is None else {"structured": structured}
    assert (json.loads(made)["body"], json.loads(made)["event_name"]) == (expected, "cart.emptied")


def test_ids() -> None:
    """An id is where the record stood: life, stream, the batch's start, and its number in the batch."""
    request = log_request(log_batch(["a", "b"], stream="s1", start=40), log_batch(["c"], stream="s2"))
    body, items = bodies(request)
    expected = [f"{LIFE}.s1.40.0", f"{LIFE}.s1.40.1", f"{LIFE}.s2.0.0"]
    assert [action for action, _ in items] == [{"_id": one} for one in expected]
    assert [one for _, one in body.ids(body.parts[0])] == expected
    assert [document["event"]["sequence"] for _, document in items] == [40, 41, 0]
    assert body.index == "logs-generic-default"
    long = log_request(log_batch(["a"], stream="s" * 600))
    assert len(bodies(long)[1][0][0]["_id"].encode()) < 512


def test_ids_of_what_a_relay_carries() -> None:
    """Records of another host have the ids that it would have given them, whichever way they come."""
    first, second = log_payload(["a", "b"]), log_payload(["c"])
    members = (
        Member("other", "s9", 70, 90, 2, 0, len(first), 0),
        Member("third", "s1", 0, 9, 1, len(first), len(second), 0),
    )
    batch = Batch(LIFE, "spool", Signal.LOGS, Cut(0, 30, 0, 30, 3, START_WALL_NS), first + second, members=members)
    _, items = bodies(log_request(batch))
    assert [(action["_id"], document["message"]) for action, document in items] == [
        ("other.s9.70.0", "a"), ("other.s9.70.1", "b"), ("third.s1.0.0", "c"),
    ]  # fmt: skip


def test_what_a_relay_took_from_strangers_is_sent() -> None:
    """Records that lie between those of hosts belong to nobody, and go with ids of the relay's own, none of them twice."""
    parts = [log_payload([text]) for text in ("stranger", "mine", "another", "yours", "last")]
    at = [0]
    for part in parts:
        at.append(at[-1] + len(part))
    members = (
        Member("third", "s1", 0, 9, 1, at[3], len(parts[3]), 0),
        Member("other", "s9", 70, 90, 1, at[1], len(parts[1]), 0),
    )
    batch = Batch(LIFE, "spool", Signal.LOGS, Cut(50, 900, 50, 900, 5, 0), b"".join(parts), members=members)
    body, items = bodies(log_request(batch))
    assert body.records == 5
    assert [(action["_id"], document["message"]) for action, document in items] == [
        (f"{LIFE}.spool.50.0", "stranger"), ("other.s9.70.0", "mine"), (f"{LIFE}.spool.{50 + at[2]}.0", "another"),
        ("third.s1.0.0", "yours"), (f"{LIFE}.spool.{50 + at[4]}.0", "last"),
    ]  # fmt: skip


def test_several_requests() -> None:
    """What is more than one request should be is cut at documents, and a document larger than that goes alone."""
    lines = ["x" * 20_000 for _ in range(10)] + ["y" * 100_000] + ["z"]
    body, items = bodies(log_request(log_batch(lines)), max_body_bytes=65536)
    assert [(part.first, part.count) for part in body.parts] == [(0, 3), (3, 3), (6, 3), (9, 1), (10, 1), (11, 1)]
    assert [document["message"] for _, document in items] == lines
    assert [one for part in body.parts for _, one in body.ids(part)] == [f"{LIFE}.file-1.0.{n}" for n in range(12)]
    picked = body.pick(body.parts[1], [5, 3]).splitlines()
    assert [json.loads(line)["create"]["_id"] for line in picked[::2]] == [f"{LIFE}.file-1.0.{n}" for n in (3, 5)]


def test_names_of_the_record() -> None:
    """A data stream may be named after the record's resource; what no name can have is replaced."""
    message = ExportLogsServiceRequest()
    for service in ("Shop-API/v1", "", "cart"):
        resource = message.resource_logs.add()
        resource.resource.attributes.add(key="service.name").value.string_value = service
        resource.scope_logs.add().log_records.add().body.string_value = "x"
    batch = Batch(LIFE, "s", Signal.LOGS, Cut(0, 9, 0, 9, 3, START_WALL_NS), message.SerializeToString())
    body, items = bodies(log_request(batch), dataset="{service.name}", namespace="eu")
    assert [action["_index"] for action, _ in items] == ["logs-shop_api_v1-eu", "logs-unknown-eu", "logs-cart-eu"]
    assert items[0][1]["data_stream"] == {"type": "logs", "dataset": "shop_api_v1", "namespace": "eu"}
    assert body.index == ""
    body, items = bodies(log_request(batch), index="old-{signal}")
    assert (body.index, "data_stream" in items[0][1], items[0][0]) == ("old-logs", False, {"_id": f"{LIFE}.s.0.0"})


def test_what_is_no_otlp() -> None:
    """Bytes that are no OTLP are said to be none."""
    batch = Batch(LIFE, "s", Signal.LOGS, Cut(0, 9, 0, 9, 3, START_WALL_NS), b"\x0a\x05no")
    with pytest.raises(MalformedOtlp):
        bodies(log_request(batch))
