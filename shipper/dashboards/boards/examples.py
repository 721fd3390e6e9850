"""One request instead of a ratio: failing traces, the lines logged about them, and the hosts those came from.

The second and third click of the path from a spike to a host's last words start here (docs/dashboards.md).
"""

from shipper.dashboards import kit
from shipper.dashboards.boards.common import OF_ENVIRONMENT
from shipper.dashboards.kit import Ask, Column, chosen, looks, of_row
from shipper.dashboards.kit.sdk import model
from shipper.dashboards.sources import ELASTICSEARCH, LOKI, TEMPO

CARRIED = {variable.variable: chosen(variable.variable) for variable in (LOKI, TEMPO, ELASTICSEARCH)}
# What an error line is about: its exception's type and fingerprint, which are the same on every host and in every release;
# else the line without its numbers and ids.
KIND = (
    "label_format kind=`{{ if .exception_type }}{{ .exception_type }} {{ .shipper_exception_fingerprint }}{{ else }}"
    '{{ regexReplaceAll "[0-9a-fA-F]{8,}|[0-9]+" (trunc 160 __line__) "#" }}{{ end }}`'
)
# A line that came without a severity has the level Loki read from it.
ERROR_LEVEL = '(severity_number >= 17 or detected_level=~"error|critical|fatal")'


def failing_traces() -> model.Panel:
    """The list the second click starts from."""
    return kit.table(
        Ask(
            9,
            "Which requests failed?",
            "Traces of the chosen generation with an error, newest first.",
            "Click a trace id: the trace opens beside it and its log lines below.",
            height=10,
        ),
        [
            kit.trace_list(
                '{ resource.service.name="$service" && resource.deployment.environment.name="$env"'
                ' && resource.shipper.generation="$generation" && status=error }'
                " | select(span.http.route, resource.shipper.host)"
            )
        ],
        [
            Column(
                "traceID",
                "Trace",
                link=kit.to(kit.TRIAGE, "This trace and its log lines", also=_same_with_trace("traceID")),
            ),
            Column("startTime", "When"),
            Column("traceService", "Began in"),
            Column("traceName", "Request"),
            Column("traceDuration", "Took", "ms"),
        ],
        no_value="no failing trace",
    )


def _same_with_trace(column: str) -> dict[str, str]:
    return {"generation": chosen("generation"), "trace": of_row(column), **CARRIED}


def one_trace() -> model.Panel:
    """The trace that was clicked."""
    return kit.traces(
        Ask(
            10,
            "What happened in this request?",
            "The chosen trace, span by span; spans with errors are marked.",
            "Find the first span with an error: its service failed first. Then read the log lines below.",
            height=10,
        ),
        kit.one_trace("$trace"),
    )


def new_errors() -> model.Panel:
    """Kinds of error lines that the generation before did not have."""

    def counted(generation: str, window: str) -> str:
        lines = f'{OF_ENVIRONMENT} | shipper_generation="{generation}" | {ERROR_LEVEL} | {KIND}'
        return f"sum by (kind) (count_over_time({lines} [{window}]))"

    return kit.table(
        Ask(
            11,
            "Which errors were not seen before it?",
            "Kinds of error lines of the chosen generation that the generation before did not log within 24 hours, by count: an "
            "exception's type and fingerprint, else the line without numbers.",
            "Start with the most frequent one. 'Not seen before' is not 'introduced': rare errors may only not have happened yet.",
            height=10,
        ),
        [kit.log_count(f"topk(15, {counted('$generation', '$__range')} unless {counted('$prev', '24h')})")],
        [Column("kind", "Error"), Column("A", "Lines", looks.COUNT, width=100, decimals=0)],
        sort="Lines",
        no_value="nothing new",
    )


def lines() -> model.Panel:
    """The lines of the clicked trace, and the hosts they came from."""
    return kit.table(
        Ask(
            12,
            "What did the hosts log about it?",
            "All lines of the chosen trace; without one, the latest error lines of the chosen generation.",
            "Click a host: its last words, and how it ended.",
            height=10,
        ),
        [
            kit.log_lines(
                f'{OF_ENVIRONMENT} | (trace_id="$trace" and trace_id!="")'
                f' or (shipper_generation="$generation" and {ERROR_LEVEL} and trace_id=~"$trace.*")'
            )
        ],
        [
            Column("Time", "When", width=180),
            Column("shipper_host", "Host", link=_last_words("shipper_host"), width=180),
            Column("Line", "Line"),
            Column(
                "trace_id",
                "Trace",
                link=kit.to(kit.TRIAGE, "This trace and its log lines", also=_same_with_trace("trace_id")),
                width=120,
            ),
        ],
        first=[kit.parts_of("labels")],
        no_value="no lines",
    )


def _last_words(column: str) -> model.DashboardLink:
    return kit.to(
        kit.HOSTS,
        "The last words of this host",
        instance=of_row(column),
        generation=chosen("generation"),
        also=CARRIED,
    )


def elastic_errors() -> model.Panel:
    """Exception types, from Elasticsearch or OpenSearch."""
    return kit.table(
        Ask(
            13,
            "Which errors does it log?",
            "Exception types in the error lines of the chosen generation, by count.",
            "Choose the generation before and compare: what is only in the new one came with it.",
            height=10,
        ),
        [kit.elastic_count(_elastic("severity_number:>=17"), by="attributes.exception.type")],
        [Column("attributes.exception.type", "Error"), Column("Count", "Lines", looks.COUNT)],
        no_value="no errors",
    )


def elastic_lines() -> model.Panel:
    """The lines of the clicked trace, from Elasticsearch or OpenSearch."""
    return kit.table(
        Ask(
            14,
            "What did the hosts write about it?",
            "Lines of the chosen trace (Elasticsearch); without one, the latest lines of the chosen generation that belong to any.",
            "Click a host: its last words, and how it ended.",
            height=10,
        ),
        [kit.elastic_lines(_elastic("trace_id:$trace*"))],
        [
            Column("@timestamp", "When", width=180),
            Column(
                "resource.attributes.shipper.host",
                "Host",
                link=_last_words("resource.attributes.shipper.host"),
                width=180,
            ),
            Column("body.text", "Line"),
            Column(
                "trace_id",
                "Trace",
                link=kit.to(kit.TRIAGE, "This trace and its log lines", also=_same_with_trace("trace_id")),
                width=120,
            ),
        ],
        no_value="no lines",
    )


def _elastic(further: str) -> str:
    """Lucene over OpenTelemetry's own field names, as Elasticsearch keeps them in its ``otel`` mapping."""
    return (
        'resource.attributes.service.name:"$service" AND resource.attributes.deployment.environment.name:"$env"'
        f' AND resource.attributes.shipper.generation:"$generation" AND {further}'
    )
