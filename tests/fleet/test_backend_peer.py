"""The questions of an audit are what Loki, OpenSearch and Elasticsearch themselves understand, and they count what was pushed."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.contracts import Exporter
from shipper.fleet.backend_audit import audit_backend
from shipper.fleet.backends import loki as asked_loki
from shipper.fleet.backends.elasticsearch import Elasticsearch as AskedElasticsearch
from shipper.fleet.backends.loki import Loki
from shipper.fleet.backends.model import Backend, Secrets
from shipper.fleet.questions import NoAnswer
from shipper_exporters.elasticsearch import ElasticsearchExporter, ElasticsearchSettings
from shipper_exporters.loki import LokiExporter, LokiSettings
from tests.exporters import test_loki_peer
from tests.exporters.search_nodes import Elasticsearch, Node, OpenSearch
from tests.fleet.backend_kit import HOUR, SECOND, birth, context, farewell, life, lines, push, spans, stream, text

pytestmark = [pytest.mark.peer]
BORN = time.time_ns() // SECOND * SECOND - HOUR
NUMBERS = range(1, 8)


@pytest.fixture(scope="module")
def loki() -> Iterator[str]:
    if not test_loki_peer.LOKI:
        pytest.skip("LOKI_BINARY names no Loki")
    with tempfile.TemporaryDirectory() as root:
        server = test_loki_peer.Loki(Path(root))
        try:
            server.until_it_takes()
            yield server.url
        finally:
            server.close()


@pytest.fixture(scope="module", params=[OpenSearch, Elasticsearch], ids=lambda kind: str(kind.name))
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    kind: type[Node] = request.param
    if not kind.home:
        pytest.skip(f"needs {kind.name.upper()}_HOME, a folder made by tests/peers/{kind.name}/assemble.sh")
    with kind(tmp_path_factory.mktemp(kind.name)) as running:
        yield running


def fill(exporter: Exporter, first: int, *, traces: bool = False) -> list[str]:
    """Push lives of which the second says more than there is, and the third less."""
    lives = [life(first + number, BORN) for number in NUMBERS]
    batches = []
    for number, one in enumerate(lives):
        said = [stream(50 + {1: 3, 2: -2}.get(number, 0) + 1)]
        batches += [birth(one, born=BORN), lines(one, 50, at_ns=BORN), text(one, "an error", at_ns=BORN)]
        if traces:
            batches.append(spans(one, 5, BORN))
            said.append(stream(5, signal="traces"))
        batches.append(farewell(one, *said, born=BORN))
    asyncio.run(push(exporter, batches, apart=True))
    return lives


def results(backend: Backend, lives: list[str]) -> list[tuple[str, int, int]]:
    """What is told of these lives' logs, in order."""
    report = audit_backend(backend, now_ns=time.time_ns())
    rows = {row.life.life: row.counts[0] for row in report.rows}
    return [(rows[one].result, rows[one].missing, rows[one].more) for one in lives]


EXPECTED = [("equal", 0, 0), ("missing", 3, 0), ("more", 0, 2), *[("equal", 0, 0)] * 4]


@pytest.mark.parametrize("protocol", ["push", "otlp"])
def test_loki(loki: str, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loki's counts, by whichever protocol records came, and over several pages and questions."""
    monkeypatch.setattr(asked_loki, "_LIMIT", 4)
    monkeypatch.setattr(asked_loki, "_LIVES", 3)
    settings = LokiSettings(endpoint=loki, tenant=test_loki_peer.TENANT, protocol=protocol)
    lives = fill(LokiExporter("main", settings, context()), {"push": 0, "otlp": 100}[protocol])
    assert results(Loki(loki, Secrets(), tenant=test_loki_peer.TENANT), lives) == EXPECTED


def test_loki_limits(loki: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer entries are asked for when Loki allows no more, and a tenant that is missing is said to be."""
    lives = fill(LokiExporter("main", LokiSettings(endpoint=loki, tenant="test"), context()), 200)
    monkeypatch.setattr(asked_loki, "_LIMIT", 6000)
    backend = Loki(loki, Secrets(), tenant="test")
    assert results(backend, lives) == EXPECTED
    assert backend._limit == 5000
    with pytest.raises(NoAnswer, match=r"answered 401: no org id .*--tenant"):
        results(Loki(loki, Secrets()), lives)
    with pytest.raises(NoAnswer, match="answered 400"):
        results(Loki(loki, Secrets(), tenant="test", selector='{a=""}'), lives)


def test_loki_between_two_days(loki: str) -> None:
    """An entry at the very moment at which one question ends and the next begins is counted once."""
    one = life(250, BORN)
    border = next(end for _, end in asked_loki._days(BORN - asked_loki._OLDEST, BORN) if end > BORN - 2 * HOUR)
    assert border == BORN - HOUR
    near = [text(one, f"at {n}", at_ns=border + n) for n in (-SECOND, -1, 0, 1, SECOND)]
    whole = [birth(one, born=BORN), *near, farewell(one, stream(5), born=BORN)]
    asyncio.run(push(LokiExporter("main", LokiSettings(endpoint=loki, tenant="test"), context()), whole))
    assert results(Loki(loki, Secrets(), tenant="test"), [one]) == [("equal", 0, 0)]


@pytest.mark.parametrize("mapping", ["ecs", "otel"])
def test_logs_and_spans(node: Node, mapping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts of logs and spans in both mappings, statements over several pages."""
    monkeypatch.setattr("shipper.fleet.backends.elasticsearch._PAGE", 3)
    settings = ElasticsearchSettings(endpoint=node.url, mapping=mapping)
    lives = fill(ElasticsearchExporter("main", settings, context()), {"ecs": 300, "otel": 400}[mapping], traces=True)
    node.call("POST", "/_refresh")
    backend = AskedElasticsearch(node.url, Secrets())
    assert results(backend, lives) == EXPECTED
    report = audit_backend(backend, now_ns=time.time_ns())
    spans_of = {row.life.life: (row.counts[1].result, row.counts[1].found) for row in report.rows}
    assert {spans_of[one] for one in lives} == {("equal", 5)}


def test_an_index_without_templates(node: Node) -> None:
    """In a plain index, whose fields nobody declared, too."""
    settings = ElasticsearchSettings(endpoint=node.url, index="plain-{signal}")
    lives = fill(ElasticsearchExporter("main", settings, context()), 500, traces=True)
    node.call("POST", "/_refresh")
    assert results(AskedElasticsearch(node.url, Secrets(), indexes=["plain-{signal}"]), lives) == EXPECTED
    assert results(AskedElasticsearch(node.url, Secrets(), indexes=["plain-*"]), lives) == EXPECTED
    assert audit_backend(AskedElasticsearch(node.url, Secrets(), indexes=["nothing"]), now_ns=time.time_ns()).rows == []
