"""A stand-in for Elasticsearch and OpenSearch on a real socket: as strict as they are, and faulty on request.

It checks what the real ones check (media type, last line feed, actions and their parameters, length of ids, JSON), keeps data streams
with their backing indices, rolls them over, and finds an id only in the newest of them, as they do.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from shipper.testing.http_server import HttpServer, break_off

ES_8 = {
    "name": "one", "cluster_name": "c", "tagline": "You Know, for Search",
    "version": {"number": "8.17.1", "build_flavor": "default", "build_type": "docker"},
}  # fmt: skip
OPENSEARCH_2 = {
    "name": "one", "cluster_name": "c", "tagline": "The OpenSearch Project: https://opensearch.org/",
    "version": {"number": "2.19.1", "distribution": "opensearch", "build_type": "unknown"},
}  # fmt: skip
_HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"
_QUERY = {"filter_path", "pipeline", "refresh"}
Error = tuple[int, str, str]
"""Status, type and reason of what became of a document."""


@dataclass(frozen=True)
class Whole:
    """An answer to the next request as a whole. ``store``: what it brings is kept all the same."""

    status: int = 200
    body: bytes | Mapping[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    store: bool = False
    fault: str = ""  # "hang up" before the answer, "cut off" within it, "held" until `release`, "html"


@dataclass(frozen=True)
class Bulk:
    """A bulk request that was understood: the actions with their documents, and how it came."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    items: list[tuple[dict[str, Any], dict[str, Any]]]
    url: str = ""  # path and query, decoded by nobody
    wire: bytes = b""  # the body as it came

    @property
    def ids(self) -> list[str]:
        return [action.get("_id", "") for action, _ in self.items]


