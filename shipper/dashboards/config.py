"""The one configuration that boards, rules, alerts and the cost table are made from: names, windows, thresholds.

Nothing in a query is a literal that a user might have to change: who has Istio's request metrics, other label names or a
push every 5 seconds says so here and rebuilds. Times are compressed (for a demo or a test) by `BoardConfig.scaled`, which
shortens every duration alike; no query knows of it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shipper.config.convert import Converter, raise_all
from shipper.config.layers import Layers
from shipper.config.section import Section
from shipper.config.units import Seconds
from shipper.dashboards import names
from shipper.dashboards.check import problems
from shipper.dashboards.duration import duration
from shipper.errors import ConfigError

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


class Labels(Section, frozen=True):
    """What the identity labels are called in Prometheus."""

    service: str = "service"
    env: str = "env"
    generation: str = "generation"
    release: str = "release"
    instance: Annotated[str, Meta(description="The host's id, never an address.")] = "instance"


class SourceLabels(Section, frozen=True):
    """What the identity is called on the request metrics, where that differs. ``=value``: none of them, it is constant."""

    service: str = ""
    env: str = ""
    generation: str = ""
    instance: str = ""


class Requests(Section, frozen=True):
    """Where requests, errors and durations are counted: Shipper's own metrics, or existing ones by name."""

    requests: Annotated[str, Meta(description="A counter of all requests, as a PromQL selector.")] = names.REQUESTS
    errors: Annotated[str, Meta(description="A counter of those that failed, as a PromQL selector.")] = (
        names.REQUESTS + '{outcome="error"}'
    )
    durations: Annotated[
        str, Meta(description="A histogram's base name with its selector (no _bucket); empty: there is none.")
    ] = names.REQUEST_DURATION
    unit: Annotated[Literal["seconds", "milliseconds"], Meta(description="What the histogram counts in.")] = "seconds"
    objective: Annotated[
        Seconds, Meta(description="A request should take no longer; a bucket of the histogram must end here.")
    ] = 0.5
    steady: Annotated[
        bool,
        Meta(
            description="Series begin at 0 and never fall back, so their last value is an exact count: true for Shipper's "
            "own. False for counters in services' memory, which begin anew with each process."
        ),
    ] = True
    labels: Annotated[SourceLabels, Meta(description="Label names on these metrics, where others.")] = SourceLabels()


class Intervals(Section, frozen=True):
    """How often things happen."""

    push: Annotated[Seconds, Meta(description="`metrics.interval` of the hosts.")] = 15.0
    evaluate: Annotated[Seconds, Meta(description="How often rules are evaluated.")] = 15.0
    slow: Annotated[Seconds, Meta(description="How often those are that look back for days.")] = 60.0


class Windows(Section, frozen=True):
    """How far back queries look."""

    present: Annotated[Seconds, Meta(description="A host silent for so long is not there: three pushes.")] = 45.0
    rate: Annotated[Seconds, Meta(description="Rates and ratios by generation.")] = 5 * MINUTE
    role: Annotated[Seconds, Meta(description="New against old, in the same minutes.")] = 10 * MINUTE
    first_short: Annotated[Seconds, Meta(description="The first minutes of a generation.")] = 5 * MINUTE
    first_long: Annotated[Seconds, Meta(description="What generations are compared by.")] = 30 * MINUTE
    remember: Annotated[
        Seconds, Meta(description="How long a generation without hosts keeps its start; later it begins anew.")
    ] = 10 * MINUTE
    absent: Annotated[Seconds, Meta(description="A generation without hosts for so long has been withdrawn.")] = (
        2 * MINUTE
    )
    previous: Annotated[Seconds, Meta(description="How long ago the generation before may have ended.")] = HOUR
    history: Annotated[Seconds, Meta(description="Which generations before count as predecessors.")] = 14 * DAY
    ended: Annotated[Seconds, Meta(description="Lives that ended are looked at for so long.")] = 30 * MINUTE
    silent: Annotated[
        Seconds, Meta(description="A host not heard of for so long, without a farewell, died in silence.")
    ] = 2 * MINUTE
    together: Annotated[Seconds, Meta(description="Hosts that fall silent within this time did so together.")] = (
        5 * MINUTE
    )
    boot: Annotated[Seconds, Meta(description="How long a deploy's hosts may take to come up.")] = 10 * MINUTE
    rollout: Annotated[Seconds, Meta(description="How long two generations may serve side by side.")] = 45 * MINUTE
    event: Annotated[Seconds, Meta(description="How long a rollback or a withdrawal is told.")] = 10 * MINUTE
    verdict: Annotated[
        Seconds, Meta(description="An older verdict is none: it is computed every minute, or by nobody.")
    ] = 2 * MINUTE

    @property
    def ages(self) -> tuple[str, str]:
        """The two values of the label ``age`` of what is recorded of first minutes ("5m", "30m")."""
        return duration(self.first_short), duration(self.first_long)


