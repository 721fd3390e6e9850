"""The committed dashboards as the lint reads them: their panels, queries, variables and links, wherever in the JSON they stand."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ROOT = Path(__file__).resolve().parents[3]
DASHBOARDS = ROOT / "dashboards"
# ${name}, ${name:format}, ${name.field}, ${name["field"]:format}, $name and [[name]]; not ``$1``, a group of label_replace
_VARIABLE = re.compile(r"\$\{(\w+)(?:[.\[][^}]*)?(?::[^}]*)?\}|\$([a-zA-Z_]\w*)|\[\[(\w+)")


@dataclass(frozen=True)
class Query:
    """One query of a panel, or of a marker (``panel`` is then empty)."""

    panel: dict[str, Any]
    json: dict[str, Any]

    @property
    def source(self) -> str:
        return str(self.json["datasource"]["type"])

    @property
    def text(self) -> str:
        return str(self.json.get("expr") or self.json.get("query") or "")

    @property
    def instant(self) -> bool:
        """Asked once, for the end of the shown time."""
        return bool(self.json.get("instant")) or self.json.get("queryType") == "instant"


@dataclass(frozen=True)
class Link:
    """A link to another board: its uid and the parameters it gives."""

    title: str
    url: str

    @property
    def board(self) -> str | None:
        parts = urlsplit(self.url).path.split("/")
        return parts[2] if len(parts) > 2 and parts[1] == "d" else None

    @property
    def given(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))


class Board:
    """A dashboard file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.json: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.uid = str(self.json["uid"])

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [panel for panel in self.json["panels"] if panel["type"] == "row"]

    @property
    def panels(self) -> list[dict[str, Any]]:
        """Every panel that is no row, those of closed rows included."""
        found = []
        for panel in self.json["panels"]:
            found += panel.get("panels", []) if panel["type"] == "row" else [panel]
        return found

    @property
    def queries(self) -> list[Query]:
        return [Query(panel, target) for panel in self.panels for target in panel.get("targets", [])]

    @property
    def markers(self) -> list[dict[str, Any]]:
        return list(self.json["annotations"]["list"])

    @property
    def variables(self) -> dict[str, dict[str, Any]]:
        return {variable["name"]: variable for variable in self.json["templating"]["list"]}

    def panel(self, question: str) -> dict[str, Any]:
        """The panel with this title."""
        (found,) = [panel for panel in self.panels if panel["title"] == question]
        return found

    def links(self) -> list[Link]:
        """Every link of the board and its panels."""
        return links_of(self.json)


def links_of(part: Any) -> list[Link]:
    """The links under any part of a dashboard, as panels, fields and overrides keep them."""
    return [Link(link["title"], link["url"]) for link in _links(part) if link.get("url")]


def _links(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if part.get("id") == "links":
            yield from part["value"]
        for key, value in part.items():
            if key == "links":
                yield from value
            else:
                yield from _links(value)
    elif isinstance(part, list):
        for value in part:
            yield from _links(value)


def variables_in(part: Any) -> set[str]:
    """The names of all variables that any text under ``part`` uses, Grafana's own (``__...``) included."""
    text = part if isinstance(part, str) else json.dumps(part)
    return {name for match in _VARIABLE.finditer(text) for name in match.groups() if name}


def regex_free(variable: dict[str, Any]) -> dict[str, Any]:
    """A variable without the keys whose ``$`` belongs to a regular expression."""
    return {key: value for key, value in variable.items() if key != "regex"}


@cache
def boards() -> dict[str, Board]:
    """All committed dashboards, by uid."""
    return {board.uid: board for board in map(Board, sorted(DASHBOARDS.glob("*.json")))}
