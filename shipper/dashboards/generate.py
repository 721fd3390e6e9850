"""Everything that is made from a board configuration: dashboards, rules, provisioning files, manifests.

``python -m shipper.dashboards.build`` writes it all into dashboards/; a test holds the committed files to it.
"""

from __future__ import annotations

from shipper.dashboards.build import build
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.kubernetes import manifests
from shipper.dashboards.provisioning import provisioning


def generate(config: BoardConfig) -> dict[str, str]:
    """Path below the dashboards folder -> text. Raises `MissingExtra` where the builders of dashboards are not installed."""
    boards = build(config)
    rules: dict[str, str] = {}
    return {**boards, **rules, **provisioning(config), **manifests(boards, rules)}