class FakeElastic(HttpServer):
    """``script``: answers to the next bulk requests in place of its own; ``answer``: to all of them from now on."""

    def __init__(self, product: Mapping[str, Any] = ES_8) -> None:
        super().__init__()
        self.product = product
        self.script: deque[Whole] = deque()
        self.answer: Whole | None = None
        self.judge: Callable[[str, dict[str, Any]], Error | None] = lambda index, document: None
        self.kept: list[Bulk] = []
        self.seen: list[Bulk] = []
        self.indices: dict[str, dict[str, dict[str, Any]]] = {}  # documents by id, by backing index
        self.streams: dict[str, list[str]] = {}
        self.reading_forbidden = False
        self.locked = False  # whoever comes is told to say who he is
        self.asked: list[str] = []  # paths of other requests

    def documents(self) -> list[dict[str, Any]]:
        """All documents, of all indices."""
        return [document for index in self.indices.values() for document in index.values()]

    def roll_over(self, stream: str) -> None:
        """The stream gets a new index to write to."""
        self.streams[stream].append(f".ds-{stream}-{len(self.streams[stream]) + 1:06d}")

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = wire = await request.read()
        if self.locked:
            return web.Response(status=401, text="who are you?")
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if not request.path.endswith("/_bulk"):
            self.asked.append(f"{request.method} {request.path}")
            return self._other(request, body)
        scripted = self.script.popleft() if self.script else self.answer
        bulk, wrong = self._understand(request, body, wire)
        if wrong is not None:
            return self._json(wrong[0], _error(*wrong))
        assert bulk is not None
        self.seen.append(bulk)
        if scripted is not None:
            return await self._scripted(request, bulk, scripted)
        return self._json(200, self._store(bulk))

    async def _scripted(self, request: web.BaseRequest, bulk: Bulk, said: Whole) -> web.StreamResponse:
        answer = self._json(200, self._store(bulk)) if said.store or said.fault == "cut off" else None
        if said.fault == "held":
            await self.held()
            return self._json(200, self._store(bulk))
        if said.fault == "lie":
            items = [{"create": {"_id": one, "status": 201}} for one in bulk.ids]
            return self._json(200, {"errors": False, "items": items})
        if said.fault == "html":
            return web.Response(
                status=said.status, text="<!DOCTYPE html><title>Sign in</title>", content_type="text/html"
            )
        if said.fault in ("hang up", "cut off"):
            return break_off(request, _HALF if said.fault == "cut off" else b"")
        if answer is not None and said.status == 200:
            return answer
        body = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
        return web.Response(status=said.status, body=body, headers=dict(said.headers) or None)

    def _understand(self, request: web.BaseRequest, body: bytes, wire: bytes) -> tuple[Bulk | None, Error | None]:
        allowed = _QUERY | ({"require_data_stream"} if self._elastic else set())
        if extra := set(request.query) - allowed:
            return None, (
                400,
                "illegal_argument_exception",
                f"request [/_bulk] contains unrecognized parameter: {extra}",
            )
        if request.headers.get("Content-Type") not in ("application/x-ndjson", "application/json"):
            return None, (406, "media_type_header_exception", "Content-Type header is not supported")
        if not body:
            return None, (400, "parse_exception", "request body is required")
        if not body.endswith(b"\n"):
            return None, (400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
        lines = body[:-1].split(b"\n")
        items = []
        for at in range(0, len(lines), 2):
            ((name, action),) = json.loads(lines[at]).items()
            known = {"_index", "_id"} | ({"dynamic_templates"} if self._elastic else set())
            if name != "create" or set(action) - known:
                return None, (400, "illegal_argument_exception", f"Malformed action/metadata line [{at + 1}]")
            if len(action.get("_id", "").encode()) > 512:
                return None, (400, "illegal_argument_exception", "id is too long, must be no longer than 512 bytes")
            items.append((action, _document(lines[at + 1])))
        return Bulk(request.path, dict(request.query), dict(request.headers), items, request.raw_path, wire), None

    def _store(self, bulk: Bulk) -> dict[str, Any]:
        self.kept.append(bulk)
        default = bulk.path.strip("/").split("/")[0]
        results = []
        for action, document in bulk.items:
            stream = action.get("_index", default)
            index = self.streams.setdefault(stream, [f".ds-{stream}-000001"])[-1]
            held = self.indices.setdefault(index, {})
            own = hashlib.md5(json.dumps(document, sort_keys=True).encode()).hexdigest()
            one = action.get("_id") or own
            error = (409, "version_conflict_engine_exception", "document already exists") if one in held else None
            error = error or self.judge(stream, document)
            if error is None:
                held[one] = document
                results.append({"create": {"_index": index, "_id": one, "status": 201, "result": "created"}})
            else:
                results.append(
                    {"create": {"_index": index, "_id": one, "status": error[0], **_error(*error, root=False)}}
                )
        return {"took": 3, "errors": any("error" in one["create"] for one in results), "items": results}

    def _other(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        if request.path == "/":
            return self._json(200, dict(self.product))
        if self.reading_forbidden:
            return self._json(403, _error(403, "security_exception", "action [...] is unauthorized"))
        if parts[0] == "_data_stream":
            if parts[1] not in self.streams:
                return self._json(404, _error(404, "index_not_found_exception", f"no such index [{parts[1]}]"))
            indices = [{"index_name": name} for name in self.streams[parts[1]]]
            return self._json(200, {"data_streams": [{"name": parts[1], "indices": indices}]})
        if parts[1:] == ["_mget"]:
            held = self.indices.get(parts[0], {})
            ids = json.loads(body)["ids"]
            return self._json(200, {"docs": [{"_index": parts[0], "_id": one, "found": one in held} for one in ids]})
        return self._json(400, _error(400, "illegal_argument_exception", f"no handler found for uri [{request.path}]"))

    @property
    def _elastic(self) -> bool:
        return "distribution" not in self.product["version"]

    def _json(self, status: int, body: Mapping[str, Any]) -> web.Response:
        headers = {"X-Elastic-Product": "Elasticsearch"} if self._elastic else None
        return web.json_response(dict(body), status=status, headers=headers)


def _document(line: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        assert len(found) == len(pairs), "Duplicate field"
        return found

    document: dict[str, Any] = json.loads(line, object_pairs_hook=once)
    assert "@timestamp" in document, "data stream timestamp field [@timestamp] is missing"
    return document


def _error(status: int, kind: str, reason: str, *, root: bool = True) -> dict[str, Any]:
    error = {"type": kind, "reason": reason}
    return {"error": {**error, "root_cause": [error]}, "status": status} if root else {"error": error}
