"""The data sources a board may ask, by their Grafana type, and the template variable through which it asks.

Kept apart from the kit because `shipper.dashboards.fit` needs them where the builders are not installed.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One kind of data source; ``others`` are plugin types that answer the same queries in its place."""

    type: str
    variable: str
    label: str
    others: tuple[str, ...] = ()

    @property
    def uid(self) -> str:
        """What a panel writes as its data source's uid."""
        return f"${{{self.variable}}}"


PROMETHEUS = Source("prometheus", "prometheus_datasource", "Prometheus data source")
LOKI = Source("loki", "loki_datasource", "Loki data source")
TEMPO = Source("tempo", "tempo_datasource", "Tempo data source")
ELASTICSEARCH = Source(
    "elasticsearch", "elasticsearch_datasource", "Elasticsearch data source", ("grafana-opensearch-datasource",)
)

SOURCES = (PROMETHEUS, LOKI, ELASTICSEARCH, TEMPO)
# What the committed boards show open; Elasticsearch is the other way to keep logs and starts as a closed row.
OPEN = frozenset({PROMETHEUS.type, LOKI.type, TEMPO.type})
