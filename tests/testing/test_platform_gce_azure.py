"""The fakes of GCE and Azure have the traps of the real services, seen with a client that is not ours."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from shipper.testing.clock import FakeClock
from shipper.testing.platforms.azure import FakeAzure
from shipper.testing.platforms.gce import FakeGce
from shipper.testing.platforms.serving import FakeService, html, late, redirect

Answered = tuple[int, http.client.HTTPMessage, bytes]
GOOGLE = {"Metadata-Flavor": "Google"}
AZURE = {"Metadata": "true"}
INSTANCE = "/computeMetadata/v1/instance/"
EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"


def exchange(port: int, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answered:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


async def get(service: FakeService, path: str, headers: dict[str, str]) -> Answered:
    return await asyncio.to_thread(exchange, service.port, "GET", path, headers, None)


async def post(service: FakeService, path: str, body: bytes) -> int:
    answered = await asyncio.to_thread(exchange, service.port, "POST", path, AZURE, body)
    return answered[0]


def with_gce(story: Callable[[FakeGce], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with FakeGce(**options) as gce:
            await story(gce)

    asyncio.run(run())


def with_azure(story: Callable[[FakeAzure], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with FakeAzure(**options) as azure:
            await story(azure)

    asyncio.run(run())


def test_google_s_header_is_needed_both_ways() -> None:
    """Without it, or through a proxy, 403; every answer carries it, unless the fake plays an impostor."""

    async def story(gce: FakeGce) -> None:
        assert (await get(gce, f"{INSTANCE}id", {}))[0] == 403
        assert (await get(gce, f"{INSTANCE}id", GOOGLE | {"X-Forwarded-For": "10.0.0.1"}))[0] == 403
        status, headers, body = await get(gce, f"{INSTANCE}id", GOOGLE)
        assert (status, headers["Metadata-Flavor"], body) == (200, "Google", b"4520031799277581759")
        gce.flavor = False
        assert (await get(gce, f"{INSTANCE}id", GOOGLE))[1]["Metadata-Flavor"] is None

    with_gce(story)


def test_recursive_answers_spell_keys_in_camel_case_but_not_custom_ones() -> None:
    """As the real server: ``machineType``, but ``instance-template`` among the attributes; the id is a number."""

    async def story(gce: FakeGce) -> None:
        body = (await get(gce, f"{INSTANCE}?recursive=true", GOOGLE))[2]
        machine = json.loads(body)
        assert machine["id"] == 4520031799277581759
        assert machine["maintenanceEvent"] == "NONE"
        assert machine["scheduling"]["onHostMaintenance"] == "MIGRATE"
        assert set(machine["attributes"]) == {"instance-template", "created-by"}

    with_gce(story)


def test_a_directory_lists_its_names_and_wants_its_slash() -> None:
    """Without the slash it is a redirect; what is a directory again ends in one."""

    async def story(gce: FakeGce) -> None:
        assert (await get(gce, INSTANCE.rstrip("/"), GOOGLE))[0] == 301
        names = (await get(gce, INSTANCE, GOOGLE))[2].decode().split()
        assert {"id", "attributes/", "scheduling/"} <= set(names)
        assert "shutdown-details/" not in names
        assert (await get(gce, f"{INSTANCE}shutdown-details/stop-state", GOOGLE))[0] == 404

    with_gce(story)


def test_a_machine_may_have_shutdown_details() -> None:
    """Where the feature is on, the state is UNSPECIFIED until a stop is asked for."""

    async def story(gce: FakeGce) -> None:
        assert (await get(gce, f"{INSTANCE}shutdown-details/stop-state", GOOGLE))[2] == b"UNSPECIFIED"
        gce.stop(max_duration="600s")
        assert (await get(gce, f"{INSTANCE}shutdown-details/max-duration", GOOGLE))[2] == b"600s"

    with_gce(story, shutdown_details=True)


def test_a_long_poll_returns_at_a_change_or_after_its_time() -> None:
    """With the present ETag it hangs, with any other it is answered at once; a change of another key does not wake it."""
    clock = FakeClock()

    async def story(gce: FakeGce) -> None:
        etag = (await get(gce, f"{INSTANCE}preempted", GOOGLE))[1]["ETag"]
        path = f"{INSTANCE}preempted?wait_for_change=true&timeout_sec=60&last_etag="
        assert (await get(gce, path + "NONE", GOOGLE))[2] == b"FALSE"
        waiting = asyncio.create_task(get(gce, path + etag, GOOGLE))
        await clock.until_sleeping()
        gce.maintenance("MIGRATE_ON_HOST_MAINTENANCE")
        await asyncio.sleep(0)
        gce.preempt()
        _, headers, body = await waiting
        assert body == b"TRUE"
        assert headers["ETag"] != etag
        waiting = asyncio.create_task(get(gce, path + headers["ETag"], GOOGLE))
        await clock.until_sleeping()
        clock.advance(60)
        assert (await waiting)[1]["ETag"] == headers["ETag"]

    with_gce(story, clock=clock)


def test_a_long_poll_s_parameters_count_only_in_the_url() -> None:
    """As headers they are ignored: the answer comes at once."""

    async def story(gce: FakeGce) -> None:
        headers = GOOGLE | {"wait_for_change": "true", "timeout_sec": "60"}
        assert (await get(gce, f"{INSTANCE}preempted", headers))[0] == 200

    with_gce(story)


@pytest.mark.parametrize("path", [EVENTS, "/metadata/instance?api-version=2021-02-01"])
def test_azure_wants_its_header_a_version_and_no_proxy(path: str) -> None:
    """Without any of them it is 400, for both of its services."""

    async def story(azure: FakeAzure) -> None:
        assert (await get(azure, path, AZURE))[0] == 200
        assert (await get(azure, path, {}))[0] == 400
        assert (await get(azure, path.partition("?")[0], AZURE))[0] == 400
        assert (await get(azure, path, AZURE | {"X-Forwarded-For": "10.0.0.1"}))[0] == 400

    with_azure(story)


def test_the_first_list_of_events_is_slow_and_the_next_is_not() -> None:
    """The first question switches the service on."""
    clock = FakeClock()

    async def story(azure: FakeAzure) -> None:
        waiting = asyncio.create_task(get(azure, EVENTS, AZURE))
        await clock.until_sleeping()
        clock.advance(90)
        assert json.loads((await waiting)[2])["Events"] == []
        assert (await get(azure, EVENTS, AZURE))[0] == 200

    with_azure(story, clock=clock, first_call_seconds=90.0)


def test_an_event_goes_through_its_life() -> None:
    """Scheduled with a time, Started without, then gone; each step is another incarnation."""

    async def story(azure: FakeAzure) -> None:
        event = azure.schedule("Preempt", within=30)
        listed = json.loads((await get(azure, EVENTS, AZURE))[2])
        (first,) = listed["Events"]
        assert (first["EventStatus"], first["Resources"]) == ("Scheduled", [azure.name])
        left = parsedate_to_datetime(first["NotBefore"]).timestamp() - azure.clock.wall_ns() / 1e9
        assert 25 < left <= 30
        assert await post(azure, EVENTS, json.dumps({"StartRequests": [{"EventId": event}]}).encode()) == 200
        then = json.loads((await get(azure, EVENTS, AZURE))[2])
        assert (then["Events"][0]["EventStatus"], then["Events"][0]["NotBefore"]) == ("Started", "")
        assert then["DocumentIncarnation"] > listed["DocumentIncarnation"]
        assert azure.approved == [event]
        azure.vanish(event)
        assert json.loads((await get(azure, EVENTS, AZURE))[2])["Events"] == []

    with_azure(story)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"StartRequests":[]}', b'{"StartRequests":[{"EventId":"none"}]}']
)
def test_an_approval_that_is_none_is_refused(body: bytes) -> None:
    """400, and nothing is recorded."""

    async def story(azure: FakeAzure) -> None:
        azure.schedule("Terminate")
        assert await post(azure, EVENTS, body) == 400
        assert azure.approved == []

    with_azure(story)


def test_azure_describes_the_machine_whole_and_in_parts() -> None:
    """The document as JSON, a single value as text when asked for as text."""

    async def story(azure: FakeAzure) -> None:
        whole = json.loads((await get(azure, "/metadata/instance?api-version=2021-02-01", AZURE))[2])
        assert whole["compute"]["vmScaleSetName"] == "web"
        part = "/metadata/instance/compute/vmId?api-version=2021-02-01"
        assert (await get(azure, f"{part}&format=text", AZURE))[2].decode() == whole["compute"]["vmId"]
        assert (await get(azure, part, AZURE))[0] == 400
        assert (await get(azure, "/metadata/instance/nothing?api-version=2021-02-01", AZURE))[0] == 404

    with_azure(story)


def test_faults_stand_before_the_true_answer() -> None:
    """One request each as scripted, those of one path as long as they are set, then the true answer again."""
    clock = FakeClock()

    async def story(gce: FakeGce) -> None:
        gce.script(html(), late(5.0))
        assert (await get(gce, f"{INSTANCE}id", GOOGLE))[1]["Content-Type"].startswith("text/html")
        waiting = asyncio.create_task(get(gce, f"{INSTANCE}id", GOOGLE))
        await clock.until_sleeping()
        clock.advance(5)
        assert (await waiting)[0] == 200
        gce.faults[f"{INSTANCE}id"] = redirect("/elsewhere")
        assert (await get(gce, f"{INSTANCE}id", GOOGLE))[0] == 302
        assert (await get(gce, f"{INSTANCE}name", GOOGLE))[0] == 200
        assert [asked.path for asked in gce.asked].count(f"{INSTANCE}id") == 3

    with_gce(story, clock=clock)
