"""What each answer of Elasticsearch and OpenSearch means. The bodies are what they say: tried, or from their documentation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext, Signal
from shipper.errors import DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.elasticsearch import ElasticsearchExporter, ElasticsearchSettings
from tests.exporters.fake_elastic import OPENSEARCH_2, Error, FakeElastic, Whole

FLOOD = (
    "index [.ds-logs-generic-default-000001] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index "
    "has read-only-allow-delete block];"
)
BUSY = (
    "rejected execution of coordinating operation [coordinating_and_primary_bytes=104759862, replica_bytes=0, "
    "all_bytes=104759862, coordinating_operation_bytes=20862272, max_coordinating_and_primary_bytes=107374182]"
)


def context() -> ExporterContext:
    return ExporterContext(FakeClock(), LIFE, 1, "Shipper/1.2")


@asynccontextmanager
async def exporting(node: FakeElastic, **settings: Any) -> AsyncIterator[ElasticsearchExporter]:
    exporter = ElasticsearchExporter("es", ElasticsearchSettings(endpoint=node.url, **settings), context())
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def send(exporter: ElasticsearchExporter, *lines: str) -> Accepted:
    prepared = exporter.prepare(log_request(log_batch(lines or ("one", "two", "three"))))
    return await exporter.send(prepared, Deadline.after(exporter._context.clock, 600))


def error(status: int, kind: str, reason: str) -> Whole:
    return Whole(status, {"error": {"type": kind, "reason": reason, "root_cause": []}, "status": status})


@pytest.mark.parametrize(
    ("answer", "consequence", "words"),
    [
        (error(429, "es_rejected_execution_exception", BUSY), Retryable, "rejected execution"),
        (error(429, "circuit_breaking_exception", "[parent] Data too large"), Retryable, "Data too large"),
        (error(503, "cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/2/no master];"), Retryable, "no master"),
        (Whole(502, b"<html>Bad Gateway</html>"), Retryable, "502"),
        (Whole(200, b'{"errors": true, "items": [{"create": {"error": ' + b"[" * 100_000), Unusable, "no answer to a bulk"),
        (Whole(400, b'{"error": ' + b"[" * 100_000), Unusable, "400"),
        (Whole(504), Retryable, "504"),
        (Whole(408), Retryable, "408"),
        (error(403, "cluster_block_exception", "blocked by: [FORBIDDEN/6/cluster read-only (api)];"), Unusable, "read-only"),
        (error(429, "cluster_block_exception", FLOOD), Unusable, "flood-stage"),
        (error(401, "security_exception", "missing authentication credentials"), Unusable, "expired"),
        (error(403, "security_exception", "action [indices:data/write/bulk] is unauthorized"), Unusable, "create_doc"),
        (Whole(401, b"Unauthorized"), Unusable, "Unauthorized"),  # OpenSearch's security plugin
        (error(404, "index_not_found_exception", "no such index [logs-x-y]"), Unusable, "template"),
        (Whole(404, {"ok": False, "message": "Unknown deployment."}), Unusable, "Unknown deployment"),  # Elastic Cloud
        (Whole(400, {"error": "no handler found for uri [/x/logs/_bulk] and method [POST]"}), Unusable, "no handler"),
        (
            error(400, "illegal_argument_exception", "request [/_bulk] contains unrecognized parameter: [x]"),
            Unusable,
            "unrecognized parameter",
        ),
        (error(400, "illegal_argument_exception", "explicit index in bulk is not allowed"), Unusable, "explicit index"),
        (Whole(406, {"error": "Content-Type header [x] is not supported", "status": 406}), Unusable, "406"),
        (Whole(302, b"", {"Location": "https://login.example/"}), Unusable, "https://login.example/"),
        (Whole(fault="html"), Unusable, "no answer to a bulk request"),
        (Whole(403, fault="html"), Unusable, "web page"),
        (Whole(200, {"tagline": "You Know, for Search"}), Unusable, "no answer to a bulk request"),
        (Whole(200, {"errors": False}), Unusable, "no answer to a bulk request"),
        (Whole(200, {"errors": False, "items": [{"create": {"status": 201}}]}), Unusable, "1 documents where 3"),
        (Whole(200, {"errors": False, "items": [{"index": {"status": 201}}] * 3}), Unusable, "no answer to a bulk"),
        (Whole(200, {"errors": False, "items": [{"create": {"_id": "x", "status": 201}}] * 3}), Unusable, "another document"),
        (Whole(413, b"Request size exceeded 10485760 bytes"), TooLarge, "10485760"),  # AWS
        (Whole(413), TooLarge, "413"),
        (error(400, "action_request_validation_exception", "id [..] is too long"), Rejected, "too long"),
        (error(400, "parse_exception", "request body is required"), Rejected, "required"),
    ],
)  # fmt: skip
def test_answers_to_the_whole(answer: Whole, consequence: type[DeliveryError], words: str) -> None:
    """What passes is tried again, what a person can mend holds everything, and only a bulk answer to this request acknowledges."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            node.answer = answer
            with pytest.raises(consequence) as caught:
                await send(exporter)
            assert words in str(caught.value)
            assert len(str(caught.value)) < 500

    asyncio.run(scenario())


