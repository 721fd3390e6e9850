"""Bringing the dashboards (and, where there is no ruler, the alerts) into a Grafana by its API, as often as one likes.

What is there already and the same is left alone, so that a dashboard's history shows changes only; what differs is
replaced. Stars, permissions and the folder's name stay as people made them.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shipper.dashboards.grafana import Answer, Grafana, GrafanaError

FOLDER_UID = "shipper"
ALERT_RULES = "alert rules"
EXPRESSION = "__expr__"  # what stands for a data source where Grafana itself computes
_ITS_OWN = ("id", "version")  # of a dashboard: Grafana's, not ours
_API_NAMES = {"keepFiringFor": "keep_firing_for"}
_IN_ANNOTATIONS = ("dashboardUid", "panelId")  # fields in a file, annotations by the API


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done, or would be: ``what`` is a folder, dashboard or alert group."""

    what: str
    name: str
    outcome: Literal["created", "updated", "unchanged"]
    url: str = ""


class Installer:
    """Installs into one Grafana. With ``dry_run`` it looks, and changes nothing.

    ``message`` goes into the history of each dashboard that changes.
    """

    def __init__(self, grafana: Grafana, *, message: str, dry_run: bool = False) -> None:
        self._grafana = grafana
        self._message = message
        self._dry_run = dry_run

    def install(
        self, folder: str, boards: Mapping[str, dict[str, Any]], groups: Mapping[str, dict[str, Any]]
    ) -> Iterator[Step]:
        """Do all of it, telling each step when it is done. Raises `GrafanaError` at the first that is not to be had.

        ``boards``: dashboards by any name. ``groups``: alert rule groups by name, as the provisioning API takes them, less
        the folder.
        """
        uid, step = self._folder(folder)
        yield step
        for board in boards.values():
            yield self._dashboard(board, uid)
        for name, group in groups.items():
            yield self._group(name, group, uid)

    def _folder(self, title: str) -> tuple[str, Step]:
        """The folder to put things into: ours by its uid, or one that people made by that name before us."""
        there = self._grafana.ask("GET", f"/api/folders/{FOLDER_UID}")
        if there.status == 200 and isinstance(there.data, dict):
            return FOLDER_UID, Step("folder", str(there.data.get("title", title)), "unchanged")
        for folder in self._folders():
            if folder.get("title") == title and folder.get("uid"):
                return str(folder["uid"]), Step("folder", title, "unchanged")
        if not self._dry_run:
            made = self._grafana.ask("POST", "/api/folders", {"uid": FOLDER_UID, "title": title})
            if made.status not in (200, 409, 412):  # somebody was faster: as good
                raise self._refused("folder", title, made)
        return FOLDER_UID, Step("folder", title, "created")

    def _folders(self) -> list[dict[str, Any]]:
        answer = self._grafana.ask("GET", "/api/folders?limit=1000")
        listed = answer.data if answer.status == 200 and isinstance(answer.data, list) else []
        return [folder for folder in listed if isinstance(folder, dict)]

    def _dashboard(self, board: dict[str, Any], folder_uid: str) -> Step:
        there = self._grafana.ask("GET", f"/api/dashboards/uid/{urllib.parse.quote(board['uid'])}")
        if there.status not in (200, 404):
            raise self._refused("dashboard", board["title"], there)
        if there.status == 200 and _same(there.data, board, folder_uid):
            return Step("dashboard", board["title"], "unchanged", self._shown(str(there.data["meta"].get("url", ""))))
        outcome: Literal["created", "updated"] = "updated" if there.status == 200 else "created"
        if self._dry_run:
            return Step("dashboard", board["title"], outcome)
        body = {
            "dashboard": board | {"id": None},
            "folderUid": folder_uid,
            "message": self._message,
            "overwrite": True,
        }
        saved = self._grafana.ask("POST", "/api/dashboards/db", body)
        if saved.status != 200 or not isinstance(saved.data, dict):
            raise self._refused("dashboard", board["title"], saved)
        return Step("dashboard", board["title"], outcome, self._shown(saved.data.get("url", "")))

    def _group(self, name: str, group: dict[str, Any], folder_uid: str) -> Step:
        path = f"/api/v1/provisioning/folder/{urllib.parse.quote(folder_uid)}/rule-groups/{urllib.parse.quote(name)}"
        body = group | {
            "title": name,
            "folderUid": folder_uid,
            "rules": [rule | {"folderUID": folder_uid, "ruleGroup": name} for rule in group["rules"]],
        }
        there = self._grafana.ask("GET", path)
        if there.status not in (200, 404):
            raise self._refused(ALERT_RULES, name, there)
        if there.status == 200 and _holds(there.data, body):
            return Step(ALERT_RULES, name, "unchanged")
        if not self._dry_run:
            saved = self._grafana.ask("PUT", path, body)
            if saved.status not in (200, 201, 202):
                raise self._refused(ALERT_RULES, name, saved)
        return Step(ALERT_RULES, name, "updated" if there.status == 200 else "created")

    def _refused(self, what: str, name: str, answer: Answer) -> GrafanaError:
        words = answer.message or "no reason given"
        status = answer.data.get("status", "") if isinstance(answer.data, dict) else ""
        hint = ""
        if "provisioned" in words.lower():
            hint = ": it comes from files that this Grafana was started with; replace those (shipper dashboards export)"
        elif answer.status == 412 and status == "name-exists":
            hint = ": another dashboard has that title in the folder; rename or remove that one"
        elif answer.status == 403:
            role = "Admin (for alert.provisioning:write)" if what == ALERT_RULES else "Editor"
            hint = f": give the token's service account the role {role}"
        elif answer.status == 404:
            hint = ": this Grafana lacks that API; is it older than it says, or is alerting switched off?"
        return GrafanaError(f"{what} {name!r}: Grafana answers {answer.status}, {words}{hint}")

    def _shown(self, path: str) -> str:
        """Where people find it: Grafana tells the path, with its sub-path."""
        return urllib.parse.urljoin(self._grafana.url, path) if path else ""


