"""Azure's Instance Metadata Service with its Scheduled Events, as documented, and with its traps.

async with FakeAzure(clock=clock, first_call_seconds=90) as azure:
    event = azure.schedule("Preempt", within=30)      # for our own machine, unless resources=[...] says otherwise
    azure.start(event)                                # Started: NotBefore becomes blank
    azure.vanish(event)                               # there is no Completed: it is no longer in the list
    assert azure.approved == [event]                  # what was acknowledged by POST
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from shipper.clock import Clock
from shipper.testing.platforms.serving import Asked, FakeService, as_json

SUBSCRIPTION = "/subscriptions/8d10da13-8125-4ba9-a717-bf7490507b3d/resourceGroups/web"
VERSIONS = ("2025-04-07", "2021-12-13", "2020-07-01")


def usual_compute() -> dict[str, Any]:
    """What an ordinary machine of a scale set has under ``compute``."""
    return {
        "azEnvironment": "AzurePublicCloud",
        "evictionPolicy": "",
        "location": "westeurope",
        "name": "web_3",
        "osType": "Linux",
        "physicalZone": "westeurope-AZ02",
        "priority": "Regular",
        "resourceGroupName": "web",
        "resourceId": f"{SUBSCRIPTION}/providers/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/3",
        "storageProfile": {
            "imageReference": {
                "exactVersion": "1.0.20261101",
                "id": f"{SUBSCRIPTION}/providers/Microsoft.Compute/galleries/images/images/web/versions/1.0.20261101",
                "offer": "",
                "publisher": "",
                "sharedGalleryImageId": "",
                "sku": "",
                "version": "latest",
            }
        },
        "subscriptionId": "8d10da13-8125-4ba9-a717-bf7490507b3d",
        "tags": "deploy:d-17;team:web",
        "tagsList": [{"name": "deploy", "value": "d-17"}, {"name": "team", "value": "web"}],
        "virtualMachineScaleSet": {"id": f"{SUBSCRIPTION}/providers/Microsoft.Compute/virtualMachineScaleSets/web"},
        "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
        "vmScaleSetName": "web",
        "vmSize": "Standard_D4s_v5",
        "zone": "2",
    }


@dataclass(slots=True)
class Scheduled:
    """One event as it stands in the list."""

    id: str
    type: str
    resources: list[str]
    not_before: datetime | None
    status: str
    source: str
    duration: int

    def document(self) -> dict[str, object]:
        """As the service spells it."""
        return {
            "EventId": self.id,
            "EventStatus": self.status,
            "EventType": self.type,
            "ResourceType": "VirtualMachine",
            "Resources": self.resources,
            "NotBefore": format_datetime(self.not_before, usegmt=True) if self.not_before else "",
            "Description": f"Virtual machine: {self.type}",
            "EventSource": self.source,
            "DurationInSeconds": self.duration,
        }


class FakeAzure(FakeService):
    """The service. Traps: a request without ``Metadata: true``, without ``api-version`` or with ``X-Forwarded-For`` gets 400;
    the first GET for events takes ``first_call_seconds``; events of the whole set are shown; one approval counts for all
    machines it names; approving an event that is not in the list is 400.

    ``instance``: set False for a service that answers 404 for the machine's own description, so that it does not know its name.
    """

    def __init__(self, *, clock: Clock | None = None, first_call_seconds: float = 0.0) -> None:
        super().__init__(clock=clock)
        self.compute = usual_compute()
        self.instance = True
        self.events: dict[str, Scheduled] = {}
        self.approved: list[str] = []
        self.incarnation = 1
        self._first_call_seconds = first_call_seconds
        self._ids = itertools.count(1)

    @property
    def name(self) -> str:
        """The machine's own name, by which events mean it."""
        return str(self.compute["name"])

    def schedule(
        self,
        type: str,
        *,
        within: float | None = 900.0,
        resources: Sequence[str] | None = None,
        source: str = "Platform",
        duration: int = -1,
    ) -> str:
        """An event of that type is announced, due ``within`` seconds (None: NotBefore blank); returns its id."""
        moment = None if within is None else datetime.fromtimestamp(self.clock.wall_ns() / 1e9 + within, UTC)
        ident = f"C7061BAC-AFDC-4513-B24B-{next(self._ids):012X}"
        named = [self.name] if resources is None else list(resources)
        self.events[ident] = Scheduled(ident, type, named, moment, "Scheduled", source, duration)
        self._next()
        return ident

    def start(self, event: str) -> None:
        """The event begins: status Started, NotBefore blank."""
        self.events[event].status, self.events[event].not_before = "Started", None
        self._next()

    def vanish(self, event: str) -> None:
        """The event is over, or was called off: the list does not tell which."""
        del self.events[event]
        self._next()

    async def answer(self, asked: Asked) -> web.Response:
        """See `FakeService.answer`."""
        if asked.headers.get("Metadata", "").lower() != "true" or "X-Forwarded-For" in asked.headers:
            return as_json({"error": "Bad request. Required metadata header not specified"}, 400)
        if not asked.query.get("api-version"):
            why = "Bad request. api-version is invalid or was not specified in the request."
            return as_json({"error": why, "newest-versions": list(VERSIONS)}, 400)
        if asked.path == "/metadata/scheduledevents":
            return self._approve(asked.body) if asked.method == "POST" else await self._list()
        if asked.path.startswith("/metadata/instance") and asked.method == "GET" and self.instance:
            return self._describe(asked)
        return as_json({"error": "Not found"}, 404)

    async def _list(self) -> web.Response:
        if self._first_call_seconds:
            wait, self._first_call_seconds = self._first_call_seconds, 0.0
            await self.clock.sleep(wait)
        listed = [event.document() for event in self.events.values()]
        return as_json({"DocumentIncarnation": self.incarnation, "Events": listed})

    def _approve(self, body: bytes) -> web.Response:
        try:
            wanted = [entry["EventId"] for entry in json.loads(body)["StartRequests"]]
        except (ValueError, KeyError, TypeError):
            return as_json({"error": "Bad request"}, 400)
        if not wanted or any(event not in self.events for event in wanted):
            return as_json({"error": "Bad request. EventId not found"}, 400)
        for event in wanted:
            self.approved.append(event)
            if self.events[event].status == "Scheduled":
                self.start(event)
        return web.Response(status=200)

    def _describe(self, asked: Asked) -> web.Response:
        place: Any = {"compute": self.compute, "network": {"interface": []}}
        for name in filter(None, asked.path.removeprefix("/metadata/instance").split("/")):
            if not isinstance(place, dict) or name not in place:
                return as_json({"error": "Not found"}, 404)
            place = place[name]
        if isinstance(place, dict | list):
            return as_json(place)
        if asked.query.get("format") != "text":
            return as_json({"error": "Bad request. format=text is needed for a single value"}, 400)
        return web.Response(text=str(place))

    def _next(self) -> None:
        self.incarnation += 1
        self.changed()
