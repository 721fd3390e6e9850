"""What the destination is: Elasticsearch or OpenSearch, and of which version, by what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

_UNKNOWN = (0, 0)
_OTEL_TEMPLATES = (8, 16)  # the first that brings templates for data streams of the OpenTelemetry mapping
_REQUIRE_DATA_STREAM = (8, 13)
_VERSION = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Product:
    """``name`` is ``elasticsearch``, ``opensearch`` or empty where it is something that does not say; ``version`` (0, 0) likewise."""

    name: str = ""
    version: tuple[int, int] = _UNKNOWN
    serverless: bool = False

    @property
    def time_series(self) -> bool:
        """Whether data streams of metrics are time series by its own templates, which make ids of dimensions and time.

        One that may not say its version is taken for a recent one.
        """
        recent = self.serverless or self.version >= _OTEL_TEMPLATES or self.version == _UNKNOWN
        return self.name == "elasticsearch" and recent

    @property
    def can_require_data_stream(self) -> bool:
        """Whether it can be told to refuse rather than to make a plain index where no template says data stream."""
        return self.name == "elasticsearch" and (self.serverless or self.version >= _REQUIRE_DATA_STREAM)

    def __str__(self) -> str:
        if not self.name:
            return "bulk API"
        said = {"elasticsearch": "Elasticsearch", "opensearch": "OpenSearch"}[self.name]
        return said if self.version == _UNKNOWN else f"{said} {self.version[0]}.{self.version[1]}"


def recognise(headers: Mapping[str, str], body: bytes) -> Product:
    """The product by its answer to ``GET /`` (Elasticsearch since 7.14 names itself in the header ``X-Elastic-Product``)."""
    version: object = None
    try:
        found = msgspec.json.decode(body)
        version = found.get("version") if isinstance(found, dict) else None
    except (msgspec.MsgspecError, RecursionError):
        found = None
    if not isinstance(version, dict):
        version = {}
    number = _VERSION.match(str(version.get("number", "")))
    numbers = (int(number[1]), int(number[2])) if number else _UNKNOWN
    if version.get("distribution") == "opensearch":
        return Product("opensearch", numbers)
    if headers.get("X-Elastic-Product") == "Elasticsearch" or "build_flavor" in version:
        return Product("elasticsearch", numbers, version.get("build_flavor") == "serverless")
    return Product("", numbers)
