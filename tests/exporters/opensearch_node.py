"""A real OpenSearch node for tests, from the folder that ``tests/peers/opensearch/assemble.sh`` made."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

HOME = os.environ.get("OPENSEARCH_HOME", "")
MISSING = "needs OPENSEARCH_HOME, a folder made by tests/peers/opensearch/assemble.sh"
_TEMPLATES = Path(__file__).parents[2] / "packaging/elasticsearch"
_PATIENCE = 120.0
_LOG = """
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d][%-5p][%c{1.}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class OpenSearch:
    """Runs while the context lasts, on a free port of loopback; has the index templates that Shipper ships."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> OpenSearch:
        config = self._folder / "config"
        config.mkdir()
        settings = {
            "discovery.type": "single-node", "network.host": "127.0.0.1", "http.port": self._port,
            "transport.port": _free_port(), "path.data": str(self._folder / "data"), "path.logs": str(self._folder / "logs"),
            "cluster.routing.allocation.disk.threshold_enabled": False,
        }  # fmt: skip
        (config / "opensearch.yml").write_text(json.dumps(settings))  # which is YAML too
        (config / "log4j2.properties").write_text(_LOG)
        with open(self._folder / "output", "wb") as output:
            command = [
                "java",
                "-Xms384m",
                "-Xmx384m",
                "-cp",
                f"{HOME}/lib/*:{HOME}/lib",
                "OpenSearchNode",
                str(self._folder),
            ]
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        self._await()
        for file in sorted(_TEMPLATES.glob("*.template.json")):
            name = f"/_index_template/shipper-{file.name.partition('.')[0]}"
            assert self.call("PUT", name, json.loads(file.read_text())) == {"acknowledged": True}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """What it answers; raises with what it says against it."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None

    def search(self, index: str, query: dict[str, Any], size: int = 5000) -> list[dict[str, Any]]:
        """The documents that match now, in order of their times."""
        self.call("POST", f"/{index}/_refresh")
        body = {"query": query, "size": size, "sort": ["@timestamp"]}
        return [hit["_source"] for hit in self.call("POST", f"/{index}/_search", body)["hits"]["hits"]]

    def count(self, index: str, query: dict[str, Any]) -> int:
        """How many documents match now."""
        self.call("POST", f"/{index}/_refresh")
        return int(self.call("POST", f"/{index}/_count", {"query": query})["count"])

    def _await(self) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self.call("GET", "/")
                return
            except OSError:
                said = (self._folder / "output").read_text()[-2000:]
                assert self._process.poll() is None, f"the node ended: {said}"
                assert time.monotonic() < until, f"the node does not answer: {said}"
                time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
