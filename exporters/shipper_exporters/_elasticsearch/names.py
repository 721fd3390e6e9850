"""Which data stream or index a document goes to: ``<type>-<dataset>-<namespace>``, or the one that was set.

The scheme: https://www.elastic.co/docs/reference/fleet/data-streams . What has the form of the OpenTelemetry mapping goes to a dataset
that ends with ``.otel``, which is what the templates that Elasticsearch brings along for it match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shipper.otlp.encode import AttributeValue
from shipper_exporters._elasticsearch.settings import ElasticsearchSettings

_BRACES = re.compile(r"\{([^{}]*)\}")
_FORBIDDEN = re.compile(r'[\\/*?"<>|,#:\s-]')
_LONGEST = 100  # bytes of a dataset or a namespace
_LONGEST_INDEX = 255
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Target:
    """Where documents go; ``data_stream`` holds the fields that name it, none for a plain index."""

    index: str
    data_stream: Mapping[str, str] = field(hash=False, default_factory=dict)


class Targets:
    """Names by the settings. Where they depend on the record's resource, it is asked for."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        self._index = settings.index
        self._dataset = settings.dataset
        self._namespace = settings.namespace
        self.varies = bool(
            _BRACES.search(settings.index.replace("{signal}", ""))
            if settings.index
            else _BRACES.search(settings.dataset + settings.namespace)
        )
        """Whether records of one signal may go to several places."""

    @property
    def streams(self) -> bool:
        """Whether documents go to data streams."""
        return not self._index

    def of(self, kind: str, resource: Mapping[str, AttributeValue], *, otel: bool) -> Target:
        """The place of documents of a kind (``logs``, ``traces``, ``metrics``) that are of ``resource``."""
        if self._index:
            name = _filled(self._index.replace("{signal}", kind), resource, _LONGEST_INDEX)
            return Target(name.lstrip("-_+.") or _UNKNOWN)
        dataset = _filled(self._dataset, resource, _LONGEST)
        if otel:
            dataset = dataset.removesuffix(".otel") + ".otel"
        namespace = _filled(self._namespace, resource, _LONGEST)
        fields = {"type": kind, "dataset": dataset, "namespace": namespace}
        return Target("-".join(fields.values()), fields)


def _filled(template: str, resource: Mapping[str, AttributeValue], longest: int) -> str:
    def value(found: re.Match[str]) -> str:
        given = resource.get(found[1])
        text = given if isinstance(given, str) and given else _UNKNOWN
        return _FORBIDDEN.sub("_", text.lower())

    return _BRACES.sub(value, template).encode()[:longest].decode(errors="ignore")
