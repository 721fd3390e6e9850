"""What tests of the node agent share: a node's log directory as kubelet and containerd keep it, and an API server that watches."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

NODE = "node-1"


def pod(
    name: str,
    uid: str,
    *,
    namespace: str = "shop",
    version: int = 1,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    image: str = "registry.example:5000/checkout:1.4.2",
    digest: str = "",
    phase: str = "Running",
    owner: tuple[str, str] | None = None,
    containers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """An object as the API server has it. ``containers``: images by name, in place of the one container ``app``."""
    images = dict(containers or {"app": image})
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "resourceVersion": str(version),
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
            **({"ownerReferences": [{"kind": owner[0], "name": owner[1], "controller": True}]} if owner else {}),
        },
        "spec": {"nodeName": NODE, "containers": [{"name": key, "image": value} for key, value in images.items()]},
        "status": {
            "phase": phase,
            "startTime": "2026-11-23T02:00:00Z",
            "containerStatuses": [
                {
                    "name": key,
                    "imageID": f"{value.rpartition(':')[0]}@{digest or 'sha256:' + format(len(value), '064x')}",
                    "restartCount": 0,
                }
                for key, value in images.items()
            ],
        },
    }


class Kubelet:
    """Writes what containers say, in CRI's format, and rotates by renaming."""

    def __init__(self, directory: Path) -> None:
        self.pods = directory
        directory.mkdir(parents=True, exist_ok=True)

    def home(self, name: str, uid: str, namespace: str = "shop") -> Path:
        """The pod's directory."""
        return self.pods / f"{namespace}_{name}_{uid}"

    def write(
        self, name: str, uid: str, *texts: str, namespace: str = "shop", container: str = "app", restarts: int = 0
    ) -> None:
        """Lines of stdout."""
        path = self.home(name, uid, namespace) / container / f"{restarts}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write("".join(f"2026-11-23T02:00:00.000000001Z stdout F {text}\n" for text in texts))

    def rotate(self, name: str, uid: str, stamp: str, *, namespace: str = "shop", container: str = "app") -> None:
        """The file that is written goes aside."""
        path = self.home(name, uid, namespace) / container / "0.log"
        path.rename(path.with_name(f"0.log.{stamp}"))

    def remove(self, name: str, uid: str, namespace: str = "shop") -> None:
        """The pod's logs are removed with it."""
        shutil.rmtree(self.home(name, uid, namespace))


class ApiStub:
    """A real HTTP server with lists, watches, 410 and disconnects. ``denied``: answers 403 to everything."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.namespaces: dict[str, dict[str, str]] = {}
        self.denied = False
        self.lists = 0
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.watched_from: list[str] = []
        self.url = ""
        self._version = 100
        self._oldest = 0  # watches from before it are answered with 410
        self._events: list[tuple[int, dict[str, Any]]] = []
        self._moved = asyncio.Condition()
        self._broken = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> ApiStub:
        app = web.Application()
        app.router.add_get("/api/v1/pods", self._pods)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}", self._pod)
        app.router.add_get("/api/v1/namespaces/{namespace}", self._namespace)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self.disconnect()
        await self._runner.cleanup()

    async def put(self, raw: dict[str, Any]) -> None:
        """A pod appears, or changes."""
        known = raw["metadata"]["uid"] in self.pods
        await self._event("MODIFIED" if known else "ADDED", raw)
        self.pods[raw["metadata"]["uid"]] = raw

    async def delete(self, uid: str) -> None:
        """A pod is deleted."""
        await self._event("DELETED", self.pods.pop(uid))

    async def bookmark(self) -> None:
        """Only the version moves."""
        await self._event("BOOKMARK", {"kind": "Pod", "metadata": {}})

    async def forget(self) -> None:
        """What happened so far is not known any more: older watches have to list again."""
        self._oldest = self._version + 1
        self._version += 1
        await self.disconnect()

    async def expire(self) -> None:
        """The same, said as an event of the watch that is open."""
        self._oldest = self._version + 1
        self._version += 1
        gone = {"kind": "Status", "code": 410, "reason": "Expired"}
        await self._append({"type": "ERROR", "object": gone})

    async def disconnect(self) -> None:
        """Every watch breaks."""
        async with self._moved:
            self._broken += 1
            self._moved.notify_all()

    async def _event(self, kind: str, raw: dict[str, Any]) -> None:
        self._version += 1
        raw["metadata"]["resourceVersion"] = str(self._version)
        await self._append({"type": kind, "object": raw})

    async def _append(self, event: dict[str, Any]) -> None:
        async with self._moved:
            self._events.append((self._version, json.loads(json.dumps(event))))
            self._moved.notify_all()

    def _meet(self, request: web.Request) -> web.Response | None:
        self.asked.append(request.path_qs)
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.denied:
            return web.json_response({"kind": "Status", "message": "pods is forbidden"}, status=403)
        return None

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._meet(request)) is not None:
            return refused
        assert request.query["fieldSelector"] == f"spec.nodeName={NODE}"
        if request.query.get("watch") != "1":
            self.lists += 1
            return web.json_response(
                {
                    "kind": "PodList",
                    "metadata": {"resourceVersion": str(self._version)},
                    "items": list(self.pods.values()),
                }
            )
        try:
            return await self._watch(request)
        except ConnectionResetError:  # whoever watched was killed
            return web.Response()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        at = int(request.query["resourceVersion"])
        self.watched_from.append(str(at))
        if at < self._oldest:
            return web.json_response({"kind": "Status", "code": 410, "message": "too old"}, status=410)
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        broken, sent = self._broken, 0
        while self._broken == broken:
            events = self._events[sent:]
            sent += len(events)
            for version, event in events:
                if version > at:
                    raw = json.dumps(event).encode() + b"\n"
                    await answer.write(raw[: len(raw) // 2])  # events come in pieces
                    await answer.write(raw[len(raw) // 2 :])
            async with self._moved:
                if sent == len(self._events) and self._broken == broken:
                    await self._moved.wait()
        if request.transport is not None:
            request.transport.abort()
        return answer

    async def _pod(self, request: web.Request) -> web.Response:
        if (refused := self._meet(request)) is not None:
            return refused
        wanted = (request.match_info["namespace"], request.match_info["name"])
        for raw in self.pods.values():
            if (raw["metadata"]["namespace"], raw["metadata"]["name"]) == wanted:
                return web.json_response(raw)
        return web.json_response({"kind": "Status", "message": "not found"}, status=404)

    async def _namespace(self, request: web.Request) -> web.Response:
        if (refused := self._meet(request)) is not None:
            return refused
        name = request.match_info["namespace"]
        return web.json_response({"metadata": {"name": name, "labels": self.namespaces.get(name, {})}})
