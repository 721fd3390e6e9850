"""The query sides of the fakes that exporters are tested with: strict about the questions, and with limits on answers.

They understand the questions that an audit asks and no others, by the rules of the real ones: LogQL of Loki 3 (log queries by page,
``count_over_time``), the query DSL of Elasticsearch, SPL of Splunk and the search syntax of Datadog.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from tests.exporters.datadog_intake import KEY, Intake
from tests.exporters.fake_elastic import FakeElastic
from tests.exporters.loki_server import FakeLoki, Line
from tests.exporters.splunk_hec import HecServer
from tests.fleet.backend_kit import Asked, Reply

APP_KEY = "a" * 40
_LOG_QUERY = re.compile(r'(\{.+?\}) \|~ `([^`]+)` \| scope_name="shipper\.account"')
_COUNT_QUERY = re.compile(
    r"sum by \(shipper_life_id\) \(count_over_time\((\{.+?\}) \| scope_name!=\"shipper\.account\" "
    r'\| shipper_life_id=~"([^"]*)" \[(\d+)s\]\)\)'
)
_LONGEST_S = 721 * 3600


class LokiQueries:
    """``/loki/api/v1`` of a `FakeLoki`; ``most``: entries that one answer may have."""

    def __init__(self, loki: FakeLoki, *, most: int = 5000, tenant: str = "") -> None:
        self._loki, self._most, self._tenant = loki, most, tenant

    def __call__(self, asked: Asked) -> Reply:
        if asked.headers.get("x-scope-orgid", "") != self._tenant:
            return Reply(401, b"no org id\n", {"Content-Type": "text/plain"})
        if asked.path == "/loki/api/v1/query_range":
            return self._entries(asked.query)
        if asked.path == "/loki/api/v1/query":
            return self._count(asked.query)
        return Reply(404, b"404 page not found\n", {"Content-Type": "text/plain"})

    def _entries(self, query: Mapping[str, str]) -> Reply:
        match = _LOG_QUERY.fullmatch(query["query"])
        if not match:
            return _text(400, f"parse error : {query['query']}")
        limit, start, end = int(query["limit"]), int(query["start"]), int(query["end"])
        assert query["direction"] == "forward"
        if limit > self._most:
            said = f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {self._most})"
            return _text(400, said)
        if end - start > _LONGEST_S * 10**9:
            return _text(400, "the query time range exceeds the limit (query length: 800h0m0s, limit: 30d1h)")
        found = [line for line in self._of(match[1]) if start <= line.time_ns < end and re.search(match[2], line.line)]
        found = [line for line in found if dict(line.metadata).get("scope_name") == "shipper.account"]
        found = sorted(found, key=lambda line: line.time_ns)[:limit]
        streams: dict[str, list[list[str]]] = {}
        for line in found:
            labels = json.dumps({**dict(line.metadata), "stream": line.stream})
            streams.setdefault(labels, []).append([str(line.time_ns), line.line])
        result = [{"stream": json.loads(labels), "values": values} for labels, values in streams.items()]
        return Reply(body={"status": "success", "data": {"resultType": "streams", "result": result, "stats": {}}})

    def _count(self, query: Mapping[str, str]) -> Reply:
        match = _COUNT_QUERY.fullmatch(query["query"])
        if not match:
            return _text(400, f"parse error : {query['query']}")
        if int(match[3]) > _LONGEST_S:
            return _text(400, "the query time range exceeds the limit (query length: 800h0m0s, limit: 30d1h)")
        end = int(query["time"])
        counts = Counter[str]()
        lives = re.compile(json.loads(f'"{match[2]}"'))
        for line in self._of(match[1]):
            known = dict(line.metadata)
            whose = known.get("shipper_life_id", "")
            inside = end - int(match[3]) * 10**9 <= line.time_ns < end
            if inside and known.get("scope_name") != "shipper.account" and lives.fullmatch(whose):
                counts[whose] += 1
        result = [{"metric": {"shipper_life_id": one}, "value": [end / 1e9, str(n)]} for one, n in counts.items()]
        return Reply(body={"status": "success", "data": {"resultType": "vector", "result": result, "stats": {}}})

    def _of(self, selector: str) -> Iterator[Line]:
        name, value = selector[1:-1].split("=~")
        wanted = re.compile(json.loads(value))
        for line in self._loki.stored:
            label = re.search(rf'{name}="([^"]*)"', line.stream)
            if label and wanted.fullmatch(label[1]):
                yield line


class ElasticQueries:
    """``_search`` of a `FakeElastic`, as far as filters, sorting by time and counting by named filters go."""

    def __init__(self, elastic: FakeElastic, key: str = "") -> None:
        self._elastic, self._key = elastic, key

    def __call__(self, asked: Asked) -> Reply:
        if self._key and asked.headers.get("authorization") != f"ApiKey {self._key}":
            reason = "missing authentication credentials for REST request"
            return Reply(401, {"error": {"type": "security_exception", "reason": reason}, "status": 401})
        match = re.fullmatch(r"/([^/]+)/_search", asked.path)
        assert match
        assert (asked.method, asked.headers["content-type"]) == ("POST", "application/json")
        patterns = [re.compile(name.replace(".", r"\.").replace("*", ".*")) for name in match[1].split(",")]
        documents = [
            (one, document)
            for name, indices in self._elastic.streams.items()
            if any(pattern.fullmatch(name) for pattern in patterns)
            for index in indices
            for one, document in self._elastic.indices.get(index, {}).items()
        ]
        return Reply(body=self._searched(asked.body, documents))

    def _searched(self, body: dict[str, Any], documents: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
        whole: dict[str, Any] = {"took": 1, "timed_out": False, "_shards": {"total": 1, "successful": 1, "failed": 0}}
        if "aggs" in body:
            filters = body["aggs"]["lives"]["filters"]["filters"]
            buckets = {
                name: {"doc_count": sum(_matches(query, document) for _, document in documents)}
                for name, query in filters.items()
            }
            return {**whole, "hits": {"hits": []}, "aggregations": {"lives": {"buckets": buckets}}}
        found = sorted((_ms(doc), one, doc) for one, doc in documents if _matches(body["query"], doc))[: body["size"]]
        hits = [{"_id": one, "_source": document, "sort": [at]} for at, one, document in found]
        return {**whole, "hits": {"hits": hits}}


def _ms(document: Mapping[str, Any]) -> int:
    """A time as Elasticsearch sorts by it with ``numeric_type: date``."""
    at = document["@timestamp"]
    return round(datetime.fromisoformat(at[:19] + "+00:00").timestamp()) * 1000 + int(at[20:23].ljust(3, "0") or 0)


def _matches(query: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    ((kind, given),) = query.items()
    if kind == "bool":
        assert set(given) <= {"filter", "must_not", "should", "minimum_should_match"}
        needed = given.get("minimum_should_match", 0)
        return (
            all(_matches(one, document) for one in given.get("filter", ()))
            and not any(_matches(one, document) for one in given.get("must_not", ()))
            and sum(_matches(one, document) for one in given.get("should", ())) >= needed
        )
    if kind == "terms":
        ((field, values),) = given.items()
        return _value(document, field) in values
    if kind == "exists":
        return _value(document, given["field"]) is not None
    assert kind == "range"
    limits = given["@timestamp"]
    assert limits["format"] == "epoch_millis"
    return bool(limits["gte"] <= _ms(document) <= limits["lte"])


def _value(document: Any, field: str) -> Any:
    """The value at a dotted name, whichever of its dots are in the names of members."""
    if not isinstance(document, Mapping):
        return None
    if field in document:
        return document[field]
    for name, inner in document.items():
        if field.startswith(f"{name}."):
            found = _value(inner, field[len(name) + 1 :])
            if found is not None:
                return found
    return None


class SplunkQueries:
    """``search/v2/jobs/export`` of a `HecServer`, or where that is unknown the path before it."""

    def __init__(self, hec: HecServer, *, old: bool = False) -> None:
        self._hec = hec
        self._path = f"/services/search/{'' if old else 'v2/'}jobs/export"
        self.messages: list[dict[str, str]] = []

    def __call__(self, asked: Asked) -> Reply:
        if asked.path != self._path:
            return Reply(404, {"messages": [{"type": "ERROR", "text": "Not Found"}]})
        if asked.headers.get("authorization") != "Bearer search-token":
            return Reply(401, {"messages": [{"type": "WARN", "text": "call not properly authenticated"}]})
        assert (asked.query["output_mode"], asked.query["preview"]) == ("json", "false")
        results = [{"preview": False, "offset": n, "result": row} for n, row in enumerate(self._found(asked.query))]
        lines: list[Mapping[str, Any]] = [*results, *({"preview": False, "messages": [one]} for one in self.messages)]
        return Reply(
            body="".join(json.dumps(line) + "\n" for line in lines or [{"preview": False, "lastrow": True}]).encode()
        )

    def _found(self, form: Mapping[str, str]) -> Iterator[dict[str, str]]:
        search = form["search"]
        if search.startswith("| tstats count where (index=*) "):
            assert search.endswith(' shipper.life.id=* NOT otel.scope.name="shipper.account" by shipper.life.id')
            fields = [event["fields"] for event in self._hec.indexed if "shipper.life.id" in event["fields"]]
            counts = Counter(
                one["shipper.life.id"] for one in fields if one.get("otel.scope.name") != "shipper.account"
            )
            yield from ({"shipper.life.id": life, "count": str(n)} for life, n in counts.items())
        elif search.endswith("| stats count"):
            match = re.fullmatch(
                r'search \(index=\*\) source="\*#([^"]+)" \| regex _raw!=(".*") \| stats count', search
            )
            assert match
            pattern = re.compile(re.sub(r"\\(.)", r"\1", match[2][1:-1]))
            raw = [text for query, text in self._hec.raw if query.get("source", "").endswith(f"#{match[1]}")]
            yield {"count": str(sum(not pattern.search(text) for text in raw))}
        else:
            assert search.startswith("search (index=*) ")
            assert search.endswith(" | fields _raw")
            names = set(re.findall(r"otel\.log\.name::([a-z.]+)", search))
            for event in self._hec.indexed:
                if event.get("fields", {}).get("otel.log.name") in names:
                    yield {"_raw": event["event"]}
            for query, text in self._hec.raw:
                if "#" in query.get("source", "") and any(name in text for name in names) and "event_name" in text:
                    yield {"_raw": text}


class DatadogQueries:
    """Search and aggregate of an `Intake`. ``parsed``: texts that are JSON became attributes, as Datadog makes it."""

    def __init__(self, intake: Intake, *, page: int = 1000, parsed: bool = False) -> None:
        self._intake, self._page, self._parsed = intake, page, parsed

    def __call__(self, asked: Asked) -> Reply:
        if (asked.headers.get("dd-api-key"), asked.headers.get("dd-application-key")) != (KEY, APP_KEY):
            return Reply(403, {"errors": ["Forbidden"]})
        query = asked.body["filter"]
        start, end = int(query["from"]), int(query["to"])
        found = [one for one in self._intake.entries if start <= one["timestamp"] < end and _asked(query["query"], one)]
        if asked.path == "/api/v2/logs/analytics/aggregate":
            assert asked.body["compute"] == [{"aggregation": "count", "type": "total"}]
            buckets = [{"by": {}, "computes": {"c0": len(found)}}] if found else []
            return Reply(body={"data": {"buckets": buckets}, "meta": {"status": "done"}})
        assert asked.path == "/api/v2/logs/events/search"
        first = int(asked.body["page"].get("cursor", 0))
        size = min(self._page, asked.body["page"]["limit"])
        some = sorted(found, key=lambda one: one["timestamp"])[first : first + size]
        meta: dict[str, Any] = {"status": "done"}
        if first + size < len(found):
            meta["page"] = {"after": str(first + size)}
        return Reply(
            body={"data": [{"id": "x", "type": "log", "attributes": self._shown(one)} for one in some], "meta": meta}
        )

    def _shown(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        attributes = {
            key: value for key, value in entry.items() if key not in ("message", "ddtags", "service", "hostname")
        }
        if not self._parsed:
            return {"message": entry["message"], "attributes": attributes, "tags": entry["ddtags"].split(",")}
        return {"attributes": {**attributes, **json.loads(entry["message"])}, "tags": entry["ddtags"].split(",")}


def _asked(query: str, entry: Mapping[str, Any]) -> bool:
    """Whether a log matches: terms ``name:value``, of attributes with @, of tags without, all of them needed."""
    tags = entry.get("ddtags", "").split(",")
    for term in re.findall(r"\S+:\([^)]*\)|\S+", query):
        wanted = not term.startswith("-")
        name, _, value = term.removeprefix("-").partition(":")
        if value.startswith(">"):
            found = int(entry.get(name[1:], 0)) > int(value[1:])
        elif name.startswith("@"):
            found = entry.get(name[1:]) in value.strip("()").split(" OR ")
        else:
            found = f"{name}:{value}" in tags
        if found is not wanted:
            return False
    return True


def _text(status: int, said: str) -> Reply:
    return Reply(status, said.encode(), {"Content-Type": "text/plain; charset=utf-8"})
