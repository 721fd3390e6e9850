"""Google Compute Engine's metadata server, with its long poll and its traps (facts: Google's guest agent and public docs).

async with FakeGce(clock=clock) as gce:
    os.environ["GCE_METADATA_HOST"] = gce.metadata_host
    gce.preempt()                                  # instance/preempted becomes TRUE, long polls return
    gce.attribute("shipper-drain", "true")         # custom metadata is live
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from shipper.clock import Clock
from shipper.testing.platforms.serving import Asked, FakeService

BASE = "/computeMetadata/v1/"
NUMBER = "123456789012"
MIG = f"projects/{NUMBER}/zones/europe-west1-b/instanceGroupManagers/web"
TEMPLATE = f"projects/{NUMBER}/global/instanceTemplates/web-v42"


def usual_tree() -> dict[str, Any]:
    """What an ordinary machine of a managed instance group has, by the hyphenated names that paths use."""
    return {
        "instance": {
            "id": 4520031799277581759,
            "name": "web-x7k2",
            "hostname": "web-x7k2.europe-west1-b.c.example-project.internal",
            "image": "projects/example-images/global/images/web-20261101",
            "zone": f"projects/{NUMBER}/zones/europe-west1-b",
            "machine-type": f"projects/{NUMBER}/machineTypes/e2-standard-4",
            "cpu-platform": "Intel Broadwell",
            "attributes": {"instance-template": TEMPLATE, "created-by": MIG},
            "tags": [],
            "preempted": "FALSE",
            "maintenance-event": "NONE",
            "scheduling": {"automatic-restart": "TRUE", "on-host-maintenance": "MIGRATE", "preemptible": "FALSE"},
        },
        "project": {"project-id": "example-project", "numeric-project-id": int(NUMBER), "attributes": {}},
    }


class FakeGce(FakeService):
    """The server. Traps: a request without ``Metadata-Flavor: Google`` (or with ``X-Forwarded-For``) gets 403; the long poll's
    parameters count only in the URL; a directory without its slash is a redirect; recursive answers name things in camel
    case, except custom attributes; ``shutdown-details`` is 404 unless ``shutdown_details`` is set.

    ``flavor``: set False for an impostor, which answers without the header that proves it is Google's. ``tree`` may be read,
    and changed by `put`, `remove` and the methods named for what happens to a machine.
    """

    def __init__(self, *, clock: Clock | None = None, shutdown_details: bool = False) -> None:
        super().__init__(clock=clock)
        self.flavor = True
        self.tree = usual_tree()
        if shutdown_details:
            self.tree["instance"]["shutdown-details"] = {"stop-state": "UNSPECIFIED"}

    @property
    def metadata_host(self) -> str:
        """The value for ``GCE_METADATA_HOST``: host and port, no scheme."""
        return f"{self.host}:{self.port}"

    def put(self, path: str, value: object) -> None:
        """Set one value or directory, such as ``instance/scheduling/termination-timestamp``; missing directories are made."""
        *directories, name = path.strip("/").split("/")
        place = self.tree
        for directory in directories:
            place = place.setdefault(directory, {})
        place[name] = value
        self.changed()

    def remove(self, path: str) -> None:
        """Take one value or directory away; nothing happens if it is not there."""
        *directories, name = path.strip("/").split("/")
        place = self.find("/".join(directories))
        if isinstance(place, dict) and place.pop(name, None) is not None:
            self.changed()

    def find(self, path: str) -> Any:
        """What stands at a path, None for nothing."""
        place: Any = self.tree
        for name in filter(None, path.split("/")):
            if not isinstance(place, dict) or name not in place:
                return None
            place = place[name]
        return place

    def preempt(self) -> None:
        """The machine was chosen for preemption."""
        self.put("instance/preempted", "TRUE")

    def maintenance(self, event: str) -> None:
        """``MIGRATE_ON_HOST_MAINTENANCE``, ``TERMINATE_ON_HOST_MAINTENANCE`` or ``NONE``."""
        self.put("instance/maintenance-event", event)

    def stop(self, state: str = "PENDING_STOP", **details: str) -> None:
        """A graceful stop: ``PENDING_STOP``, later ``STOPPING``; details by their hyphenated names with underscores."""
        named = {name.replace("_", "-"): value for name, value in details.items()}
        self.put("instance/shutdown-details", {"stop-state": state, **named})

    def attribute(self, name: str, value: str | None) -> None:
        """Set a custom metadata value of the instance, or with None take it away."""
        if value is None:
            self.remove(f"instance/attributes/{name}")
        else:
            self.put(f"instance/attributes/{name}", value)

    async def answer(self, asked: Asked) -> web.Response:
        """See `FakeService.answer`."""
        if asked.path == "/":  # what clients ask to find out whether this is Google
            return self._respond(200, "computeMetadata/\n", "application/text")
        if asked.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in asked.headers:
            return self._respond(
                403, "<!DOCTYPE html><html><title>Error 403 (Forbidden)!!1</title></html>", "text/html"
            )
        if asked.method != "GET" or not asked.path.startswith(BASE):
            return self._missing()
        path, query = asked.path.removeprefix(BASE), asked.query
        value = self.find(path)
        if value is None:
            return self._missing()
        if isinstance(value, dict) and path and not path.endswith("/"):
            return self._respond(301, "", "text/html", Location=f"{asked.path}/")
        if query.get("wait_for_change", "").lower() == "true":
            last = query.get("last_etag", self.etag(path))
            if last == self.etag(path):
                await self._until_other(path, last, float(query.get("timeout_sec", 3600)))
        return self._tell(path, query)

    async def _until_other(self, path: str, etag: str, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while self.etag(path) == etag and (left := end - self.clock.monotonic()) > 0:
            await self._wait_for_change(left)

    def _tell(self, path: str, query: Mapping[str, str]) -> web.Response:
        value, etag = self.find(path), self.etag(path)
        if value is None:  # it went while somebody waited for it
            return self._missing()
        directory = isinstance(value, dict)
        recursive = query.get("recursive", "").lower() == "true"
        if directory and not recursive:
            names = (f"{name}/" if isinstance(inner, dict) else name for name, inner in sorted(value.items()))
            return self._respond(200, "".join(f"{name}\n" for name in names), "application/text", ETag=etag)
        if query.get("alt", "json" if directory else "text") == "json":
            inside = "attributes" in path.split("/")
            return self._respond(200, json.dumps(_camel(value, inside)), "application/json", ETag=etag)
        return self._respond(200, str(value), "application/text", ETag=etag)

    def etag(self, path: str) -> str:
        """The ETag of what stands at a path now."""
        value = json.dumps(self.find(path), sort_keys=True)
        return hashlib.blake2b(value.encode(), digest_size=8).hexdigest()

    def _missing(self) -> web.Response:
        return self._respond(404, "<!DOCTYPE html><html><title>Error 404 (Not Found)!!1</title></html>", "text/html")

    def _respond(self, code: int, body: str, content_type: str, **headers: str) -> web.Response:
        flavor = {"Metadata-Flavor": "Google"} if self.flavor else {}
        named = {"Server": "Metadata Server for VM", "Content-Type": content_type, **flavor, **headers}
        return web.Response(status=code, body=body.encode(), headers=named)


def _camel(value: Any, inside_attributes: bool = False) -> Any:
    """A value with its keys as recursive answers spell them: custom attributes keep their names."""
    if not isinstance(value, dict):
        return value
    if inside_attributes:
        return dict(value)
    return {
        re.sub(r"-([a-z0-9])", lambda found: found[1].upper(), name): _camel(inner, name == "attributes")
        for name, inner in value.items()
    }
