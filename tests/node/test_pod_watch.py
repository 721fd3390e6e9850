"""The watch of a node's pods against a server that forgets, breaks off and refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from shipper.clock import SystemClock
from shipper.events import Reporter
from shipper.node import watch as watching
from shipper.node.api import ApiError, ApiServer, in_cluster
from shipper.node.watch import PodWatch, told, wait_for
from tests.e2e.kit import until
from tests.node.cluster import NODE, ApiStub, pod

A, B, C = (f"0a1b2c3d-1111-2222-3333-44445555000{number}" for number in range(3))


def story(test: Callable[[ApiStub, PodWatch, Reporter], Awaitable[None]], token: str = "") -> None:
    """Run ``test`` beside a watch of a stub."""

    async def run() -> None:
        clock = SystemClock()
        report = Reporter(clock)
        async with ApiStub() as api:
            server = ApiServer(api.url, token_file=token, ca_file="", clock=clock)
            watch = PodWatch(server, NODE, clock=clock, report=report)
            task = asyncio.create_task(watch.run())
            try:
                await test(api, watch, report)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are short."""
    monkeypatch.setattr(watching, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(watching, "LONGEST_PAUSE", 0.05)


def test_pods_come_change_and_go() -> None:
    """What was there is listed, what happens later is told by the watch."""

    async def test(api: ApiStub, watch: PodWatch, report: Reporter) -> None:
        await api.put(pod("a", A))
        await until(lambda: A in watch.pods, "what is there is known")
        await api.put(pod("b", B))
        await api.put(pod("a", A, labels={"app": "web"}))
        await until(lambda: B in watch.pods and watch.pods[A].labels == {"app": "web"}, "changes are known")
        await api.delete(B)
        await until(lambda: B not in watch.pods, "what is deleted is gone")

    story(test)


def test_a_watch_that_breaks_is_taken_up_where_it_was() -> None:
    """Nothing is listed again, and what happened meanwhile is told; bookmarks count as seen."""

    async def test(api: ApiStub, watch: PodWatch, report: Reporter) -> None:
        await until(lambda: api.watched_from, "it watches")
        await api.put(pod("a", A))
        await api.bookmark()
        await until(lambda: watch._version == str(api._version), "the bookmark is seen")
        await api.disconnect()
        await api.put(pod("b", B))
        await until(lambda: B in watch.pods, "what happened meanwhile is known")
        assert api.lists == 1
        assert api.watched_from[-1] >= api.watched_from[0]

    story(test)


@pytest.mark.parametrize("said", ["answer", "event"])
def test_what_is_too_old_is_listed_again(said: str) -> None:
    """410, as an answer or as an event: a list tells what came and what went meanwhile."""

    async def test(api: ApiStub, watch: PodWatch, report: Reporter) -> None:
        await api.put(pod("a", A))
        await until(lambda: A in watch.pods, "it watches")
        del api.pods[A]
        api.pods[C] = pod("c", C)
        await (api.forget() if said == "answer" else api.expire())
        await until(lambda: C in watch.pods, "it is listed again")
        assert A not in watch.pods
        assert api.lists == 2

    story(test)


def test_not_being_able_to_ask_is_not_an_answer() -> None:
    """A refusal is said, with where the role is; what was known stays known, and nobody is called gone."""

    async def test(api: ApiStub, watch: PodWatch, report: Reporter) -> None:
        await api.put(pod("a", A))
        await until(lambda: A in watch.pods, "it is known")
        api.denied = True
        await api.disconnect()
        problems = report.metrics.problems.labels("kubernetes-api")
        await until(lambda: problems._value.get() >= 1, "it is said")
        assert A in watch.pods
        assert await told(watch, "shop", "b", B, 5.0) is None
        api.denied = False
        await api.put(pod("b", B))
        await until(lambda: B in watch.pods, "it goes on by itself")

    story(test)


def test_one_pod_is_asked_for_where_the_watch_does_not_tell() -> None:
    """404, and a pod of the same name with another uid, are both an answer: that one is gone."""

    async def test(api: ApiStub, watch: PodWatch, report: Reporter) -> None:
        await until(lambda: api.watched_from, "it watches")
        api.pods[A] = pod("a", A)  # the watch does not tell of it
        assert await told(watch, "shop", "a", A, 5.0) is False
        assert await told(watch, "shop", "a", B, 5.0) is True
        assert await told(watch, "shop", "nobody", C, 5.0) is True

    story(test)


def test_a_new_pod_waits_for_its_image_and_no_longer_than_told() -> None:
    """While the runtime has not said which image it took, the pod is not complete; then what there is has to do."""

    async def test(api: ApiStub, watch: PodWatch, report: Reporter) -> None:
        await until(lambda: watch.synced, "it is listed")
        raw = pod("a", A)
        raw["status"]["containerStatuses"][0]["imageID"] = ""
        await api.put(raw)
        found = await wait_for(watch, "shop", "a", A, SystemClock(), 0.2)
        assert found is not None
        assert not found.complete
        waiting = asyncio.create_task(wait_for(watch, "shop", "a", A, SystemClock(), 30.0))
        await api.put(pod("a", A))
        found = await waiting
        assert found is not None
        assert found.complete
        assert await wait_for(watch, "shop", "b", B, SystemClock(), 0.1) is None

    story(test)


def test_the_token_is_read_for_every_request(tmp_path: Path) -> None:
    """The kubelet replaces it while it is in use."""
    token = tmp_path / "token"
    token.write_text("first\n")

    async def test(api: ApiStub, watch: PodWatch, report: Reporter) -> None:
        await until(lambda: api.watched_from, "it watches")
        token.write_text("second\n")
        await told(watch, "shop", "a", A, 5.0)
        assert set(api.tokens) == {"Bearer first", "Bearer second"}
        assert api.tokens[-1] == "Bearer second"

    story(test, token=str(token))


def test_what_is_no_json_is_a_fault_of_the_server(tmp_path: Path) -> None:
    """A web page of a proxy is said to be one, and nothing else happens."""

    async def run() -> None:
        async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
            writer.close()

        server = await asyncio.start_server(page, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        api = ApiServer(f"http://127.0.0.1:{port}", token_file="", ca_file="", clock=SystemClock())
        with pytest.raises(ApiError, match="malformed"):
            await api.get("/api/v1/pods")
        await api.aclose()
        server.close()
        await server.wait_closed()

    asyncio.run(run())


def test_the_address_is_that_of_the_cluster() -> None:
    """As Kubernetes puts it into every pod; an IPv6 address is written in brackets."""
    env = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert in_cluster(env) == "https://10.96.0.1:443"
    assert in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1"}) == "https://[fd00::1]:443"
    assert in_cluster({}) == ""
