"""Elasticsearch and OpenSearch, asked by ``_search``: https://www.elastic.co/docs/api/doc/elasticsearch/group/endpoint-search .

Statements are paged by their time: it takes no privilege beside ``read``, and works with all versions of both. Both mappings of the
exporter are known, and fields that are a keyword by template or, in an index without one, a text with ``.keyword`` beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shipper.errors import ConfigError
from shipper.fleet.backends.asking import Asker, Patience, authorization, in_path
from shipper.fleet.backends.model import EVENTS, Said, Secrets, Span
from shipper.fleet.questions import NoAnswer, short

INDEXES = ("{signal}-*",)
ECS_LIFE = "labels.shipper_life_id"
OTEL_LIFE = "resource.attributes.shipper.life.id"
ECS_SCOPE, OTEL_SCOPE = "log.logger", "scope.name"
ECS_EVENT, OTEL_EVENT = "event.action", "event_name"
SCOPE = "shipper.account"

_PAGE = 1000
_MOST = 10_000  # documents that one answer may have (index.max_result_window)
_LIVES = 100  # in one question
_MILLISECOND = 1_000_000
Query = dict[str, Any]


class Elasticsearch:
    """See `Backend`. ``indexes``: names or patterns, in which ``{signal}`` is ``logs`` or ``traces``."""

    usual: tuple[str, ...] = ("elastic", "opensearch")
    counted: Mapping[str, frozenset[str]] = {"logs": frozenset({"logs"}), "spans": frozenset({"traces"})}
    reach_ns = 0
    limits: tuple[str, ...] = (
        "Data points are not counted: several of them are one document.",
        "What retention deleted cannot be told from what never came.",
    )

    def __init__(
        self,
        url: str,
        secrets: Secrets,
        *,
        indexes: Sequence[str] = (),
        ca_file: str = "",
        patience: Patience | None = None,
    ) -> None:
        """Raises `ConfigError`."""
        self._indexes = tuple(indexes) or INDEXES
        for name in self._indexes:
            if not name.isprintable() or set(name) & set(' /\\?"<>|#,'):
                raise ConfigError("--index", f"{name[:80]!r} is no name of an index, nor a pattern such as logs-*")
        mend = "it wants --api-key-file, --token-file, or --username and --password-file, with the privilege to read"
        headers = authorization(secrets, key_variable="ELASTIC_API_KEY")
        self._asker = Asker(url, headers, option="--elasticsearch", mend=mend, ca_file=ca_file, patience=patience)
        self.name = f"Elasticsearch at {self._asker.url}"
        self.remarks: list[str] = []

    def statements(self, start_ns: int, end_ns: int) -> Iterator[Said]:
        """See `Backend.statements`."""
        seen: set[str] = set()
        at, size = start_ns // _MILLISECOND, _PAGE
        while True:
            hits = self._search("logs", _statements(at, end_ns // _MILLISECOND, size))["hits"]["hits"]
            for hit in hits:
                if hit["_id"] not in seen:
                    yield Said(_text(hit.get("_source") or {}))
            if len(hits) < size:
                return
            last = int(hits[-1]["sort"][0])
            if last == at and size == _MOST:
                raise NoAnswer(f"{self.name} has more statements of one moment than it lists ({size:,})")
            size = _MOST if last == at else _PAGE
            seen = {hit["_id"] for hit in hits if int(hit["sort"][0]) == last}
            at = last

    def counts(self, lives: Sequence[Span]) -> Mapping[str, Mapping[str, int]]:
        """See `Backend.counts`."""
        found: dict[str, dict[str, int]] = {life.life: {} for life in lives}
        for at in range(0, len(lives), _LIVES):
            some = [life.life for life in lives[at : at + _LIVES]]
            for what, signal, query in (("logs", "logs", _logs), ("spans", "traces", _spans)):
                filters = {life: query(life) for life in some}
                asked = {"size": 0, "aggs": {"lives": {"filters": {"filters": filters}}}}
                buckets = self._search(signal, asked).get("aggregations", {}).get("lives", {}).get("buckets", {})
                for life in some:  # none at all where no index has the name
                    found[life][what] = int(buckets.get(life, {}).get("doc_count", 0))
        return found

    def _search(self, signal: str, body: Query) -> dict[str, Any]:
        """A whole answer: without one from each shard the numbers would be too small. Raises `NoAnswer`."""
        indexes = ",".join(dict.fromkeys(name.replace("{signal}", signal) for name in self._indexes))
        path = f"/{in_path(indexes)}/_search?ignore_unavailable=true&allow_no_indices=true"
        said = self._asker.post(path, body)
        try:
            failed = said["_shards"]["failed"]
            _ = [(hit["_id"], int(hit["sort"][0])) for hit in said["hits"]["hits"]]
        except (KeyError, TypeError, ValueError, IndexError):
            raise NoAnswer(
                f"{self._asker.url} does not answer as Elasticsearch does: {short(json.dumps(said))!r}"
            ) from None
        if failed or said.get("timed_out"):
            why = short(json.dumps(said["_shards"].get("failures", "it ran out of time")))
            raise NoAnswer(f"{self.name} gave a part of its answer only: {why}")
        return said


def _statements(start_ms: int, end_ms: int, size: int) -> Query:
    time = {"gte": start_ms, "lte": end_ms, "format": "epoch_millis"}
    found = [_either(_is(ECS_EVENT, *EVENTS), _is(OTEL_EVENT, *EVENTS)), _account()]
    # In ns one index may have its times and in ms another: compared are milliseconds.
    order = {"@timestamp": {"order": "asc", "numeric_type": "date", "unmapped_type": "date"}}
    return {
        "size": size,
        "sort": [order],
        "_source": ["message", "body.text"],
        "query": {"bool": {"filter": [{"range": {"@timestamp": time}}, *found]}},
    }


def _logs(life: str) -> Query:
    """Log records of a life, not the statements; events of spans, which lie among them, were observed by nobody."""
    otel = {"bool": {"filter": [_is(OTEL_LIFE, life), {"exists": {"field": "observed_timestamp"}}]}}
    return {"bool": {"filter": [_either(_is(ECS_LIFE, life), otel)], "must_not": [_account()]}}


def _spans(life: str) -> Query:
    """Spans of a life: only they last."""
    only = [_is(OTEL_LIFE, life), {"exists": {"field": "duration"}}]
    return {"bool": {"filter": only, "must_not": [{"exists": {"field": "observed_timestamp"}}]}}


def _account() -> Query:
    return _either(_is(ECS_SCOPE, SCOPE), _is(OTEL_SCOPE, SCOPE))


def _is(field: str, *values: str) -> Query:
    return _either({"terms": {field: list(values)}}, {"terms": {f"{field}.keyword": list(values)}})


def _either(*queries: Query) -> Query:
    return {"bool": {"should": list(queries), "minimum_should_match": 1}}


def _text(source: Mapping[str, Any]) -> str:
    """The body of a record, in either mapping."""
    body = source.get("body")
    text = source.get("message") or (body.get("text") if isinstance(body, Mapping) else source.get("body.text"))
    return text if isinstance(text, str) else ""
