"""What every board shares: its variables, its deploy markers, and the PromQL fragments that must mean the same everywhere."""

from dataclasses import dataclass

from shipper.dashboards import kit, names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.kit import looks
from shipper.dashboards.kit.sdk import model
from shipper.dashboards.selector import Selector
from shipper.dashboards.sources import LOKI, PROMETHEUS, Source

# How many generations a graph tells apart; older ones are in the scoreboard.
GENERATIONS_SHOWN = 8
# The alerts that say of a generation that it fails more, by three measures; any of them makes its line red.
ACCUSING = "ShipperNewGenerationErrors|ShipperYoungGenerationErrors|ShipperVerdictErrors"
# OTLP's names as Loki keeps them; a filter finds them whether they are index labels or structured metadata.
OF_ENVIRONMENT = '{service_name="$service"} | deployment_environment_name="$env"'
# The deploy log events of `shipper deploy`, of one kind ("started", "rollback", "withdrawn").
DEPLOY_LINES = OF_ENVIRONMENT + ' | scope_name="shipper.deploy" | shipper_deploy_action="{action}"'


@dataclass(frozen=True)
class Words:
    """PromQL in the label names of the configuration, restricted to the chosen environment and service."""

    config: BoardConfig

    @property
    def by(self) -> str:
        """The labels of one generation, for ``by`` and ``on``."""
        labels = self.config.labels
        return f"{labels.env}, {labels.service}, {labels.generation}"

    @property
    def one(self) -> str:
        """The matcher of the chosen generation."""
        return f'{self.config.labels.generation}="$generation"'

    @property
    def history(self) -> str:
        """The range that the generations before come from."""
        return duration(self.config.windows.history)

    def here(self, metric: str, *matchers: str) -> str:
        """``metric`` of the chosen environment and service."""
        labels = self.config.labels
        inside = [f'{labels.env}="$env"', f'{labels.service}="$service"', *matchers]
        return f"{metric}{{{','.join(inside)}}}"

    def recent(self) -> str:
        """The starts of the newest generations of the shown time, the same ones at every point of it."""
        return f"topk({GENERATIONS_SHOWN}, max_over_time({self.here(names.STARTED)}[$__range] @ end()))"

    def enough(self, expr: str) -> str:
        """``expr`` by generation where there were requests enough; a dying generation flickers between 0 and 100 % else."""
        requests = self.here(names.REQUESTS_INCREASE)
        return f"({expr} and on({self.by}) ({requests} >= {self.config.thresholds.requests}))"

    def lasting(self, metric: str, *matchers: str) -> str:
        """The last value within the history: what is recorded only while hosts serve, of generations that are gone, too."""
        return f"last_over_time({self.here(metric, *matchers)}[{self.history}])"

    def release(self) -> str:
        """1 with the release, exactly one series a generation, also for generations that ended within the history."""
        return f"topk by ({self.by}) (1, {self.lasting(names.RELEASE_INFO)})"

    def first(self, metric: str, age: str, *matchers: str) -> str:
        """What was counted in the first minutes of each generation of the history, long gone ones included."""
        counted = self.lasting(metric, f'age="{age}"', *matchers)
        return f"sum by ({self.by}) ({counted})"

    def counted(
        self, selector: str, over: str, *, by: str, suffix: str = "", of: str = "$generation", offset: str = ""
    ) -> str:
        """How much a request metric of the configuration grew over ``over``, by ``by`` ("instance", "le"), of one generation.

        Request metrics may be existing ones with label names of their own; the result has ours.
        """
        theirs = self.config.requests.labels
        ours = self.config.labels
        chosen = [
            f'{name}="{value}"'
            for name, value in (
                (theirs.env or ours.env, "$env"),
                (theirs.service or ours.service, "$service"),
                (theirs.generation or ours.generation, of),
            )
            if not name.startswith("=")
        ]
        name = theirs.instance or ours.instance if by == "instance" else by
        grew = f"sum by ({name}) (increase({Selector.parse(selector).with_(*chosen, suffix=suffix)}[{over}]{offset}))"
        if by == "instance" and name != ours.instance:
            return f'sum by ({ours.instance}) (label_replace({grew}, "{ours.instance}", "$1", "{name}", "(.*)"))'
        return grew

    def accused(self) -> str:
        """The generations an alert that names a bad deploy is firing for."""
        firing = self.here("ALERTS", f'alertname=~"{ACCUSING}"', 'alertstate="firing"')
        return f"max by ({self.by}) ({firing})"

    def by_role(self, expr: str) -> list[kit.Query]:
        """A line a generation: A those accused by an alert, B the newest, C the ones before. Colour them by `ROLE_COLORS`."""
        shown = f"{expr} and on({self.by}) {self.recent()}"
        newest = f"({self.here(names.NEWEST)} @ end())"
        label = f"{{{{{self.config.labels.generation}}}}}"
        accused = self.accused()
        return [
            kit.prom(f"{shown} and on({self.by}) {accused}", f"accused: {label}"),
            kit.prom(f"{shown} and on({self.by}) {newest} unless on({self.by}) {accused}", f"newest: {label}"),
            kit.prom(f"{shown} unless on({self.by}) {newest} unless on({self.by}) {accused}", label),
        ]


