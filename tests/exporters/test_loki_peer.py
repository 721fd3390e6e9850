"""Round trips through Loki itself: N distinct records in, N out, all fields equal, once; and its own answers to the rest.

``LOKI_BINARY`` names a Loki (3.x; it builds from the Go module ``github.com/grafana/loki/v3``, package ``cmd/loki``).
What Loki does is checked here too where the exporter is built on it: should it change, this says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cramjam
import pytest

from shipper.clock import SystemClock
from shipper.contracts import Accepted, Request
from shipper.errors import Rejected, Retryable, Unusable
from shipper.otlp.wire import field
from shipper.testing.streams import LIFE, log_payload
from shipper_exporters._loki.wire import entry
from tests.e2e.kit import free_port, until
from tests.exporters.loki_kit import RESOURCE, at, exporting, payload, request_of, send
from tests.exporters.loki_server import HOUR, SECOND

LOKI = os.environ.get("LOKI_BINARY", "")
pytestmark = [pytest.mark.peer, pytest.mark.skipif(not LOKI, reason="LOKI_BINARY names no Loki")]
TENANT, SLOW = "test", "slow"


class Loki:
    """A Loki of several tenants with its data in a directory of its own."""

    def __init__(self, root: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        limits = {"max_line_size": 10_000, "reject_old_samples_max_age": "168h", "max_structured_metadata_size": 2000}
        slow = {
            "per_stream_rate_limit": "2KB",
            "per_stream_rate_limit_burst": "4KB",
            "shard_streams": {"enabled": False},
        }
        (root / "overrides.json").write_text(json.dumps({"overrides": {SLOW: slow}}))
        config = {
            "auth_enabled": True,
            "server": {
                "http_listen_address": "127.0.0.1",
                "http_listen_port": self.port,
                "grpc_listen_address": "127.0.0.1",
                "grpc_listen_port": free_port(),
                "log_level": "error",
            },
            "common": {
                "instance_addr": "127.0.0.1",
                "path_prefix": str(root),
                "replication_factor": 1,
                "ring": {"kvstore": {"store": "inmemory"}},
                "storage": {"filesystem": {"chunks_directory": f"{root}/c", "rules_directory": f"{root}/r"}},
            },
            "schema_config": {
                "configs": [
                    {
                        "from": "2020-10-24",
                        "store": "tsdb",
                        "object_store": "filesystem",
                        "schema": "v13",
                        "index": {"prefix": "i_", "period": "24h"},
                    }
                ]
            },
            "limits_config": limits,
            "runtime_config": {"file": str(root / "overrides.json")},
            "analytics": {"reporting_enabled": False},
        }
        (root / "loki.json").write_text(json.dumps(config))
        self._process = subprocess.Popen(
            [LOKI, f"-config.file={root}/loki.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def until_it_takes(self) -> None:
        """Wait until a push is answered as one."""
        hello = _push((b'{service_name="hello"}', [entry(b"x", b"", time.time_ns())]))
        asyncio.run(until(lambda: self.post(hello)[0] == 204, "a push is taken"))

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)

    def post(self, body: bytes, path: str = "/loki/api/v1/push") -> tuple[int, str]:
        """What is answered to a body."""
        headers = {"Content-Type": "application/x-protobuf", "X-Scope-OrgID": TENANT}
        asked = urllib.request.Request(self.url + path, body, headers)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def found(self, service: str, tenant: str = TENANT, more: str = "") -> list[tuple[int, str, dict[str, str], str]]:
        """Time, line, structured metadata, and the label for late ones, of all a service has; in order of time."""
        now = time.time_ns()
        query = {
            "query": f'{{service_name="{service}"}}{more}',
            "limit": "5000",
            "start": str(now - 48 * HOUR),
            "end": str(now + HOUR),
            "direction": "forward",
        }
        headers = {"X-Scope-OrgID": tenant, "X-Loki-Response-Encoding-Flags": "categorize-labels"}
        asked = urllib.request.Request(
            f"{self.url}/loki/api/v1/query_range?{urllib.parse.urlencode(query)}", None, headers
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            streams = json.load(answer)["data"]["result"]
        return sorted(
            (
                int(time_ns),
                line,
                said[0].get("structuredMetadata", {}) if said else {},
                stream["stream"].get("shipper_late", ""),
            )
            for stream in streams
            for time_ns, line, *said in stream["values"]
        )

    def count(self, service: str) -> int:
        """As a metric query has it."""
        query = {
            "query": f'sum(count_over_time({{service_name="{service}"}}[1h]))',
            "time": str(time.time_ns() + SECOND),
        }
        asked = urllib.request.Request(
            f"{self.url}/loki/api/v1/query?{urllib.parse.urlencode(query)}", None, {"X-Scope-OrgID": TENANT}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return int(json.load(answer)["data"]["result"][0]["value"][1])


def _push(*streams: tuple[bytes, list[bytes]]) -> bytes:
    body = b"".join(field(1, field(1, labels) + b"".join(entries)) for labels, entries in streams)
    return bytes(cramjam.snappy.compress_raw(body))


@pytest.fixture(scope="module")
def loki() -> Iterator[Loki]:
    with tempfile.TemporaryDirectory() as root:
        server = Loki(Path(root))
        try:
            server.until_it_takes()
            yield server
        finally:
            server.close()


def test_what_is_dropped_beside_late_entries(loki: Loki) -> None:
    """Of a push with entries that came too late Loki says only that; what it dropped besides is found out, and nothing is twice."""
    now = time.time_ns()
    who = resource("beside")
    first = payload({"body": "now", "time_unix_nano": now}, resource=who)
    mixed = payload(
        {"body": "late", "time_unix_nano": now - 2 * HOUR},
        {"body": "x" * 20_000, "time_unix_nano": now + 1},
        {"body": "fine", "time_unix_nano": now + 2},
        resource=who,
    )
    accepted = sent(loki, request_of(first), request_of(mixed, records=3))
    assert [one.rejected for one in accepted] == [0, 1]
    assert "line_too_long" in accepted[1].message
    assert [line for _, line, _, _ in loki.found("beside")] == ["late", "now", "fine"]


def test_names_of_any_script(loki: Loki) -> None:
    """A service may be called as it likes, also beyond the first plane of Unicode."""
    name = "caf\u00e9 \U0001f680\u2028\x7f"
    log = {"body": "x", "time_unix_nano": time.time_ns()}
    assert sent(loki, request_of(payload(log, resource=resource(name)))) == [Accepted()]
    assert [line for _, line, _, _ in loki.found(name)] == ["x"]


def resource(service: str) -> dict[str, Any]:
    return {**RESOURCE, "service.name": service}


def sent(loki: Loki, *requests: Request, **settings: Any) -> list[Accepted]:
    """Send by an exporter of its own."""

    async def run() -> list[Accepted]:
        async with exporting(loki.url, SystemClock(), **{"tenant": TENANT, **settings}) as exporter:
            return [await send(exporter, request) for request in requests]

    return asyncio.run(run())


def test_all_records_arrive_once_with_all_fields(loki: Loki) -> None:
    """Records with attributes and plain lines, sent twice, in several pushes: each is there once, with all that it had."""
    now = time.time_ns()
    logs = [
        {
            "body": f'event {number} é {{"a": 1}}',
            "time_unix_nano": now + number,
            "observed_time_unix_nano": now,
            "severity_number": 17,
            "severity_text": "ERROR",
            "trace_id": (number + 1).to_bytes(16, "big"),
            "span_id": (number + 1).to_bytes(8, "big"),
            "attributes": {"user.id": f"u{number}", "count": number, "ok": True, "map": {"a": "b"}},
        }
        for number in range(1000)
    ]
    lines = [f"line {number % 10}" for number in range(1000)]
    rows = request_of(payload(*logs, resource=resource("trip")), records=1000)
    plain = request_of(log_payload(lines, observed_ns=now, service="plain"), records=1000)
    assert sent(loki, rows, rows, plain, plain, max_push_bytes=64 << 10) == [Accepted()] * 4
    found = loki.found("trip")
    assert len(found) == 1000
    for log, (time_ns, line, metadata, _) in zip(logs, found, strict=True):
        assert (time_ns, line) == (log["time_unix_nano"], log["body"])
        assert metadata == {
            "observed_timestamp": str(now),
            "severity_number": "17",
            "severity_text": "ERROR",
            "trace_id": log["trace_id"].hex(),
            "span_id": log["span_id"].hex(),
            "user_id": log["attributes"]["user.id"],
            "count": str(log["attributes"]["count"]),
            "ok": "true",
            "map_a": "b",
            "scope_name": "app",
            "service_version": "1.4.2",
            "shipper_generation": "g-17",
            "shipper_host": "i-0abc",
            "shipper_life_id": LIFE,
            "detected_level": "error",
        }
    assert [(time_ns - now, line) for time_ns, line, _, _ in loki.found("plain")] == list(enumerate(lines))


def test_repeats_are_shown_once_and_may_be_counted(loki: Loki) -> None:
    """What comes again after its block was closed is stored again: queries for lines show it once, counts count it."""
    lines = [f"line {number} {'x' * 100}" for number in range(4000)]
    large = request_of(log_payload(lines, observed_ns=time.time_ns(), service="large"), records=4000)
    small = request_of(log_payload(lines[:100], observed_ns=time.time_ns(), service="small"), records=100)
    assert sent(loki, large, large, small, small) == [Accepted()] * 4
    assert [line for _, line, _, _ in loki.found("large")] == lines
    assert [line for _, line, _, _ in loki.found("small")] == lines[:100]
    assert loki.count("small") == 100
    assert loki.count("large") > 4000  # docs/exporters/loki.md says so


def test_what_dashboards_ask(loki: Loki) -> None:
    """The filters of the dashboards' queries find what was pushed."""
    now = time.time_ns()
    bad = {"time_unix_nano": now, "severity_number": 17, "body": "boom", "trace_id": bytes(range(16))}
    end = {"time_unix_nano": now + 1, "event_name": "shipper.farewell", "attributes": {"shipper.run": 1}}
    sent(
        loki,
        request_of(payload(bad, resource=resource("asked"))),
        request_of(payload(end, resource=resource("asked"), scope="shipper.account")),
    )
    env = ' | deployment_environment_name="prod"'
    asked = {
        f'{env} | shipper_generation="g-17" | (severity_number >= 17 or detected_level=~"error|critical|fatal")': [
            "boom"
        ],
        f'{env} | shipper_host="i-0abc" | scope_name!="shipper.account"': ["boom"],
        f'{env} | shipper_host="i-0abc" | scope_name="shipper.account"': [""],
        f'{env} | (trace_id="{bytes(range(16)).hex()}" and trace_id!="")': ["boom"],
        f' | shipper_life_id="{LIFE}"': ["boom", ""],
    }
    for query, lines in asked.items():
        assert [line for _, line, _, _ in loki.found("asked", more=query)] == lines