PARSING = (
    "failed to parse field [event.sequence] of type [long] in document with id 'x'. Preview of field's value: 'abc'"
)


@pytest.mark.parametrize(
    "judged",
    [
        (400, "mapper_parsing_exception", PARSING),
        (400, "document_parsing_exception", "[1:5] failed to parse: timestamp"),  # Elasticsearch 8.9 and later
        (400, "strict_dynamic_mapping_exception", "mapping set to strict, dynamic introduction of [x] is not allowed"),
        (
            400,
            "illegal_argument_exception",
            "Limit of total fields [1000] has been exceeded while adding new fields [1]",
        ),
        (400, "illegal_argument_exception", 'Document contains at least one immense term in field="x"'),
        (500, "fail_processor_exception", "no such service"),
        (500, "script_exception", "runtime error"),
        (
            400,
            "timestamp_error",
            "the document timestamp [1970-01-01T00:00:00.000Z] is outside of ranges of currently writable indices",
        ),
    ],
)
def test_documents_that_are_refused(judged: Error) -> None:
    """A document that does not fit is refused for good and counted, with the reason of the first; the others are stored."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            node.judge = lambda _, document: judged if document["message"] in ("two", "three") else None
            accepted = await send(exporter)
            assert accepted.rejected == 2
            assert judged[2][:40] in accepted.message
            assert accepted.message.startswith(f"2 x {judged[0]} {judged[1]}")
            assert [one["message"] for one in node.documents()] == ["one"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "judged",
    [
        (
            429,
            "es_rejected_execution_exception",
            "rejected execution of processing of [119310915][indices:data/write/bulk[s][p]]",
        ),
        (429, "circuit_breaking_exception", "[parent] Data too large"),
        (503, "unavailable_shards_exception", "[x][0] primary shard is not active Timeout: [1m]"),
        (503, "process_cluster_event_timeout_exception", "failed to process cluster event (put-mapping) within 30s"),
        (503, "cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];"),
        (500, "null_pointer_exception", "null"),
    ],
)
def test_documents_there_was_no_room_for(judged: Error) -> None:
    """Documents that could not be taken now are sent again, alone and with the ids they had, and then all are there once."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            prepared = exporter.prepare(log_request(log_batch(["one", "two", "three", "four"])))
            deadline = Deadline.after(exporter._context.clock, 600)
            node.judge = lambda _, document: judged if document["message"] in ("two", "four") else None
            for _ in range(2):
                with pytest.raises(Retryable, match=r"2 of [24] documents were not taken") as caught:
                    await exporter.send(prepared, deadline)
                assert judged[2][:30] in str(caught.value)
            node.judge = lambda _, document: None
            assert await exporter.send(prepared, deadline) == Accepted()
            assert [[document["message"] for _, document in bulk.items] for bulk in node.kept] == [
                ["one", "two", "three", "four"],
                ["two", "four"],
                ["two", "four"],
            ]
            assert node.kept[0].ids[1::2] == node.kept[2].ids
            assert sorted(one["message"] for one in node.documents()) == ["four", "one", "three", "two"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "judged",
    [
        (429, "cluster_block_exception", FLOOD),
        (403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];"),
        (403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)];"),
        (400, "index_closed_exception", "closed"),
        (404, "index_not_found_exception", "no such index [x] and [action.auto_create_index] contains [-x*]"),
        (404, "index_not_found_exception", "no such index [x] and the index creation request requires a data stream, but no matching"),
        (404, "resource_not_found_exception", "[require_data_stream] request flag is [true] and [x] is not a data stream"),
        (400, "document_parsing_exception", "[1:74] failed to parse: _id must be unset or set to [2tb] but was [abc]"),
        (400, "document_parsing_exception", "[1:32] Can't find dynamic template for dynamic template name [gauge_long]"),
        (403, "security_exception", "action [indices:admin/auto_create] is unauthorized for API key id [x]"),
        (400, "illegal_argument_exception", "pipeline with id [nix] does not exist"),
        (400, "illegal_argument_exception", "no write index is defined for alias [al]."),
        (400, "invalid_index_name_exception", "Invalid index name [Nope], must be lowercase"),
        (400, "validation_exception", "this action would add [2] shards, but ... [1000]/[1000] maximum normal shards open;"),
    ],
)  # fmt: skip
def test_what_a_person_can_mend(judged: Error) -> None:
    """A full disk, a closed index, a missing template or right: nothing is given up, and what was taken is not sent again."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            prepared = exporter.prepare(log_request(log_batch(["one", "two"])))
            deadline = Deadline.after(exporter._context.clock, 600)
            node.judge = lambda _, document: judged if document["message"] == "two" else None
            with pytest.raises(Unusable, match="1 of 2 documents were not taken") as caught:
                await exporter.send(prepared, deadline)
            assert judged[1] in str(caught.value)
            node.judge = lambda _, document: None
            assert await exporter.send(prepared, deadline) == Accepted()
            assert len(node.kept[-1].items) == 1
            assert len(node.documents()) == 2

    asyncio.run(scenario())


def test_what_is_there_already() -> None:
    """A document that is there under its id, from an attempt whose answer got lost, is as good as stored."""

    async def scenario() -> None:
        async with FakeElastic(OPENSEARCH_2) as node, exporting(node) as exporter:
            prepared = exporter.prepare(log_request(log_batch(["one", "two", "three"])))
            deadline = Deadline.after(exporter._context.clock, 600)
            node.script.extend([Whole(store=True, fault="hang up")] * 2)  # a kept connection is tried once more
            with pytest.raises(Retryable):
                await exporter.send(prepared, deadline)
            assert await exporter.send(prepared, deadline) == Accepted()
            assert len(node.seen) == 3
            assert len(node.documents()) == 3

    asyncio.run(scenario())


def test_an_outage_keeps_nothing() -> None:
    """A request that certainly did not get there is not remembered, and one that nobody knows of is."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            request = log_request(log_batch(["one"]), wall_ns=START_WALL_NS + 10**9)
            prepared, deadline = exporter.prepare(request), Deadline.after(exporter._context.clock, 600)
            await node.go_down()
            with pytest.raises(Retryable) as caught:
                await exporter.send(prepared, deadline)
            assert caught.value.unsent
            assert not exporter._unfinished._found
            await node.come_up()
            node.answer = Whole(fault="hang up")
            with pytest.raises(Retryable) as caught:
                await exporter.send(prepared, deadline)
            assert not caught.value.unsent
            assert exporter._unfinished._found

    asyncio.run(scenario())


