"""Real OpenSearch and Elasticsearch nodes for tests, from folders that the scripts in ``tests/peers`` put together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

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


class Node(ABC):
    """Runs while the context lasts, on a free port of loopback."""

    name: ClassVar[str]
    lists_data_streams: ClassVar[bool]
    home: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    @abstractmethod
    def templates(self) -> dict[str, Any]:
        """Index templates by name."""

    def __enter__(self) -> Node:
        config = self.folder / "config"
        config.mkdir()
        settings = {
            "discovery.type": "single-node", "network.host": "127.0.0.1", "http.port": self._port,
            "transport.port": _free_port(), "path.data": str(self.folder / "data"), "path.logs": str(self.folder / "logs"),
            "cluster.routing.allocation.disk.threshold_enabled": False,
        }  # fmt: skip
        (config / f"{self.name}.yml").write_text(json.dumps(settings))  # which is YAML too
        (config / "log4j2.properties").write_text(_LOG)
        with open(self.folder / "output", "wb") as output:
            self._process = subprocess.Popen(self.command(), stdout=output, stderr=subprocess.STDOUT)
        self._await()
        for name, template in self.templates().items():
            assert self.call("PUT", f"/_index_template/{name}", template) == {"acknowledged": True}
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
        body = {"query": query, "size": 0, "track_total_hits": True}
        return int(self.call("POST", f"/{index}/_search", body)["hits"]["total"]["value"])

    def _await(self) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self.call("GET", "/_cluster/health")
                return
            except OSError:
                said = (self.folder / "output").read_text()[-2000:]
                assert self._process.poll() is None, f"the node ended: {said}"
                assert time.monotonic() < until, f"the node does not answer: {said}"
                time.sleep(0.05)


class OpenSearch(Node):
    """With the index templates that Shipper ships."""

    name = "opensearch"
    lists_data_streams = True
    home = os.environ.get("OPENSEARCH_HOME", "")

    def command(self) -> list[str]:
        return [
            "java",
            "-Xms384m",
            "-Xmx384m",
            "-cp",
            f"{self.home}/lib/*:{self.home}/lib",
            "OpenSearchNode",
            str(self.folder),
        ]

    def templates(self) -> dict[str, Any]:
        files = _TEMPLATES.glob("*.template.json")
        return {f"shipper-{file.name.partition('.')[0]}": json.loads(file.read_text()) for file in files}


class Elasticsearch(Node):
    """With templates like those that it brings along in a distribution: metrics are time series."""

    name = "elasticsearch"
    lists_data_streams = False
    home = os.environ.get("ELASTICSEARCH_HOME", "")

    def command(self) -> list[str]:
        (self.folder / "modules").symlink_to(f"{self.home}/modules")
        (self.folder / "plugins").mkdir()
        modules = ["--module-path", f"{self.home}/lib", "--add-modules=ALL-MODULE-PATH", "-cp", f"{self.home}/classes"]
        return [
            "java",
            "-Xms384m",
            "-Xmx384m",
            "-Des.distribution.type=tar",
            *modules,
            "ElasticsearchNode",
            str(self.folder),
        ]

    def templates(self) -> dict[str, Any]:
        keyword: dict[str, Any] = {"type": "keyword", "ignore_above": 1024}
        dimension = {"type": "keyword", "time_series_dimension": True}
        flat = {"type": "object", "subobjects": False}
        strings = {"strings": {"match_mapping_type": "string", "mapping": keyword}}
        logs = {
            "@timestamp": {"type": "date_nanos"}, "message": {"type": "text"}, "attributes": flat, "resource.attributes": flat,
            "body.text": {"type": "text"},
        }  # fmt: skip
        numbers = [
            {f"{kind}_{form}": {"mapping": {"type": form, "time_series_metric": kind}}}
            for kind in ("gauge", "counter")
            for form in ("long", "double")
        ]
        attributes = {"path_match": ["attributes.*", "resource.attributes.*"], "mapping": dimension}
        series = {
            "@timestamp": {"type": "date"}, "attributes": flat, "resource.attributes": flat, "metrics": flat,
            "_metric_names_hash": dimension, "unit": dimension,
        }  # fmt: skip
        settings = {
            "mode": "time_series", "routing_path": ["attributes.*", "resource.attributes.*", "_metric_names_hash", "unit"],
            "time_series": {"start_time": "2020-01-01T00:00:00Z", "end_time": "2099-01-01T00:00:00Z"},
        }  # fmt: skip
        return {
            "logs": _template(["logs-*-*", "traces-*-*"], {}, logs, [strings]),
            "metrics": _template(
                ["metrics-*-*"],
                {"index": settings},
                series,
                [{"dimensions": {**attributes, "match_mapping_type": "string"}}, *numbers],
            ),
        }


def _template(
    patterns: list[str], settings: dict[str, Any], properties: dict[str, Any], dynamic: list[dict[str, Any]]
) -> dict[str, Any]:
    mappings = {"date_detection": False, "dynamic_templates": dynamic, "properties": properties}
    template = {"settings": settings, "mappings": mappings}
    return {"index_patterns": patterns, "priority": 500, "data_stream": {}, "template": template}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
