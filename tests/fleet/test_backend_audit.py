"""Farewells beside the counts of backends that real exporters filled: equal, fewer, more, silent, and what cannot be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from shipper.contracts import Batch
from shipper.errors import ConfigError
from shipper.fleet.audit import Which
from shipper.fleet.backend_audit import audit_backend
from shipper.fleet.backends.datadog import Datadog
from shipper.fleet.backends.elasticsearch import Elasticsearch
from shipper.fleet.backends.loki import Loki
from shipper.fleet.backends.model import Backend, Secrets
from shipper.fleet.backends.report import BackendReport, Compared
from shipper.fleet.backends.splunk import Splunk
from shipper_exporters.datadog import DatadogExporter, DatadogSettings
from shipper_exporters.elasticsearch import ElasticsearchExporter, ElasticsearchSettings
from shipper_exporters.loki import LokiExporter, LokiSettings
from shipper_exporters.splunk import SplunkExporter, SplunkSettings
from tests.exporters.datadog_intake import KEY, Intake
from tests.exporters.fake_elastic import FakeElastic
from tests.exporters.loki_server import FakeLoki
from tests.exporters.splunk_hec import TOKEN, HecServer
from tests.fleet.backend_kit import (
    BORN,
    HOUR,
    NOW,
    SECOND,
    QueryServer,
    birth,
    context,
    farewell,
    life,
    lines,
    push,
    spans,
    stream,
    text,
)
from tests.fleet.backend_queries import APP_KEY, DatadogQueries, ElasticQueries, LokiQueries, SplunkQueries

A, B, C = life(1), life(2), life(3)


@dataclass
class Place:
    """A backend with a store: ``push`` fills it, ``lose`` takes records out again, ``backend`` asks it."""

    push: Callable[[Sequence[Batch]], None]
    lose: Callable[[str], None]
    server: QueryServer
    backend: Backend


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shipper.fleet.backends.elasticsearch._PAGE", 7)
    for kind in ("elasticsearch", "loki"):
        monkeypatch.setattr(f"shipper.fleet.backends.{kind}._LIVES", 5)
    monkeypatch.setenv("DD_API_KEY", KEY)
    monkeypatch.setenv("DD_APP_KEY", APP_KEY)
    monkeypatch.setenv("SPLUNK_HEC_TOKEN", TOKEN)


@contextmanager
def loki(tmp_path: Any, **settings: Any) -> Iterator[Place]:
    store = FakeLoki(NOW + 72 * HOUR)

    def fill(batches: Sequence[Batch]) -> None:
        async def go() -> None:
            async with store.sink() as sink:
                await push(LokiExporter("main", LokiSettings(endpoint=sink.url, **settings), context()), batches)

        asyncio.run(go())

    def lose(words: str) -> None:
        store.stored = [line for line in store.stored if words not in line.line]

    with QueryServer(LokiQueries(store, most=2)) as server:
        yield Place(fill, lose, server, Loki(server.url, Secrets()))


@contextmanager
def elastic(tmp_path: Any, **settings: Any) -> Iterator[Place]:
    store = FakeElastic()

    def fill(batches: Sequence[Batch]) -> None:
        async def go() -> None:
            async with store:
                made = ElasticsearchSettings(endpoint=store.url, **settings)
                await push(ElasticsearchExporter("main", made, context()), batches)

        asyncio.run(go())

    def lose(words: str) -> None:
        for index in store.indices.values():
            for one in [one for one, document in index.items() if words in str(document)]:
                del index[one]

    with QueryServer(ElasticQueries(store)) as server:
        yield Place(fill, lose, server, Elasticsearch(server.url, Secrets()))


@contextmanager
def splunk(tmp_path: Any, old: bool = False, **settings: Any) -> Iterator[Place]:
    store = HecServer()
    token = tmp_path / "token"
    token.write_text("search-token\n")

    def fill(batches: Sequence[Batch]) -> None:
        async def go() -> None:
            async with store:
                made = SplunkSettings(endpoint=store.url, acknowledgement=False, **settings)
                await push(SplunkExporter("main", made, context()), batches)

        asyncio.run(go())

    def lose(words: str) -> None:
        store.indexed = [event for event in store.indexed if words not in str(event["event"])]
        store.raw = [(query, line) for query, line in store.raw if words not in line]

    with QueryServer(SplunkQueries(store, old=old)) as server:
        yield Place(fill, lose, server, Splunk(server.url, Secrets(token_file=str(token))))


@contextmanager
def datadog(tmp_path: Any, parsed: bool = False) -> Iterator[Place]:
    store = Intake()

    def fill(batches: Sequence[Batch]) -> None:
        async def go() -> None:
            async with store:
                made = DatadogSettings(logs_endpoint=f"{store.url}/api/v2/logs")
                await push(DatadogExporter("main", made, context()), batches)

        asyncio.run(go())

    def lose(words: str) -> None:
        store.entries = [entry for entry in store.entries if words not in entry["message"]]

    with QueryServer(DatadogQueries(store, page=2, parsed=parsed)) as server:
        yield Place(fill, lose, server, Datadog(server.url, Secrets()))


PLACES = {
    "loki": loki,
    "elasticsearch, ECS": elastic,
    "elasticsearch, OTel": lambda path: elastic(path, mapping="otel"),
    "splunk": splunk,
    "splunk, raw, before 9": lambda path: splunk(path, old=True, api="raw"),
    "datadog": datadog,
    "datadog, which parsed them": lambda path: datadog(path, parsed=True),
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Place]:
    with PLACES[request.param](tmp_path) as made:
        yield made


def audited(place: Place, *, now_ns: int = NOW, **options: Any) -> BackendReport:
    return audit_backend(place.backend, now_ns=now_ns, **options)


def logs(report: BackendReport) -> dict[str, Compared]:
    """What was compared of each life's logs."""
    return {row.life.life: row.counts[0] for row in report.rows}


