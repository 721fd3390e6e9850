"""Queries of the four data sources, written so that no legend and no table can grow without bound.

A series legend that names hosts or generations is only allowed under ``topk``/``bottomk``: with hosts that are replaced all day,
anything else is a thousand lines by the evening.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from shipper.dashboards.kit.sdk import (
    Dataquery,
    elasticsearch,
    elasticsearch_model,
    loki,
    prometheus,
    prometheus_model,
    shared,
    tempo,
    tempo_model,
)
from shipper.dashboards.sources import ELASTICSEARCH, LOKI, PROMETHEUS, TEMPO, Source

# Labels that take a handful of values whatever is deployed.
BOUNDED_LABELS = frozenset(
    {"action", "age", "destination", "kind", "outcome", "quantile", "role", "state", "status", "window", "le"}
)
_BOUNDS = re.compile(r"\b(topk|bottomk)\s*\(")
_LEGEND_LABEL = re.compile(r"{{\s*(\w+)\s*}}")


@dataclass(frozen=True)
class Query:
    """A query that still lacks its letter; the panel it is put on gives it."""

    source: Source
    text: str
    make: Callable[[str], Dataquery]


def reference(source: Source) -> shared.DataSourceRef:
    """The data source chosen on the board, as panels and variables name it."""
    return shared.DataSourceRef(type_val=source.type, uid=source.uid)


def _bounded(expr: str, legend: str) -> None:
    named = frozenset(_LEGEND_LABEL.findall(legend)) - BOUNDED_LABELS
    if named and not _BOUNDS.search(expr):
        raise ValueError(f"the legend {legend!r} grows with every {', '.join(sorted(named))}: bound it by topk: {expr}")


def prom(expr: str, legend: str = "", *, min_step: str = "") -> Query:
    """A PromQL range query for a graph.

    Raises:
        ValueError: ``legend`` names a label without bound and the query keeps no ``topk``.
    """
    _bounded(expr, legend)

    def make(ref: str) -> Dataquery:
        query = prometheus.Dataquery().expr(expr).range().legend_format(legend).ref_id(ref)
        query = query.datasource(reference(PROMETHEUS))
        if min_step:
            query = query.interval(min_step)
        return query.build()

    return Query(PROMETHEUS, expr, make)


def now(expr: str) -> Query:
    """A PromQL query for the end of the shown time, as the rows of a table: a column a label and one for the value."""

    def make(ref: str) -> Dataquery:
        return (
            prometheus.Dataquery()
            .expr(expr)
            .instant()
            .format(prometheus_model.PromQueryFormat.TABLE)
            .ref_id(ref)
            .datasource(reference(PROMETHEUS))
            .build()
        )

    return Query(PROMETHEUS, expr, make)


def number(expr: str, legend: str = "") -> Query:
    """A PromQL query for the end of the shown time, as one number a series for a stat panel."""
    _bounded(expr, legend)

    def make(ref: str) -> Dataquery:
        query = prometheus.Dataquery().expr(expr).instant().legend_format(legend).ref_id(ref)
        return query.datasource(reference(PROMETHEUS)).build()

    return Query(PROMETHEUS, expr, make)


def heat(expr: str) -> Query:
    """A PromQL range query over ``le`` buckets for a heatmap."""

    def make(ref: str) -> Dataquery:
        return (
            prometheus.Dataquery()
            .expr(expr)
            .range()
            .format(prometheus_model.PromQueryFormat.HEATMAP)
            .legend_format("{{le}}")
            .ref_id(ref)
            .datasource(reference(PROMETHEUS))
            .build()
        )

    return Query(PROMETHEUS, expr, make)


def log_lines(expr: str, *, limit: int = 100) -> Query:
    """A LogQL log query; at most ``limit`` lines, the newest first."""

    def make(ref: str) -> Dataquery:
        query = loki.Dataquery().expr(expr).query_type("range").max_lines(limit).ref_id(ref)
        return query.datasource(reference(LOKI)).build()

    return Query(LOKI, expr, make)


def log_count(expr: str) -> Query:
    """A LogQL metric query for the end of the shown time (a table's rows)."""

    def make(ref: str) -> Dataquery:
        query = loki.Dataquery().expr(expr).query_type("instant").ref_id(ref)
        return query.datasource(reference(LOKI)).build()

    return Query(LOKI, expr, make)


def trace_list(traceql: str, *, limit: int = 20) -> Query:
    """A TraceQL search: one row a trace, at most ``limit``."""

    def make(ref: str) -> Dataquery:
        return (
            tempo.Dataquery()
            .query(traceql)
            .query_type("traceql")
            .table_type(tempo_model.SearchTableType.TRACES)
            .limit(limit)
            .spss(3)
            .ref_id(ref)
            .datasource(reference(TEMPO))
            .build()
        )

    return Query(TEMPO, traceql, make)


def trace_count(traceql: str) -> Query:
    """A TraceQL metrics query for the end of the shown time (a table's rows)."""

    def make(ref: str) -> Dataquery:
        return (
            tempo.Dataquery()
            .query(traceql)
            .query_type("traceql")
            .metrics_query_type(tempo_model.MetricsQueryType.INSTANT)
            .ref_id(ref)
            .datasource(reference(TEMPO))
            .build()
        )

    return Query(TEMPO, traceql, make)


def one_trace(trace_id: str) -> Query:
    """One whole trace by its id (Tempo takes a bare id where it would take TraceQL)."""

    def make(ref: str) -> Dataquery:
        query = tempo.Dataquery().query(trace_id).query_type("traceql").ref_id(ref)
        return query.datasource(reference(TEMPO)).build()

    return Query(TEMPO, trace_id, make)


def elastic_lines(lucene: str, *, limit: int = 100) -> Query:
    """Documents that match a Lucene query, newest first, a column a field; Elasticsearch and OpenSearch alike."""

    def make(ref: str) -> Dataquery:
        settings = elasticsearch.ElasticsearchRawDataSettings().size(str(limit))
        return (
            elasticsearch.Dataquery()
            .query(lucene)
            .metrics([elasticsearch.RawData().id("1").settings(settings)])
            .bucket_aggs([])
            .time_field("@timestamp")
            .ref_id(ref)
            .datasource(reference(ELASTICSEARCH))
            .build()
        )

    return Query(ELASTICSEARCH, lucene, make)


def elastic_count(lucene: str, *, by: str, limit: int = 15) -> Query:
    """How many documents match, by one field's ``limit`` most frequent values."""

    def make(ref: str) -> Dataquery:
        terms = (
            elasticsearch.ElasticsearchTermsSettings()
            .order(elasticsearch_model.TermsOrder.DESC)
            .order_by("_count")
            .size(str(limit))
        )
        return (
            elasticsearch.Dataquery()
            .query(lucene)
            .metrics([elasticsearch.Count().id("1")])
            .bucket_aggs([elasticsearch.Terms().id("2").field(by).settings(terms)])
            .time_field("@timestamp")
            .ref_id(ref)
            .datasource(reference(ELASTICSEARCH))
            .build()
        )

    return Query(ELASTICSEARCH, lucene, make)
