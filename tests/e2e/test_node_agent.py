"""The agent of a node, as a process, with an API server over real HTTP and a log directory as the kubelet keeps it."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.e2e.kit import WITHOUT_OWN_NUMBERS, Shipper, audit, free_port, gateway, listening, shipper, until
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


def records(archive: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of pods in an archive, by pod."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in shipper("cat", str(archive), "--json").stdout.splitlines():
        record = json.loads(line)
        found[record["resource"].get("k8s.pod.name", "")].append(record)
    return found


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
            assert (life["counts"]["archived"], life["counts"]["missing"]) == (100, 0), life
            assert (life["labels"]["generation"], life["labels"]["release"]) == (hash_, tag)

    asyncio.run(story())