def test_who_is_not_let_in_learns_nothing() -> None:
    """A refusal at the door says nothing of what is behind it: later metrics have the form that is wanted there."""

    async def scenario() -> None:
        async with FakeElastic() as node:
            node.locked = True
            async with exporting(node) as exporter:
                for signal in (Signal.METRICS, Signal.LOGS):
                    prepared = exporter.prepare(log_request(log_batch(["one"], signal=signal)))
                    for locked in (True, True, False):
                        node.locked = locked
                        deadline = Deadline.after(exporter._context.clock, 600)
                        if locked:
                            with pytest.raises(Unusable, match="401"):
                                await exporter.send(prepared, deadline)
                        else:
                            assert await exporter.send(prepared, deadline) == Accepted()
                assert exporter.describe().startswith("Elasticsearch 8.17")
                metrics, logs = (bulk.items[0][0] for bulk in node.kept)
                assert "dynamic_templates" in metrics
                assert "_id" in logs

    asyncio.run(scenario())


def test_a_document_that_got_no_id() -> None:
    """Where the destination makes the ids, one that it refused before that has none."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            error = {"type": "timestamp_error", "reason": "the document timestamp is outside of ranges"}
            item = {"create": {"_index": "metrics-generic.otel-default", "_id": None, "status": 400, "error": error}}
            node.answer = Whole(200, {"errors": True, "items": [item]})
            prepared = exporter.prepare(log_request(log_batch(["one"], signal=Signal.METRICS)))
            accepted = await exporter.send(prepared, Deadline.after(exporter._context.clock, 600))
            assert (accepted.rejected, "outside of ranges" in accepted.message) == (1, True)

    asyncio.run(scenario())


def test_the_failure_store() -> None:
    """A document that went to the failure store is not in the data stream, and counts as refused."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            prepared = exporter.prepare(log_request(log_batch(["one"])))
            one = node_id(prepared.body)
            item = {"create": {"_id": one, "status": 201, "failure_store": "used"}}
            node.answer = Whole(200, {"errors": False, "items": [item]})
            accepted = await exporter.send(prepared, Deadline.after(exporter._context.clock, 600))
            assert (accepted.rejected, "failure store" in accepted.message) == (1, True)

    asyncio.run(scenario())


def node_id(body: Any) -> str:
    ((_, one),) = body.ids(body.parts[0])
    return str(one)