def present(grafana: Grafana) -> set[str]:
    """The types of the data sources that Grafana has; none where the token may not list them."""
    answer = grafana.ask("GET", "/api/datasources")
    listed = answer.data if answer.status == 200 and isinstance(answer.data, list) else []
    return {str(source["type"]) for source in listed if isinstance(source, dict) and source.get("type")}


def asking(groups: Iterable[dict[str, Any]], datasource: str) -> dict[str, dict[str, Any]]:
    """Rule groups of a provisioning file as the API takes them, asking the data source with this uid."""
    return {
        group["name"]: {
            "interval": int(group["interval"].removesuffix("s")),
            "rules": [_rule(rule, datasource) for rule in group["rules"]],
        }
        for group in groups
    }


def _rule(rule: dict[str, Any], datasource: str) -> dict[str, Any]:
    data = [
        query if query["datasourceUid"] == EXPRESSION else query | {"datasourceUid": datasource}
        for query in rule["data"]
    ]
    board = {"__dashboardUid__": rule["dashboardUid"], "__panelId__": str(rule["panelId"])} if "panelId" in rule else {}
    renamed = {_API_NAMES.get(name, name): value for name, value in rule.items() if name not in _IN_ANNOTATIONS}
    return renamed | {"data": data, "annotations": rule["annotations"] | board, "orgID": 1}


def _same(there: Any, board: dict[str, Any], folder_uid: str) -> bool:
    """Whether a dashboard is in Grafana as we would write it, and where."""
    if not _holds(there, {"meta": {"folderUid": folder_uid}, "dashboard": {"uid": board["uid"]}}):
        return False
    held = {name: value for name, value in there["dashboard"].items() if name not in _ITS_OWN}
    return held == {name: value for name, value in board.items() if name not in _ITS_OWN}


def _holds(there: Any, wanted: Any) -> bool:
    """Whether all that is ``wanted`` is there; Grafana adds fields of its own (ids, times, defaults)."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_holds(there.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(there, list)
            and len(there) == len(wanted)
            and all(_holds(one, other) for one, other in zip(there, wanted, strict=True))
        )
    return bool(there == wanted)
