"""The agent of a node, as a process, with an API server over real HTTP and a log directory as the kubelet keeps it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from shipper.admin import ask
from shipper.testing.sink import Sink
from tests.e2e.kit import (
    PATIENCE,
    WITHOUT_OWN_NUMBERS,
    Shipper,
    audit,
    data_lines,
    free_port,
    gateway,
    is_statement,
    listening,
    shipper,
    statements,
    until,
)
from tests.node.cluster import NODE, ApiStub, Kubelet, pod

OLD, NEW = "0a1b2c3d-1111-2222-3333-444455556666", "0a1b2c3d-1111-2222-3333-777788889999"


def agent(directory: Path, endpoint: str, api: str, **env: str) -> Shipper:
    """An agent with its state in ``directory/node/state``, the pods' logs in ``directory/pods``."""
    settings = {
        "SHIPPER_STATE_DIR": str(directory / "node/state"),
        "SHIPPER_OTLP_ENDPOINT": endpoint,
        "SHIPPER_HOST": "agent",
        "SHIPPER_ADMIN_LISTEN": "off",
        "SHIPPER_NODE_PODS_DIR": str(directory / "pods"),
        "SHIPPER_NODE_API": api,
        "SHIPPER_NODE_QUIET": "0.2s",
        "NODE_NAME": NODE,
        **WITHOUT_OWN_NUMBERS,
    }
    return Shipper(directory / "node", ["node"], settings | env)


