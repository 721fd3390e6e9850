"""The boards, rules and provisioning files that come with Shipper: where they are, and what each kind is for.

They were built from the default configuration; using them needs nothing that built them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path, PurePath
from typing import Any

import shipper
from shipper.dashboards.fit import fit
from shipper.dashboards.kubernetes import manifests
from shipper.errors import ShipperError

KINDS: dict[str, tuple[str, ...]] = {
    "dashboards": ("*.json",),
    "rules": ("rules/*",),
    "alerts": ("rules/*alerts*", "provisioning/alerting/*"),
    "runbooks": ("runbooks/*",),
    "provisioning": ("provisioning/**/*",),
    "kubernetes": ("kubernetes/*",),
    "terraform": ("*.json", "terraform/*"),
}
"""What can be asked for by a word, as patterns of paths below the folder; alert rules stand in Prometheus's files and,
for Grafana's own alerting, in a provisioning file. Terraform reads the boards beside it."""

ALERTING = "provisioning/alerting/shipper.json"
LANDING = "shipper-triage.json"


def folder() -> Path:
    """Where the files are: inside an installed package, or beside the sources. Raises `ShipperError` if nowhere."""
    package = Path(shipper.__file__).parent
    for place in (package / "_dashboards", package.parent / "dashboards"):
        if place.is_dir():
            return place
    raise ShipperError("this installation of Shipper came without its dashboards; install the wheel ephemeral-shipper")


def files() -> dict[str, str]:
    """Path below the folder -> text, of all kinds, in the order of their paths. Raises `ShipperError` as `folder`."""
    root = folder()
    found = {file for patterns in KINDS.values() for pattern in patterns for file in root.glob(pattern)}
    return {str(file.relative_to(root)): file.read_text(encoding="utf-8") for file in sorted(found) if file.is_file()}


def of_kinds(made: Mapping[str, str], kinds: Collection[str]) -> dict[str, str]:
    """Those files whose paths are of these kinds; all, where none is named."""
    patterns = [pattern for kind in kinds or KINDS for pattern in KINDS[kind]]
    return {path: text for path, text in made.items() if any(_matches(path, pattern) for pattern in patterns)}


def boards(made: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The dashboards among these files, by file name, the landing page first."""
    names = [path for path in made if _matches(path, "*.json")]
    return {name: json.loads(made[name]) for name in sorted(names, key=lambda name: (name != LANDING, name))}


def alert_groups(made: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rule groups of the alerting provisioning file among these, none where it is not there."""
    groups: list[dict[str, Any]] = json.loads(made.get(ALERTING, '{"groups": []}'))["groups"]
    return groups


def fitted(made: Mapping[str, str], sources: Collection[str]) -> dict[str, str]:
    """The same files for a Grafana that has just these types of data sources: without the rows of others."""
    cut = {name: text_of(fit(board, sources)) for name, board in boards(made).items()}
    rules = {path: text for path, text in made.items() if _matches(path, "rules/*.yml")}
    return {**made, **cut, **manifests(cut, rules)}


def text_of(board: dict[str, Any]) -> str:
    """A dashboard as its file has it."""
    return json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _matches(path: str, pattern: str) -> bool:
    """As `Path.glob` would find it: a ``*`` stays within one directory."""
    if "**" in pattern:
        return path.startswith(pattern.partition("**")[0])
    return PurePath(path).match(pattern) and path.count("/") == pattern.count("/")
