"""All alerts, and how they are written into a rule file: with words, a runbook and the dashboard to open."""

from __future__ import annotations

from typing import Any

from shipper.dashboards import alerts_deploy, alerts_shipping, alerts_slo
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.ruleset import Alert, Group
from shipper.dashboards.words import Words


def alert_groups(config: BoardConfig) -> tuple[Group, ...]:
    """The groups of alerts, in the order of the file."""
    interval = duration(config.intervals.evaluate)
    return (
        Group(
            "shipper-deploys",
            interval,
            alerts=(*alerts_deploy.worse(config), *alerts_deploy.events(config), *alerts_deploy.rollouts(config)),
        ),
        Group(
            "shipper-shipping",
            interval,
            alerts=(
                *alerts_shipping.endings(config),
                *alerts_shipping.records(config),
                *alerts_shipping.destinations(config),
            ),
        ),
        Group("shipper-slo", duration(config.intervals.slow), alerts=tuple(alerts_slo.burning(config))),
    )


def alert_labels(alert: Alert) -> dict[str, str]:
    """What an alert is routed by, besides the labels of its series."""
    return {"severity": alert.severity, **alert.labels}


def alert_annotations(config: BoardConfig, alert: Alert) -> dict[str, str]:
    """What an alert says; Prometheus templates."""
    return {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": config.runbooks.replace("{alert}", alert.name),
        "dashboard_url": Words(config).board(alert.board, alert.variables),
    }


def alerting(config: BoardConfig, group: Group) -> dict[str, Any]:
    """A group of alerts as a rule file has it."""
    rules = []
    for alert in group.alerts:
        rule: dict[str, Any] = {"alert": alert.name, "expr": alert.expr}
        if alert.wait:
            rule["for"] = alert.wait
        if alert.keep:
            rule["keep_firing_for"] = alert.keep
        rules.append(rule | {"labels": alert_labels(alert), "annotations": alert_annotations(config, alert)})
    return {"name": group.name, "interval": group.interval, "rules": rules}