def test_a_backlog_of_hours_gets_in(loki: Loki) -> None:
    """Behind the newest by more than an hour: into streams of their hours, once."""
    now = time.time_ns()
    backlog = [now - hours * HOUR - n for hours in (30, 5, 2) for n in range(40)]
    old = request_of(
        *(payload({"time_unix_nano": one, "body": f"at {one}"}, resource=resource("late")) for one in backlog)
    )
    new = request_of(payload({"time_unix_nano": now, "body": "now"}, resource=resource("late")))
    assert sent(loki, new, old, old) == [Accepted()] * 3
    loki.post(b"", "/flush")  # of what is hours old nothing is found before
    asyncio.run(until(lambda: len(loki.found("late")) > len(backlog), "all of them are found"))
    found = loki.found("late")
    assert [time_ns for time_ns, _, _, _ in found] == sorted([*backlog, now])
    assert {late for _, _, _, late in found[:-1]} == {
        time.strftime("%Y-%m-%dT%H", time.gmtime(t // SECOND)) for t in backlog
    }


def test_entries_that_break_limits(loki: Loki) -> None:
    """Each is counted by its cause in one request, the others are there."""
    now = time.time_ns()
    logs = [
        {"time_unix_nano": now, "body": "fine"},
        *({"time_unix_nano": now + n, "body": "x" * (20_000 + n)} for n in range(3)),
        {"time_unix_nano": now - 30 * 24 * HOUR, "body": "old"},
        {"time_unix_nano": now + 24 * HOUR, "body": "tomorrow"},
        {"time_unix_nano": now, "body": "wide", "attributes": {"a": "v" * 3000}},
        {"time_unix_nano": now, "body": "many", "attributes": {f"a{n}": "v" for n in range(150)}},
        {"time_unix_nano": now + 1, "body": "fine too"},
    ]
    (answer,) = sent(loki, request_of(payload(*logs, resource=resource("limits")), records=len(logs)))
    assert answer.rejected == 7
    for cause in (
        "3 x line_too_long",
        "1 x greater_than_max_sample_age",
        "1 x too_far_in_future",
        "1 x structured_metadata_too_large",
        "1 x structured_metadata_too_many",
    ):
        assert cause in answer.message
    assert [line for _, line, _, _ in loki.found("limits")] == ["fine", "fine too"]
    with pytest.raises(Rejected, match="line_too_long"):
        sent(loki, request_of(payload(logs[1], resource=resource("limits"))))


def test_too_fast_for_a_stream(loki: Loki) -> None:
    """A stream whose rate is limited takes all in the end, each once, and says so until then."""
    now = time.time_ns()
    logs = [{"time_unix_nano": now + n, "body": f"{n:03}" + "x" * 200} for n in range(60)]
    request = request_of(payload(*logs, resource=resource("fast")), records=60)
    refusals: list[str] = []

    async def story() -> None:
        async with exporting(loki.url, SystemClock(), tenant=SLOW) as exporter:
            while True:
                try:
                    assert await send(exporter, request) == Accepted()
                    return
                except Retryable as error:
                    refusals.append(str(error))
                    await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(story(), 60))
    assert refusals
    assert all("Per stream rate limit exceeded" in said for said in refusals)
    assert [line for _, line, _, _ in loki.found("fast", SLOW)] == [log["body"] for log in logs]


def test_a_tenant_is_missing(loki: Loki) -> None:
    """A Loki of several tenants is set up wrongly without one: everything is held."""
    with pytest.raises(Unusable, match="set tenant"):
        sent(loki, request_of(at(time.time_ns(), "x")), tenant="")


def test_otlp_keeps_lines_that_are_the_same(loki: Loki) -> None:
    """Over OTLP all lines of a batch arrive; of the same bytes without times of their own Loki keeps one of each."""
    now = time.time_ns()
    lines = ["same", "same", "other", "same"]
    request = request_of(log_payload(lines, observed_ns=now, service="over-otlp"), records=4)
    assert sent(loki, request, request, protocol="otlp") == [Accepted()] * 2
    assert [line for _, line, _, _ in loki.found("over-otlp")] == lines
    assert loki.post(log_payload(lines, observed_ns=now, service="as-it-is"), "/otlp/v1/logs")[0] == 204
    assert len(loki.found("as-it-is")) == 2


def test_why_a_push_is_of_one_stream(loki: Loki) -> None:
    """Of two streams in one push Loki says nothing of what it refused of the first."""
    now = time.time_ns()
    first, second = b'{service_name="first"}', b'{service_name="second"}'
    assert loki.post(_push((first, [entry(b"new", b"", now)])))[0] == 204
    old, new = [entry(b"old", b"", now - 3 * HOUR)], [entry(b"new", b"", now)]
    assert loki.post(_push((first, old), (second, new)))[0] == 204
    assert [line for _, line, _, _ in loki.found("first")] == ["new"]
    assert loki.post(_push((second, new), (first, old)))[0] == 400