class Thresholds(Section, frozen=True):
    """From where on something is worth a word."""

    z: Annotated[float, Meta(description="Standard deviations that the new generation must be worse by.", gt=0)] = 3.0
    design_effect: Annotated[
        float, Meta(description="By how much errors that come in bursts inflate the variance.", ge=1)
    ] = 3.0
    worse: Annotated[float, Meta(description="How many times the old one's ratio is worth a page.", ge=1)] = 1.5
    errors: Annotated[int, Meta(description="Fewer errors of the new generation say nothing.", ge=1)] = 10
    requests: Annotated[int, Meta(description="A ratio of fewer requests is not shown.", ge=1)] = 100
    young_factor: Annotated[float, Meta(description="How many times its predecessors' ratio is too much.", gt=1)] = 2.0
    young_errors: Annotated[int, Meta(description="Fewer errors of a young generation say nothing.", ge=1)] = 20
    young_ratio: Annotated[float, Meta(description="A smaller error ratio is never too much.", ge=0, le=1)] = 0.001
    predecessors: Annotated[int, Meta(description="Fewer generations before are no measure.", ge=1)] = 3
    one_host: Annotated[float, Meta(description="A host with more than this share of the errors.", gt=0, lt=1)] = 0.6
    one_host_of: Annotated[int, Meta(description="A generation of fewer hosts has no odd one out.", ge=2)] = 3
    silent_share: Annotated[float, Meta(description="Share of hosts that may end in silence.", ge=0, lt=1)] = 0.05
    silent_hosts: Annotated[int, Meta(description="Fewer hosts that end in silence are bad luck.", ge=1)] = 3
    outage_share: Annotated[
        float, Meta(description="Fleet share that, silent together, is our outage.", gt=0, le=1)
    ] = 0.2
    exposure: Annotated[
        Seconds, Meta(description="Records should be acknowledged by then: an edge of shipper_exposure_seconds.")
    ] = 2.0
    exposure_share: Annotated[float, Meta(description="Share of records that may take longer.", ge=0, lt=1)] = 0.05
    unacknowledged: Annotated[Seconds, Meta(description="The oldest record that no destination has, at most.")] = 60.0
    destination_share: Annotated[
        float, Meta(description="Share of hosts that cannot reach a destination: then it is down.", gt=0, le=1)
    ] = 0.5


class Objective(Section, frozen=True):
    """What the service promises over ``period``."""

    availability: Annotated[float, Meta(description="Share of requests without an error.", gt=0, lt=1)] = 0.999
    latency: Annotated[float, Meta(description="Share of requests within the objective.", gt=0, lt=1)] = 0.99
    period: Annotated[Seconds, Meta(description="The time the error budget is for.")] = 30 * DAY


class BurnWindow(Section, frozen=True):
    """One line of the multi-window table: ``share`` of the budget of ``period`` spent within ``long`` is too much."""

    long: Seconds
    short: Annotated[Seconds, Meta(description="And still being spent: over this window, too.")]
    factor: Annotated[float, Meta(description="Times the rate that would just use up the budget.", gt=0)]
    severity: Literal["page", "ticket"] = "page"


class BoardConfig(Section, frozen=True):
    """All settings of dashboards, rules and alerts."""

    labels: Annotated[Labels, Meta(description="Label names.")] = Labels()
    requests: Annotated[Requests, Meta(description="Request metrics.")] = Requests()
    intervals: Annotated[Intervals, Meta(description="How often.")] = Intervals()
    windows: Annotated[Windows, Meta(description="How far back.")] = Windows()
    thresholds: Annotated[Thresholds, Meta(description="How much is too much.")] = Thresholds()
    objective: Annotated[Objective, Meta(description="Service level objective.")] = Objective()
    burn: Annotated[list[BurnWindow], Meta(description="Burn rate windows.")] = msgspec.field(
        default_factory=lambda: [
            BurnWindow(long=HOUR, short=5 * MINUTE, factor=14.4),
            BurnWindow(long=6 * HOUR, short=30 * MINUTE, factor=6),
            BurnWindow(long=DAY, short=2 * HOUR, factor=3, severity="ticket"),
            BurnWindow(long=3 * DAY, short=6 * HOUR, factor=1, severity="ticket"),
        ]
    )
    runbooks: Annotated[str, Meta(description="Where an alert's runbook is; {alert} stands for its name.")] = (
        "runbooks/{alert}.md"
    )
    grafana: Annotated[str, Meta(description="Grafana's address, for links in alerts; empty: links are paths.")] = ""
    compression: Annotated[
        float, Meta(description="Every duration is divided by this; for trying things out in little time.", ge=1)
    ] = 1.0

    def scaled(self, times: float) -> BoardConfig:
        """The same with all durations ``times`` as short: intervals, windows and alerts' ``for``. Request objectives stay."""

        def shorter(section: Section) -> Section:
            return msgspec.structs.replace(
                section,
                **{
                    field.name: getattr(section, field.name) / times
                    for field in msgspec.structs.fields(section)
                    if field.name not in ("factor", "severity")
                },
            )

        return msgspec.structs.replace(
            self,
            intervals=shorter(self.intervals),
            windows=shorter(self.windows),
            burn=[shorter(window) for window in self.burn],
            thresholds=msgspec.structs.replace(self.thresholds, unacknowledged=self.thresholds.unacknowledged / times),
            objective=msgspec.structs.replace(self.objective, period=self.objective.period / times),
            compression=self.compression * times,
        )

    def wait(self, seconds: float) -> str:
        """A duration that stands in no setting (an alert's ``for``), compressed as all are, as PromQL writes it."""
        return duration(seconds / self.compression)


def load_board_config(path: str) -> BoardConfig:
    """Read a YAML file; ``compression`` in it is applied. Raises `ConfigError` (`ConfigErrors`), which name file and path."""
    from shipper.config.yamlfile import read_document

    document = read_document(path)
    errors: list[ConfigError] = []
    locate = Layers.from_document(document).locate
    config = Converter(locate, errors).value(document.data, BoardConfig, ())
    raise_all(errors)
    assert isinstance(config, BoardConfig)
    raise_all([ConfigError(locate(where), problem) for where, problem in problems(config)])
    if config.compression == 1:
        return config
    return msgspec.structs.replace(config, compression=1.0).scaled(config.compression)
