"""A Grafana for tests: its HTTP API for folders, dashboards, data sources and alert rules, with its roles, rules and words.

As documented (grafana.com/docs/grafana/latest/developers/http_api) and as its source answers; in a thread of its own, so
that a command can be run against it.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

EDITOR, VIEWER, ADMIN = "glsa_editor", "glsa_viewer", "glsa_admin"
_ROLES = {VIEWER: 0, EDITOR: 1, ADMIN: 2}


class FakeGrafana:
    """State of the one Grafana; tests set and read its attributes."""

    def __init__(self) -> None:
        self.version = "12.3.1"
        self.path = ""
        self.url = ""
        self.folders: dict[str, str] = {}
        self.boards: dict[str, dict[str, Any]] = {}
        self.folder_of: dict[str, str] = {}
        self.history: dict[str, list[str]] = {}
        self.groups: dict[tuple[str, str], dict[str, Any]] = {}
        self.provisioned: set[str] = set()
        self.datasources = ["prometheus", "loki", "tempo"]
        self.writes = 0
        self.login_page = ""  # "redirect" or "page": what a proxy in front does with everything
        self.broken = 0  # a status to answer everything with

    def application(self) -> web.Application:
        """Its routes, below its path."""
        made = web.Application(middlewares=[self._in_front])
        api = f"{self.path}/api"
        made.router.add_get(f"{api}/health", self._health)
        made.router.add_get(f"{api}/datasources", self._list_datasources)
        made.router.add_get(f"{api}/folders", self._list_folders)
        made.router.add_post(f"{api}/folders", self._add_folder)
        made.router.add_get(f"{api}/folders/{{uid}}", self._folder)
        made.router.add_get(f"{api}/dashboards/uid/{{uid}}", self._board)
        made.router.add_post(f"{api}/dashboards/db", self._save)
        group = f"{api}/v1/provisioning/folder/{{folder}}/rule-groups/{{group}}"
        made.router.add_get(group, self._group)
        made.router.add_put(group, self._put_group)
        return made

    @web.middleware
    async def _in_front(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.login_page == "redirect":
            return web.Response(status=302, headers={"Location": f"{self.path}/login"})
        if self.login_page == "page":
            return web.Response(text="<!doctype html><html><title>Sign in</title></html>", content_type="text/html")
        if self.broken:
            return _said(self.broken, "internal server error")
        if not request.path.endswith("/api/health"):
            role = _ROLES.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
            if role is None:
                said = "Invalid API key" if "Authorization" in request.headers else "Unauthorized"
                return _said(401, said)
            needed = 2 if "/provisioning/" in request.path or request.path.endswith("/datasources") else 1
            if role < needed and (request.method != "GET" or needed == 2):
                return _said(403, "You'll need additional permissions to perform this action.", title="Access denied")
            if request.method != "GET":
                self.writes += 1
        try:
            answer: web.StreamResponse = await handler(request)
        except web.HTTPNotFound:
            return _said(404, "Not found")
        return answer

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"database": "ok"} | ({"version": self.version} if self.version else {}))

    async def _list_datasources(self, _: web.Request) -> web.Response:
        return web.json_response([{"uid": name, "name": name.title(), "type": name} for name in self.datasources])

    async def _list_folders(self, _: web.Request) -> web.Response:
        return web.json_response([{"uid": uid, "title": title} for uid, title in self.folders.items()])

    async def _folder(self, request: web.Request) -> web.Response:
        uid = request.match_info["uid"]
        if uid not in self.folders:
            return _said(404, "folder not found")
        return web.json_response({"uid": uid, "title": self.folders[uid], "version": 1})

    async def _add_folder(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["uid"] in self.folders:
            return _said(409, "a folder with the same uid already exists")
        self.folders[body["uid"]] = body["title"]
        return web.json_response({"uid": body["uid"], "title": body["title"], "version": 1})

    async def _board(self, request: web.Request) -> web.Response:
        uid = request.match_info["uid"]
        if uid not in self.boards:
            return _said(404, "Dashboard not found")
        meta = {"folderUid": self.folder_of[uid], "url": self._shown(uid), "provisioned": uid in self.provisioned}
        return web.json_response({"dashboard": self.boards[uid], "meta": meta})

    async def _save(self, request: web.Request) -> web.Response:
        body = await request.json()
        board = body["dashboard"]
        uid = board.get("uid", "")
        if not board.get("title"):
            return _said(400, "Dashboard title cannot be empty")
        if not uid or len(uid) > 40:
            return _said(400, "uid too long, max 40 characters")
        if body["folderUid"] not in self.folders:
            return _said(400, "folder not found")
        if uid in self.provisioned:
            return _said(400, "Cannot save provisioned dashboard")
        there = self.boards.get(uid)
        if there is not None and not body.get("overwrite") and board.get("version") != there["version"]:
            return _said(412, "The dashboard has been changed by someone else", status="version-mismatch")
        for other, known in self.boards.items():
            if other != uid and (self.folder_of[other], known["title"]) == (body["folderUid"], board["title"]):
                return _said(412, "A dashboard with the same name in the folder already exists", status="name-exists")
        version = 1 if there is None else there["version"] + 1
        number = len(self.boards) + 1 if there is None else there["id"]
        self.boards[uid] = copy.deepcopy(board) | {"id": number, "version": version}
        self.folder_of[uid] = body["folderUid"]
        self.history.setdefault(uid, []).append(body.get("message", ""))
        return web.json_response(
            {"id": number, "uid": uid, "url": self._shown(uid), "status": "success", "version": version, "slug": "x"}
        )

    async def _group(self, request: web.Request) -> web.Response:
        key = request.match_info["folder"], request.match_info["group"]
        return web.json_response(self.groups[key]) if key in self.groups else _said(404, "rule group not found")

    async def _put_group(self, request: web.Request) -> web.Response:
        folder, name = request.match_info["folder"], request.match_info["group"]
        body = await request.json()
        if folder not in self.folders:
            return _said(400, "folder does not exist")
        if body["interval"] % 10 or body["interval"] <= 0:
            return _said(400, "invalid alert rule: interval should be non-zero and divided exactly by 10")
        for rule in body["rules"]:
            wrong = self._wrong_with(rule)
            if wrong:
                return _said(400, f"invalid alert rule '{rule.get('title')}': {wrong}")
        self.groups[folder, name] = body | {
            "rules": [rule | {"id": number, "provenance": "api"} for number, rule in enumerate(body["rules"], 1)]
        }
        return web.json_response(self.groups[folder, name])

    def _wrong_with(self, rule: dict[str, Any]) -> str:
        letters = [query["refId"] for query in rule["data"]]
        if not rule["title"] or len(rule["title"]) > 190:
            return "no title, or a too long one"
        if not rule["uid"] or len(rule["uid"]) > 40:
            return "UID too long"
        if rule["condition"] not in letters or len(letters) != len(set(letters)):
            return f"condition {rule['condition']} not found in data"
        if any(query["datasourceUid"] not in {*self.datasources, "__expr__"} for query in rule["data"]):
            return "data source not found"
        known = {"uid", "title", "condition", "data", "for", "keep_firing_for", "annotations", "labels", "isPaused"}
        known |= {"noDataState", "execErrState", "orgID", "folderUID", "ruleGroup"}
        return "".join(sorted(set(rule) - known))

    def _shown(self, uid: str) -> str:
        return f"{self.path}/d/{uid}/x"


def _said(code: int, message: str, **more: str) -> web.Response:
    return web.json_response({"message": message, **more}, status=code)


@contextmanager
def running(grafana: FakeGrafana) -> Iterator[FakeGrafana]:
    """Serve it on loopback for as long as the block lasts."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(grafana.application())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        grafana.url = f"http://127.0.0.1:{port}{grafana.path}"
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    started.wait()
    try:
        yield grafana
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
