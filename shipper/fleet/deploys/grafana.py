"""Deploys as annotations in Grafana's own store, for those who want them beside the markers drawn from metrics.

API: Grafana HTTP API, "Annotations". A deploy's start is a point; its end makes a region of it, which needs the id that the
start got. That is looked for by the deploy's tag, so that nothing has to be kept between two steps of a pipeline.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from shipper.errors import ConfigError
from shipper.fleet.deploys.model import STARTS, DeployEvent
from shipper.fleet.deploys.send import NotTold, ask
from shipper.fleet.deploys.wire import sentence

_MEANINGS = {
    401: "the token is not accepted",
    403: "the token may not write annotations (a service account with the role Editor, or annotations:write)",
    404: "there is no Grafana at this URL",
}


class Grafana:
    """One Grafana. Raises `ConfigError` for a URL that cannot be one."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError("--grafana", f"{url[:200]!r} is no URL such as https://grafana.example")
        self._base = url.rstrip("/")
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def annotate(self, event: DeployEvent, *, seconds: float) -> None:
        """Write the event: a start as a point, an end as the end of the region that the start began. Raises `NotTold`."""
        at = event.at_ns // 1_000_000
        if event.action not in STARTS:
            begun = self._begun(event, seconds)
            if begun is not None:
                tags = sorted({*begun.get("tags", ()), event.action})
                changed = {"timeEnd": at, "text": f"{begun.get('text', '')}\n{sentence(event)}".strip(), "tags": tags}
                self._ask("PATCH", f"/api/annotations/{int(begun['id'])}", changed, seconds)
                return
        self._ask("POST", "/api/annotations", {"time": at, "text": sentence(event), "tags": tags_of(event)}, seconds)

    def _begun(self, event: DeployEvent, seconds: float) -> dict[str, Any] | None:
        """The annotation of the deploy's start, the latest if there are several."""
        query = [("type", "annotation"), ("limit", "10"), *(("tags", tag) for tag in ("shipper", identity(event)))]
        found = self._ask("GET", f"/api/annotations?{urlencode(query)}", None, seconds)
        if not isinstance(found, list):
            raise NotTold(f"{self._base} answered with something else than annotations")
        usable = [one for one in found if isinstance(one, dict) and isinstance(one.get("id"), int)]
        return max(usable, key=lambda one: (one.get("time", 0), one["id"]), default=None)

    def _ask(self, method: str, path: str, content: Any, seconds: float) -> Any:
        body = b"" if content is None else json.dumps(content).encode()
        try:
            said = ask(method, self._base + path, body, self._headers, seconds=seconds)
        except NotTold as problem:
            meaning = next(
                (f": {words}" for code, words in _MEANINGS.items() if f" answered {code} " in str(problem)), ""
            )
            raise NotTold(f"Grafana has no annotation: {problem}{meaning}") from problem
        try:
            return json.loads(said) if said else None
        except ValueError as problem:
            raise NotTold(f"{self._base} did not answer as Grafana does") from problem


def tags_of(event: DeployEvent) -> list[str]:
    """The tags of an annotation: to filter by service, environment and generation, and to find it again."""
    named = {"service": event.service, "env": event.env, "generation": event.generation}
    tags = [f"{name}:{value}" for name, value in named.items() if value]
    return ["shipper", "deploy", *(["rollback"] if event.action == "rollback" else []), *tags, identity(event)]


def identity(event: DeployEvent) -> str:
    """The tag that all events of a deploy have in common."""
    return f"deploy:{event.service}/{event.env}/{event.id or event.generation}"