def lives(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The lives of an audit by their host."""
    return {life["host"]: life for life in report["lives"]}


def records(archive: Path, pod_name: str) -> list[tuple[str, dict[str, Any]]]:
    """The lines of a pod in an archive, each with the attributes of its resource."""
    found = []
    for request in map(json.loads, shipper("cat", str(archive), f"--host={pod_name}", "--json").stdout.splitlines()):
        for group in request["resourceLogs"]:
            attributes = {one["key"]: next(iter(one["value"].values())) for one in group["resource"]["attributes"]}
            for scope in group.get("scopeLogs", ()):
                found += [(str(record["body"]["stringValue"]), attributes) for record in scope["logRecords"]]
    return [(text, attributes) for text, attributes in found if not is_statement(text)]


def test_two_pods_of_two_generations_are_two_hosts(tmp_path: Path) -> None:
    """Each pod's records carry its own release and generation, and the audit has a life for each."""

    async def story() -> None:
        kubelet, port = Kubelet(tmp_path / "pods"), free_port()
        async with ApiStub() as api, gateway(tmp_path, port) as server:
            await listening(port)
            for name, uid, hash_, tag in (("web-old", OLD, "5d8f9c", "1.4.1"), ("web-new", NEW, "6c7b4d", "1.4.2")):
                await api.put(
                    pod(name, uid, labels={"app": "web", "pod-template-hash": hash_}, image=f"registry/web:{tag}")
                )
                kubelet.write(name, uid, *(f"{name} {number}" for number in range(100)))
            async with agent(tmp_path, f"http://127.0.0.1:{port}", api.url) as process:
                await process.up()
                await until(lambda: (tmp_path / "node/state/pods" / NEW / "ledger.db").exists(), "the pod is met")
                assert await process.terminate() == 0, process.said()
            assert await server.terminate() == 0, server.said()
        found = lives(audit(tmp_path / "archive"))
        for name, hash_, tag in (("web-old", "5d8f9c", "1.4.1"), ("web-new", "6c7b4d", "1.4.2")):
            life = found[name]
            (attributes,) = {json.dumps(said, sort_keys=True) for _, said in records(tmp_path / "archive", name)}
            assert json.loads(attributes)["container.image.name"] == "registry/web"
            assert json.loads(attributes)["shipper.generation"] == hash_
            assert (life["counts"]["archived"], life["counts"]["missing"]) == (100, 0), life
            assert (life["labels"]["generation"], life["labels"]["release"]) == (hash_, tag)

    asyncio.run(story())


def test_pods_live_on_while_the_agent_is_killed_and_upgraded(tmp_path: Path) -> None:
    """One pod crash-loops, one is deleted while the agent lies dead; each line is there once, and each life ends as its pod did."""

    async def story() -> None:
        kubelet, port = Kubelet(tmp_path / "pods"), free_port()
        async with ApiStub() as api, gateway(tmp_path, port) as server:
            await listening(port)
            url = f"http://127.0.0.1:{port}"
            await api.put(pod("stays", OLD, labels={"controller-revision-hash": "a1"}, owner=("DaemonSet", "web")))
            await api.put(pod("goes", NEW, labels={"pod-template-hash": "b2"}, owner=("ReplicaSet", "web-b2")))
            kubelet.write("stays", OLD, "stays 0")
            kubelet.write("goes", NEW, "goes 0")
            async with agent(tmp_path, url, api.url) as process:
                await process.up()
                await shipped(process, 2)
                kubelet.write("stays", OLD, "stays 1")
                kubelet.write("goes", NEW, "goes 1")
                await process.kill()
            kubelet.write("stays", OLD, "stays 2")
            kubelet.rotate("stays", OLD, "20260101-120000")
            kubelet.write("stays", OLD, "stays 3", restarts=1)
            kubelet.write("goes", NEW, "goes 2")
            await api.delete(NEW)
            async with agent(tmp_path, url, api.url) as process:
                await until(lambda: "drained" in process.said(), "the deleted pod's life ends")
                kubelet.remove("goes", NEW)
                await until(lambda: not (tmp_path / "node/state/pods" / NEW).exists(), "its state is removed")
                kubelet.write("stays", OLD, "stays 4", restarts=1)
                assert await process.terminate() == 0, process.said()
            assert await server.terminate() == 0, server.said()
        found = lives(audit(tmp_path / "archive"))
        for name, lines in (("stays", 5), ("goes", 3)):
            texts = [text for text, _ in records(tmp_path / "archive", name)]
            assert sorted(texts) == [f"{name} {number}" for number in range(lines)]
        for name in ("stays", "goes"):
            assert (found[name]["counts"]["missing"], found[name]["counts"]["duplicates"]) == (0, 0)
        assert (found["goes"]["labels"]["service"], found["goes"]["labels"]["generation"]) == ("web", "b2")
        assert found["stays"]["labels"]["generation"] == "a1"

    asyncio.run(story())


def test_word_that_the_node_dies_ends_every_life(tmp_path: Path) -> None:
    """Each pod's farewell is final, its last words are read before it, and the agent goes when all of them have it."""

    async def story() -> None:
        kubelet = Kubelet(tmp_path / "pods")
        kubelet.write("a", OLD, "a 0")
        kubelet.write("b", NEW, "b 0")
        async with Sink() as sink, agent(tmp_path, sink.url, "off") as process:
            await process.up()
            await shipped(process, 2)
            said = shipper("status", f"--state-dir={tmp_path / 'node/state'}").stdout
            assert "pods: 2 shipped, 0 left out; the API server is not asked" in said
            assert "  shop/a: running, run 1, service=" in said
            kubelet.write("a", OLD, "last words")
            told = shipper("notice", f"--state-dir={tmp_path / 'node/state'}", "--deadline=12s", "--evidence=spot")
            assert told.returncode == 0, told.stderr
            assert await process.ended() == 0, process.said()
            assert sorted(data_lines(sink)) == ["a 0", "b 0", "last words"]
            ends = {one["host"]: one["ends_life"] for one in statements(sink) if "ended_ns" in one}
            assert ends == {"a": True, "b": True, "agent": True}
            last = [one["host"] for one in statements(sink) if "ended_ns" in one][-1]
            assert last == "agent"

    asyncio.run(story())


async def shipped(process: Shipper, pods: int) -> None:
    """Wait until so many pods have runs, with streams and without a backlog."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await ask(str(process.directory / "state/admin.sock"), "GET", "/status")
            found = answer["node"]["pods"].values()
            if len(found) == pods and all(
                one.get("streams") and not any(one["backlog_bytes"].values()) for one in found
            ):
                return
            await asyncio.sleep(0.02)
