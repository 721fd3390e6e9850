"""However statements lie in time, and however small the pages are, each is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.fleet.backends.elasticsearch import Elasticsearch
from shipper.fleet.backends.loki import Loki
from shipper.fleet.backends.model import DAY, SECOND, Secrets
from tests.exporters.fake_elastic import FakeElastic
from tests.exporters.loki_server import FakeLoki, Line
from tests.fleet.backend_kit import BORN, Asked, Reply
from tests.fleet.backend_queries import ElasticQueries, LokiQueries

PAGE = 4
# At most three statements of a moment, as one page holds; some of them just where a day ends.
MOMENTS = st.dictionaries(
    st.one_of(st.integers(0, 3 * DAY // 1_000_000), st.sampled_from([86_399_999, 86_400_000, 86_400_001])),
    st.integers(1, PAGE - 1),
    max_size=20,
)


class Direct:
    """Asks without a network."""

    url = "direct"

    def __init__(self, queries: Callable[[Asked], Reply]) -> None:
        self._queries = queries

    def get(self, path: str, query: Mapping[str, object]) -> Any:
        return self._answer(Asked("GET", path, {key: str(value) for key, value in query.items()}, {}))

    def post(self, path: str, body: object) -> Any:
        path = path.partition("?")[0]
        return self._answer(Asked("POST", path, {}, {"content-type": "application/json"}, json.loads(json.dumps(body))))

    def _answer(self, asked: Asked) -> Any:
        reply = self._queries(asked)
        assert reply.status == 200, reply
        return reply.body


@settings(max_examples=60, deadline=None)
@given(MOMENTS)
def test_pages_of_loki(moments: dict[int, int]) -> None:
    """Days and pages end anywhere, also between statements of one moment."""
    store = FakeLoki(BORN)
    wanted = set()
    for at, count in moments.items():
        for number in range(count):
            line = f'{{"notes":[],"n":"{at}-{number}"}}'
            wanted.add(line)
            known = (("scope_name", "shipper.account"),)
            store.stored.append(Line('{service_name="a"}', BORN + at * 1_000_000, line, known))
    backend: Any = Loki("http://loki", Secrets())
    backend._asker, backend._limit = Direct(LokiQueries(store)), PAGE
    found = [said.body for said in backend.statements(BORN, BORN + 3 * DAY + SECOND)]
    assert set(found) == wanted
    assert len(found) == len(wanted)


@settings(max_examples=60, deadline=None)
@given(MOMENTS)
def test_pages_of_elasticsearch(moments: dict[int, int]) -> None:
    """The same with milliseconds, by which pages go on."""
    store = FakeElastic()
    documents = store.indices.setdefault("one", {})
    store.streams["logs-generic-default"] = ["one"]
    for at, count in moments.items():
        for number in range(count):
            when, rest = divmod(BORN // 1_000_000 + at, 1000)
            documents[f"{at}-{number}"] = {
                "@timestamp": f"{_utc(when)}.{rest:03d}{number:06d}Z",
                "message": f"{at}-{number}",
                "log": {"logger": "shipper.account"},
                "event": {"action": "shipper.birth"},
            }
    backend: Any = Elasticsearch("http://es", Secrets())
    backend._asker = Direct(ElasticQueries(store))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shipper.fleet.backends.elasticsearch._PAGE", PAGE)
        found = [said.body for said in backend.statements(BORN, BORN + 4 * DAY)]
    assert sorted(found) == sorted(documents)


def _utc(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
