"""Where two generations differ: the requests and the kinds of error that one has and the other has not."""

from shipper.dashboards import kit
from shipper.dashboards.boards.common import OF_ENVIRONMENT
from shipper.dashboards.boards.examples import CARRIED, ERROR_LEVEL, KIND
from shipper.dashboards.kit import Ask, Column, chosen, looks
from shipper.dashboards.kit.sdk import model
from shipper.dashboards.sources import LOKI, TEMPO


def routes() -> model.Panel:
    """Failing requests by route."""
    either = '(resource.shipper.generation="$generation" || resource.shipper.generation="$prev")'
    return kit.bars(
        Ask(
            9,
            "Which routes fail more?",
            "Failed server spans by route and generation within the shown time, the most frequent twenty (a TraceQL metrics "
            "query: Tempo 2.8 or later, with metrics switched on).",
            "The route with most added errors first, not the one with the largest factor.",
            height=9,
        ),
        [
            kit.trace_count(
                f'{{ resource.service.name="$service" && resource.deployment.environment.name="$env" && {either}'
                " && kind=server && status=error } | count_over_time() by (span.http.route, resource.shipper.generation)"
                " | topk(20)"
            )
        ],
        unit=looks.COUNT,
        no_value="no failed spans",
    )


def kinds() -> model.Panel:
    """Kinds of error lines."""

    def counted(generation: str) -> kit.Query:
        lines = f'{OF_ENVIRONMENT} | shipper_generation="{generation}" | {ERROR_LEVEL} | {KIND}'
        return kit.log_count(f"topk(30, sum by (kind) (count_over_time({lines} [$__range])))")

    return kit.table(
        Ask(
            10,
            "Which errors are new, gone, or in both?",
            "Kinds of error lines within the shown time, counted for both generations; empty on one side: seen only in the other.",
            "New and frequent first. 'Gone' may only mean that it has not happened yet.",
            height=9,
        ),
        [counted("$generation"), counted("$prev")],
        [
            Column(
                "kind", "Error", link=kit.to(kit.TRIAGE, "Its lines", generation=chosen("generation"), also=_carried())
            ),
            Column("A", "Lines now", looks.COUNT, width=110, decimals=0),
            Column("B", "Lines before", looks.COUNT, width=110, decimals=0),
        ],
        sort="Lines now",
        no_value="—",
    )


def _carried() -> dict[str, str]:
    return {variable.variable: CARRIED[variable.variable] for variable in (LOKI, TEMPO)}
