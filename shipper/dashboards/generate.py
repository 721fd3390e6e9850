"""Everything that is made from a board configuration: dashboards, rules, alerts, provisioning files, manifests.

``python -m shipper.dashboards.generate`` writes it all into dashboards/; a test holds the committed files to it.
"""

from __future__ import annotations

from pathlib import Path

from shipper.dashboards.build import build
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.grafana_alerts import alerting_files
from shipper.dashboards.kubernetes import manifests
from shipper.dashboards.provisioning import provisioning
from shipper.dashboards.rulefiles import rule_files


def generate(config: BoardConfig) -> dict[str, str]:
    """Path below the dashboards folder -> text. Raises `MissingExtra` where the builders of dashboards are not installed."""
    boards = build(config)
    rules = {f"rules/{name}": text for name, text in rule_files(config).items()}
    return {**boards, **rules, **provisioning(config), **alerting_files(config), **manifests(boards, rules)}


def main() -> None:
    """Write the shipped files beside the source tree, and say which of them changed."""
    folder = Path(__file__).resolve().parents[2] / "dashboards"
    for path, text in generate(BoardConfig()).items():
        file = folder / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(file)


if __name__ == "__main__":
    main()
