"""A Splunk HTTP Event Collector for tests, on a real socket, as strict as the real one and faulty on request.

Written from public documentation: "HTTP Event Collector REST API endpoints", "Format events for HTTP Event Collector",
"About HTTP Event Collector Indexer Acknowledgment" and the table "Possible error codes" of "Troubleshoot HTTP Event
Collector" (https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data), and from what others saw of
Splunk Enterprise 10.4 and Splunk Cloud 10.5: of a batch the events before the one that is refused are indexed and none from
it on; ids of acknowledgements count from 0 in each channel, are answered with true once, and are gone after a restart.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import web

from shipper.testing.clock import FakeClock
from shipper.testing.http_server import HttpServer, break_off

TOKEN = "0f0e0d0c-1111-2222-3333-444455556666"
_HALF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
ENVELOPE = frozenset({"time", "host", "source", "sourcetype", "index", "event", "fields"})
TEXTS: Mapping[int, tuple[int, str]] = {
    0: (200, "Success"),
    1: (403, "Token disabled"),
    2: (401, "Token is required"),
    3: (401, "Invalid authorization"),
    4: (403, "Invalid token"),
    5: (400, "No data"),
    6: (400, "Invalid data format"),
    7: (400, "Incorrect index"),
    8: (500, "Internal server error"),
    9: (503, "Server is busy"),
    10: (400, "Data channel is missing"),
    11: (400, "Invalid data channel"),
    12: (400, "Event field is required"),
    13: (400, "Event field cannot be blank"),
    14: (400, "ACK is disabled"),
    15: (400, "Error in handling indexed fields"),
    16: (400, "Query string authorization is not enabled"),
    17: (200, "HEC is healthy"),
    18: (503, "HEC is unhealthy, queues are full"),
    19: (503, "HEC is unhealthy, ack service unavailable"),
    20: (503, "HEC is unhealthy, queues are full, ack service unavailable"),
    21: (400, "Invalid token"),
    22: (400, "Token disabled"),
    23: (503, "Server is shutting down"),
    24: (200, "HEC queue is approaching its capacity limit"),
    25: (200, "HEC ACK is approaching its capacity limit"),
    26: (429, "HEC queue is at capacity and cannot process any more requests"),
    27: (429, "HEC ACK channel is at capacity and cannot process any more requests"),
    28: (
        400,
        "Data channel is missing. If you have multiple indexers, sticky session load balancers must be provisioned",
    ),
}


async def time_passes(clock: FakeClock, server: HecServer) -> None:
    """While something waits to be asked for, and only then, let time pass, until cancelled."""
    while True:
        if server.unasked:
            await clock.run(0.25)
        await asyncio.sleep(0.001)


@dataclass(frozen=True)
class Say:
    """What the collector does with one request instead of what it should."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""  # "held", "never", "cut off", "hang up", "lie"


def code(number: int, *, headers: Mapping[str, str] | None = None, **more: object) -> Say:
    """The answer with a code, as documented; ``invalid`` is its invalid-event-number."""
    status, text = TEXTS[number]
    said: dict[str, object] = {"text": text, "code": number}
    if "invalid" in more:
        said["invalid-event-number"] = more.pop("invalid")
    return Say(status, json.dumps({**said, **more}).encode(), headers=headers or {})