ROLE_COLORS = {"A": looks.fixed(looks.BAD), "B": looks.fixed(looks.NEW), "C": looks.shades(looks.OLD)}


def previous(config: BoardConfig) -> model.VariableModel:
    """The hidden variable ``prev``: the generation that was the newest before the chosen one; empty where none is known."""
    words = Words(config)
    before = f"max by (prev_generation) ({words.lasting(names.PREV_INFO, words.one)})"
    return kit.hidden_label("prev", before, "prev_generation")


def variables(config: BoardConfig, *sources: Source, generation: bool = True) -> list[model.VariableModel]:
    """Data sources (Prometheus first), environment, service and, where the board is about one, the generation."""
    labels = config.labels
    words = Words(config)
    chosen = [kit.datasource(source) for source in (PROMETHEUS, *sources)]
    chosen.append(kit.label_values("env", "Environment", f"label_values({names.STARTED}, {labels.env})"))
    of_env = f'{names.STARTED}{{{labels.env}="$env"}}'
    chosen.append(kit.label_values("service", "Service", f"label_values({of_env}, {labels.service})"))
    if generation:
        seen = f"max by ({labels.generation}) (max_over_time({words.here(names.STARTED)}[$__range]))"
        chosen.append(kit.newest_first("generation", "Generation", f"topk(50, {seen})", labels.generation))
    return chosen


def markers(config: BoardConfig, *sources: Source) -> list[model.AnnotationQuery]:
    """Deploys blue, rollbacks red, withdrawals grey; the same from deploy log events where the board asks Loki."""
    words = Words(config)
    labels = config.labels
    # A generation that comes back is another episode of the same key, and has a marker of its own.
    by = f"{labels.service}, {labels.generation}, {labels.release}, episode, inferred"
    text = f"{{{{{labels.service}}}}} generation {{{{{labels.generation}}}}}, inferred from hosts: {{{{inferred}}}}"
    release = f"{{{{{labels.release}}}}}"
    deploy = words.here(names.DEPLOY_STARTED, 'action!="rollback"')
    rollback = words.here(names.DEPLOY_STARTED, 'action="rollback"')
    made = [
        kit.markers.from_metric(
            "Deploys",
            f"max by ({by}, action) ({deploy})",
            kit.markers.BLUE,
            title=f"{{{{action}}}} {release}",
            text=text,
        ),
        kit.markers.from_metric(
            "Rollbacks",
            f"max by ({by}, action, from_release) ({rollback})",
            kit.markers.RED,
            title=f"rollback {{{{from_release}}}} to {release}",
            text=text,
        ),
        kit.markers.from_metric(
            "Withdrawals",
            f"max by ({by}) ({words.here(names.DEPLOY_WITHDRAWN)})",
            kit.markers.GREY,
            title=f"withdrawn {release}",
            text=text,
        ),
    ]
    if LOKI in sources:
        made += [
            kit.markers.from_logs(
                f"{name} (log events)",
                DEPLOY_LINES.replace("{action}", action),
                color,
                title=f"{action} {{{{service_version}}}}",
            )
            for name, action, color in (
                ("Deploys", "started", kit.markers.BLUE),
                ("Rollbacks", "rollback", kit.markers.RED),
                ("Withdrawals", "withdrawn", kit.markers.GREY),
            )
        ]
    return made
