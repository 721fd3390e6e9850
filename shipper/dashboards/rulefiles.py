"""The rule files that are shipped in ``dashboards/rules``; `shipper.dashboards.generate` writes them."""

from __future__ import annotations

from shipper.dashboards.alerts import alert_groups, alerting
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.rules import recording_groups
from shipper.dashboards.ruleset import recording, written

_HEAD = """\
{about}
Made by shipper.dashboards from its configuration; change that and build anew, not this file.
For Prometheus 2.42 or newer, Mimir and VictoriaMetrics (vmalert)."""


def rule_files(config: BoardConfig) -> dict[str, str]:
    """Each file's text by its name. The three belong together: later ones read what earlier ones record."""

    def head(about: str) -> str:
        return _HEAD.format(about=about)

    *of_generations, role, history = (recording(group) for group in recording_groups(config))
    return {
        "shipper-generation.yml": written(of_generations, head("What is recorded of each generation of hosts.")),
        "shipper-role.yml": written(
            [role, history],
            head("What is recorded of each service: new generation against old, predecessors, error budget."),
        ),
        "shipper-alerts.yml": written(
            [alerting(config, group) for group in alert_groups(config)],
            head("Alerts: which deploy broke it, and whether everything arrives."),
        ),
    }