@dataclass(frozen=True)
class Post:
    """One request with events, as it came."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    wire: bytes = field(repr=False)
    body: bytes = field(repr=False)


class HecServer(HttpServer):
    """The collector. ``indexed`` are its events, ``kept`` the requests that were taken whole, as `Post` and events."""

    def __init__(self, *, use_ack: bool = False) -> None:
        super().__init__()
        self.use_ack = use_ack
        self.indexing = True  # False: acknowledgements stay "false"
        self.durable = 0  # how many of ``indexed`` were on disk when ``hold`` was called
        self.indexes = {"", "main", "traces", "metrics"}
        self.max_content_length = 838_860_800
        self.refuses: Callable[[dict[str, Any]], int] = lambda event: 0  # a further reason to refuse an event
        self.answer: Say | None = None  # to every request with events
        self.ack_answer: Say | None = None
        self.health = code(17)
        self.cookie = ""
        self.posts: list[Post] = []
        self.kept: list[tuple[Post, list[dict[str, Any]]]] = []
        self.indexed: list[dict[str, Any]] = []
        self.raw: list[tuple[Mapping[str, str], str]] = []
        self.asked: list[tuple[str, list[int]]] = []
        self._script: deque[Say] = deque()
        self.swallowed = 0  # answers to questions that get lost on the way, with what they say
        self._given: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self._settled: set[tuple[str, int]] = set()  # ids of what is on disk, though all in all it is held
        self._next: dict[str, int] = defaultdict(int)
        self._unasked: dict[str, set[int]] = defaultdict(set)

    async def go_down(self) -> None:
        """Listen no more, and forget all acknowledgements, as a restart does."""
        self.forget()
        await super().go_down()

    def index(self) -> None:
        """All that was taken so far, and is taken from now on, is on disk, and acknowledged."""
        self.indexing = True
        self.durable = len(self.indexed)

    def hold(self) -> None:
        """From now on what is taken stays in memory."""
        self.durable = len(self.indexed)
        self.indexing = False

    def index_some(self, chosen: Callable[[], bool]) -> None:
        """Of what is held some is on disk now, in no order."""
        self._settled |= {one for one in self._given if one[1] in self._unasked[one[0]] and chosen()}

    def disk(self) -> list[dict[str, Any]]:
        """The events that a crash leaves."""
        if self.indexing:
            return self.indexed
        settled = {id(event) for one in self._settled for event in self._given[one]}
        return [*self.indexed[: self.durable], *(one for one in self.indexed[self.durable :] if id(one) in settled)]

    async def crash(self) -> None:
        """Lose what is not on disk, with all connections and acknowledgements, and come back."""
        self.lose()
        await self.go_down()
        await self.come_up()

    def lose(self) -> None:
        """What is not on disk is gone."""
        self.indexed = self.disk()
        self.durable = len(self.indexed)

    def forget(self) -> None:
        """As a restart does: ids begin anew."""
        self._next.clear()
        self._unasked.clear()
        self._given.clear()
        self._settled.clear()

    @property
    def unasked(self) -> bool:
        """Whether ids were given out that nobody has asked for since they are indexed."""
        return any(self._unasked.values())

    def script(self, *answers: Say) -> None:
        """The next requests with events get these, one each."""
        self._script.extend(answers)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        wire = await request.read()
        path = request.path
        if path in ("/services/collector/health", "/services/collector/health/1.0"):
            return _response(self.health)
        if not path.startswith("/services/collector/") or path.rpartition("/")[2] not in ("event", "raw", "ack"):
            return _response(Say(404, b'{"text":"The requested URL was not found on this server.","code":404}'))
        if request.method != "POST":
            return _response(Say(405, b'{"text":"The requested URL was not found on this server.","code":404}'))
        refusal = self._authorize(request)
        if path.endswith("/ack"):
            said = self.ack_answer or refusal or self._ack(request, wire)
            if self.swallowed:
                self.swallowed -= 1
                return break_off(request)
            return _response(said)
        say = self._script.popleft() if self._script else self.answer
        if say is not None and say.fault == "held":
            await self.held()
        elif say is not None:
            return await self._misbehave(say, request, wire)
        return _response(refusal or self._take(request, wire), self.cookie)

    def _authorize(self, request: web.BaseRequest) -> Say | None:
        given = request.headers.get("Authorization")
        if "token" in request.query:
            return code(16)
        if given is None:
            return code(2)
        if not given.startswith("Splunk "):
            return code(3)
        if given != f"Splunk {TOKEN}":
            return code(4)
        channel = request.headers.get("X-Splunk-Request-Channel") or request.query.get("channel", "")
        if not channel and (self.use_ack or request.path.endswith("/raw")):
            return code(10)
        try:
            UUID(channel or "00000000-0000-0000-0000-000000000000")
        except ValueError:
            return code(11)
        return None

    def _take(self, request: web.BaseRequest, wire: bytes) -> Say:
        encoding = request.headers.get("Content-Encoding", "")
        if encoding not in ("", "gzip"):
            return Say(415, b"<!doctype html><html><body>Unsupported Media Type</body></html>", "text/html")
        body = zlib.decompress(wire, 31) if encoding else wire
        post = Post(request.path, request.query.copy(), request.headers.copy(), wire, body)
        self.posts.append(post)
        if len(body) > self.max_content_length:
            size = f"Content-Length of {len(body)} too large (maximum is {self.max_content_length})"
            return Say(413, size.encode(), "text/plain")
        if not body.strip():
            return code(5)
        channel = request.headers.get("X-Splunk-Request-Channel", "")
        if request.path.endswith("/raw"):
            self.raw += [(post.query, line) for line in body.decode().split("\n") if line]
            self.kept.append((post, []))
            return self._success(channel)
        return self._events(post, channel)

    def _events(self, post: Post, channel: str) -> Say:
        text, decoder, at = post.body.decode(), json.JSONDecoder(), 0
        taken: list[dict[str, Any]] = []
        refused = 0
        while not refused and (at := _behind_space(text, at)) < len(text):
            try:
                event, at = decoder.raw_decode(text, at)
            except ValueError:
                refused = 6
                break
            refused = self._fault_of(event)
            if not refused:
                taken.append(event)
        self.indexed += taken
        if not refused:
            self.kept.append((post, taken))
            return self._success(channel, taken)
        number = len(taken) + (1 if refused == 7 else 0)
        more = {"ackId": self._new_id(channel, taken)} if self.use_ack and taken else {}
        return code(refused, invalid=number, **more)

    def _fault_of(self, event: Any) -> int:
        if not isinstance(event, dict) or not set(event) <= ENVELOPE:
            return 6
        if "event" not in event:
            return 12
        if event["event"] in (None, ""):
            return 13
        fields = event.get("fields", {})
        if not isinstance(fields, dict) or not all(map(_is_flat, fields.values())):
            return 15
        if "time" in event and not isinstance(event["time"], int | float):
            return 6
        if event.get("index", "") not in self.indexes:
            return 7
        return self.refuses(event)

    def _success(self, channel: str, taken: Sequence[dict[str, Any]] = ()) -> Say:
        return code(0, ackId=self._new_id(channel, taken)) if self.use_ack else code(0)

    def _new_id(self, channel: str, taken: Sequence[dict[str, Any]]) -> int:
        number = self._next[channel]
        self._given[channel, number] = list(taken)
        self._next[channel] += 1
        self._unasked[channel].add(number)
        return number

    def _ack(self, request: web.BaseRequest, wire: bytes) -> Say:
        if not self.use_ack:
            return code(14)
        channel = request.headers.get("X-Splunk-Request-Channel", "")
        ids = json.loads(wire)["acks"]
        self.asked.append((channel, ids))
        told = {
            one for one in ids if one in self._unasked[channel] and (self.indexing or (channel, one) in self._settled)
        }
        self._unasked[channel] -= told
        there = {str(one): one in told for one in ids}
        return Say(body=json.dumps({"acks": there}).encode())

    async def _misbehave(self, say: Say, request: web.BaseRequest, wire: bytes) -> web.StreamResponse:
        channel = request.headers.get("X-Splunk-Request-Channel", "")
        if say.fault == "never":
            await asyncio.Event().wait()
        if say.fault == "lie":
            return _response(self._success(channel))
        if say.fault == "cut off":
            self._take(request, wire)
            self._unasked[channel].clear()
        else:
            self.posts.append(Post(request.path, request.query.copy(), request.headers.copy(), wire, wire))
        if say.fault:
            return break_off(request, _HALF if say.fault == "cut off" else b"")
        return _response(say)


def _behind_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _is_flat(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str | int | float) for item in value)
    return isinstance(value, str | int | float)


def _response(say: Say, cookie: str = "") -> web.Response:
    headers = {"Content-Type": say.content_type, **say.headers}
    if cookie:
        headers["Set-Cookie"] = cookie
    return web.Response(status=say.status, body=say.body, headers=headers)
