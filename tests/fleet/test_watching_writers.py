"""The ways out of the command: remote write and OTLP, tried again while that may help, and refusals said with their reason."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import SystemClock
from shipper.contracts import Signal
from shipper.dashboards import names
from shipper.errors import ConfigError
from shipper.fleet.deploys.send import Endpoint, endpoint_of
from shipper.fleet.gauges import Encoded
from shipper.fleet.watching.newest import Newest
from shipper.fleet.watching.series import encode, of_judgement
from shipper.fleet.watching.writers import ByExporter, ByOtlp, Every, NotWritten
from shipper.otlp import messages
from shipper.otlp.answer import encode_response
from tests.exporters.remote_write import values_of
from tests.fleet.watched import judgement

AT = 1_700_000_000_000_000_000


class Server:
    """Answers the first requests with ``statuses``, then 200; keeps what it got."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.body = b""
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, dict(self.headers), body))
                status = outer.statuses.pop(0) if outer.statuses else 200
                said = outer.body if status == 200 else b"no"
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Hasty(SystemClock):
    """Waits for nothing, so that what is tried again is tried at once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def verdicts() -> Encoded:
    values = of_judgement(Newest("shop", "prod", "2"), judgement())
    gone = next(iter(of_judgement(Newest("shop", "prod", "1"), judgement())))
    return encode(values, AT, [gone])


def remote(server: Server, path: str = "/api/v1/write") -> ByExporter:
    return ByExporter(
        "prometheus", "prometheus", {"endpoint": server.url + path, "protocol": "1.0"}, where="--write", clock=Hasty()
    )


def otlp(server: Server) -> ByOtlp:
    return ByOtlp(Endpoint(f"{server.url}/v1/metrics", headers={"X-Scope-OrgID": "a"}), clock=Hasty())


async def written(writer: Any, *, times: int = 1) -> None:
    try:
        for number in range(times):
            await writer.write(verdicts(), AT + number)
    finally:
        await writer.aclose()
        writer.close()


def test_by_remote_write(server: Server) -> None:
    """The series have the names, labels and values that boards ask for; one that ended gets a stale marker."""
    asyncio.run(written(remote(server)))
    found = values_of(server.got[0][2])
    about = {"service": "shop", "env": "prod", "generation": "2", "baseline": "1", "subject": "errors"}
    told = {
        dict(labels)["__name__"]: samples for labels, samples in found.items() if about.items() <= dict(labels).items()
    }
    assert told["shipper_verdict"] == [(AT // 1_000_000, 1.0)]
    assert told["shipper_verdict_factor"] == [(AT // 1_000_000, 8.05)]
    assert told.keys() == names.VERDICT_METRICS
    (gone,) = [samples for labels, samples in found.items() if dict(labels)["generation"] == "1"]
    assert str(gone[0][1]) == "nan"


def test_by_otlp_as_nobody(server: Server) -> None:
    """A plain request with the destination's own headers: a gateway must not take us for a host that said no farewell."""
    asyncio.run(written(otlp(server)))
    path, headers, body = server.got[0]
    named = {name.lower(): value for name, value in headers.items()}
    assert (path, named["x-scope-orgid"]) == ("/v1/metrics", "a")
    assert not any(name.lower().startswith("shipper-") for name in headers)
    request = messages.parse(Signal.METRICS, gzip.decompress(body))
    assert {metric.name for _, _, units in messages.envelopes(Signal.METRICS, request) for metric in units} >= {
        "shipper.verdict",
        "shipper.verdict.factor",
    }


@pytest.mark.parametrize("made", [remote, otlp])
def test_what_may_pass_is_tried_again(server: Server, made: Any) -> None:
    """A target that is overloaded for a moment has the verdict in the end, and with the same time."""
    server.statuses = [503, 503]
    asyncio.run(written(made(server)))
    assert len(server.got) == 3
    assert len({body for _, _, body in server.got}) == 1


@pytest.mark.parametrize("made", [remote, otlp])
def test_what_will_not_pass_is_said(server: Server, made: Any) -> None:
    """A refusal is one sentence with the place and the answer, at once."""
    server.statuses = [403] * 9
    with pytest.raises(NotWritten, match=r"127\.0\.0\.1.*403"):
        asyncio.run(written(made(server)))
    assert len(server.got) == 1


def test_a_part_that_was_refused_is_said(server: Server) -> None:
    """OTLP's partial success is none."""
    server.body = encode_response(Signal.METRICS, 2, "too many series")
    with pytest.raises(NotWritten, match="refused 2 of 10 samples: too many series"):
        asyncio.run(written(otlp(server)))
    server.body = b"\xff"
    with pytest.raises(NotWritten, match="something that is not OTLP"):
        asyncio.run(written(otlp(server)))


def test_several_are_written_to_at_once(server: Server) -> None:
    """One that refuses keeps nothing from the others, and is the one that is said."""
    nowhere = ByOtlp(Endpoint("http://127.0.0.1:1/v1/metrics"), clock=Hasty(), seconds=0.5)
    with pytest.raises(NotWritten, match=r"127\.0\.0\.1:1/v1/metrics"):
        asyncio.run(written(Every([nowhere, remote(server), otlp(server)])))
    assert {path for path, _, _ in server.got} == {"/api/v1/write", "/v1/metrics"}


def test_a_token_is_read_and_a_url_checked(server: Server, tmp_path: Path) -> None:
    """What a destination of type otlp says of its endpoint holds here, too."""
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    options = {"endpoint": server.url, "token_file": str(token)}
    endpoint = endpoint_of(options, "metrics", "destinations.backend")
    assert endpoint is not None
    asyncio.run(written(ByOtlp(endpoint, clock=Hasty())))
    assert server.got[0][1]["Authorization"] == "Bearer s3cret"
    assert endpoint_of({"logs_endpoint": "http://x/v1/logs"}, "metrics", "destinations.backend") is None
    with pytest.raises(ConfigError, match="is no URL"):
        endpoint_of({"endpoint": "nowhere"}, "metrics", "destinations.backend")
    with pytest.raises(ConfigError, match="is no URL"):
        ByExporter("prometheus", "prometheus", {"endpoint": "x"}, where="--write", clock=Hasty())