def test_nothing_is_missing(place: Place) -> None:
    """Counts that equal what each life says was acknowledged are equal; births and farewells are no records of a life."""
    place.push([birth(A), lines(A, 7), text(A, "an error"), farewell(A, stream(8))])
    place.push([birth(B), lines(B, 5), farewell(B, stream(5), stream(3, "metrics", signal="metrics"))])
    report = audited(place)
    assert {one: (row.result, row.acknowledged, row.found) for one, row in logs(report).items()} == {
        A: ("equal", 8, 8),
        B: ("equal", 5, 5),
    }
    assert report.ok
    assert [row.life.ended for row in report.rows] == ["drained", "drained"]


def test_something_is_missing(place: Place) -> None:
    """Records that the backend acknowledged and does not have any more are counted as missing, by life."""
    place.push([birth(A), lines(A, 7), farewell(A, stream(7)), birth(B), lines(B, 5), farewell(B, stream(5))])
    place.lose(f"line 3 of {A}")
    report = audited(place)
    assert not report.ok
    assert (logs(report)[A].result, logs(report)[A].missing, logs(report)[B].result) == ("missing", 1, "equal")
    assert report.totals() == {"acknowledged": 12, "pending": 0, "found": 11, "more": 0, "missing": 1}


def test_more_than_was_acknowledged(place: Place) -> None:
    """More than was acknowledged was sent again after doubt, or came when the life could not hear the answer any more."""
    place.push([birth(A), lines(A, 7), farewell(A, stream(5))])
    place.push([birth(B), lines(B, 7), farewell(B, stream(5, pending=3), outcome="expired")])
    found = logs(audited(place))
    assert (found[A].result, found[A].more, found[A].why) == ("more", 2, "2 more than acknowledged: resent after doubt")
    assert (found[B].result, found[B].why) == ("more", "arrived, though no answer came back in time")


def test_lives_without_a_farewell(place: Place) -> None:
    """A life that was born and said no farewell is not compared: it lives, or ended in silence; what is there is shown."""
    place.push([birth(A), lines(A, 4), birth(B, born=NOW - 10 * SECOND), lines(B, 3, at_ns=NOW - 10 * SECOND)])
    report = audited(place)
    rows = {row.life.life: (row.life.ended, row.counts[0].result, row.counts[0].why) for row in report.rows}
    assert rows == {
        A: ("silent", "not compared", "ended in silence: no farewell"),
        B: ("alive", "not compared", "alive, no farewell yet"),
    }
    assert (logs(report)[A].found, logs(report)[B].found) == (4, 3)
    assert report.ok


def test_a_later_run(place: Place) -> None:
    """A farewell that ended a run only, or that a later run followed, is the least that must be there."""
    place.push([birth(A), lines(A, 4), farewell(A, stream(4), ends_life=False)])
    place.push([birth(A, run=2, at_ns=BORN + 90 * SECOND), lines(A, 3, start=10)])
    found = logs(audited(place))[A]
    assert (found.result, found.acknowledged, found.found) == ("more", 4, 7)
    place.lose("line")
    assert logs(audited(place))[A].missing == 4


def test_heard_of_just_now(place: Place) -> None:
    """Backends show what they took a little later: of a life that ended within --silence fewer are no loss yet."""
    place.push([birth(A), lines(A, 4), farewell(A, stream(9))])
    soon = BORN + 100 * SECOND
    assert logs(audited(place, now_ns=soon))[A].result == "not yet"
    assert audited(place, now_ns=soon).ok
    assert logs(audited(place, now_ns=soon, silence=30))[A].result == "missing"


def test_older_than_what_is_kept(place: Place) -> None:
    """Where the birth is gone too, and no statement is as old as it, fewer records may be beyond retention: nobody can tell."""
    days = 3 * 24
    place.push([birth(A), lines(A, 4), farewell(A, stream(4), after=days * 3600)])
    place.lose("line")
    place.lose("notes")
    report = audited(place, now_ns=BORN + (days + 1) * HOUR)
    assert (logs(report)[A].result, report.ok) == ("cannot be told", True)


def test_a_life_from_before_the_window(place: Place) -> None:
    """Of a life that ended since --since its birth and records are found however old they are; others are not shown."""
    days = 3 * 24
    place.push([birth(A), lines(A, 4), farewell(A, stream(4), after=days * 3600)])
    place.push([birth(B), lines(B, 4), farewell(B, stream(9))])
    report = audited(place, now_ns=BORN + (days + 1) * HOUR, which=Which(since_ns=BORN + (days - 1) * HOUR))
    assert {one: row.result for one, row in logs(report).items()} == {A: "equal"}
    assert not report.rows[0].life.notes


def test_which_lives(place: Place) -> None:
    """Only the host or the life that is asked for is compared."""
    place.push([birth(A), farewell(A, stream(1)), birth(B), lines(B, 1), farewell(B, stream(1))])
    assert list(logs(audited(place, which=Which(host=f"host-{B[-4:]}")))) == [B]
    assert list(logs(audited(place, which=Which(life=A)))) == [A]


def test_spans_in_elasticsearch(tmp_path: Any) -> None:
    """Elasticsearch counts spans beside logs; their events, which lie among the logs, are no log records."""
    with elastic(tmp_path, mapping="otel") as place:
        place.push([birth(A), lines(A, 4), spans(A, 6), farewell(A, stream(4), stream(6, signal="traces"))])
        (row,) = audited(place).rows
        assert [(one.what, one.result, one.found) for one in row.counts] == [
            ("logs", "equal", 4),
            ("spans", "equal", 6),
        ]


def test_spans_in_splunk(tmp_path: Any) -> None:
    """Splunk does not tell spans from logs by its index: they are counted together."""
    with splunk(tmp_path) as place:
        place.push([birth(A), lines(A, 4), spans(A, 6), farewell(A, stream(4), stream(6, signal="traces"))])
        found = logs(audited(place))[A]
        assert (found.what, found.result, found.acknowledged) == ("logs and spans", "equal", 10)


def test_long_texts_in_datadog(tmp_path: Any) -> None:
    """A text that went as several logs counts once."""
    with datadog(tmp_path) as place:
        place.push([birth(A), text(A, "x" * 2_000_000), farewell(A, stream(1))])
        assert logs(audited(place))[A].result == "equal"


def test_loki_over_otlp_has_no_names_of_events(tmp_path: Any) -> None:
    """A statement is known by what it says, as Loki drops the names of events that come over OTLP."""
    with loki(tmp_path) as place:
        place.push([birth(A), lines(A, 4), farewell(A, stream(4))])
        queries = place.server.answer
        assert isinstance(queries, LokiQueries)
        for at, line in enumerate(queries._loki.stored):
            left = tuple(pair for pair in line.metadata if pair[0] != "event_name")
            queries._loki.stored[at] = type(line)(line.stream, line.time_ns, line.line, left)
        assert logs(audited(place))[A].result == "equal"


def test_the_way_in(tmp_path: Any) -> None:
    """Of several destinations it is the one called as the backend is; where that is not clear it has to be named."""
    with loki(tmp_path) as place:
        place.push([birth(A), lines(A, 4)])
        both = stream(4, "loki-eu")
        both["destinations"]["archive"] = {"read": 9, "acknowledged": 9}
        place.push([farewell(A, both)])
        assert (logs(audited(place))[A].destination, logs(audited(place))[A].result) == ("loki-eu", "equal")
        assert logs(audited(place, destination="archive"))[A].missing == 5
        found = logs(audited(place, destination="other"))[A]
        assert (found.result, found.why) == ("not compared", "it sent none to other")
        both["destinations"]["main"] = both["destinations"].pop("loki-eu")
        place.push([farewell(A, both, run=2, after=70)])
        with pytest.raises(ConfigError, match=r"--destination: is needed: .* sends to archive, main"):
            audited(place)


def test_a_gateway_is_not_compared(tmp_path: Any) -> None:
    """What a gateway says is about the records of others."""
    with loki(tmp_path) as place:
        place.push([birth(A, role="gateway"), farewell(A, stream(100), role="gateway")])
        found = logs(audited(place))[A]
        assert (found.result, found.why) == ("not compared", "carries the records of others")


def test_statements_that_cannot_be_read(tmp_path: Any) -> None:
    """One that was cut off, is of another version or names no life is said, and hides no other."""
    with splunk(tmp_path) as place:
        place.push([birth(A), lines(A, 1), farewell(A, stream(1)), birth(B, version=2), birth('" OR *', born=BORN)])
        queries = place.server.answer
        assert isinstance(queries, SplunkQueries)
        queries._hec.indexed.append({"event": '{"version":1,"li', "fields": {"otel.log.name": "shipper.farewell"}})
        report = audited(place)
        assert logs(report)[A].result == "equal"
        said = "\n".join(report.remarks)
        assert "of version 2" in said
        assert "is no life's id" in said
        assert "cut off" in said
        assert "TRUNCATE" in said


def test_more_lives_than_a_question_asks_for(place: Place) -> None:
    """However many lives there are, each is asked for once, and statements are read page by page."""
    many = [life(number) for number in range(1, 12)]
    place.push([batch for one in many for batch in (birth(one), lines(one, 1), farewell(one, stream(1)))])
    report = audited(place)
    assert len(report.rows) == 11
    assert {one.result for one in logs(report).values()} == {"equal"}
