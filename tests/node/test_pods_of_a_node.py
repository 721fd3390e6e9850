"""The pods of a node beside an agent's run, in one process: what is shipped, what is left out, and what ends a life."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper.build import build
from shipper.clock import SystemClock
from shipper.conductor import Conductor
from shipper.config import load
from shipper.drain.order import Order
from shipper.events import Reporter
from shipper.node.agent import Node
from shipper.node.build import make_node, without_pods
from shipper.notice import Notice, NoticeKind
from shipper.otlp import decode
from shipper.testing.sink import Sink
from tests.e2e.kit import is_statement, statements, until
from tests.node.cluster import NODE, ApiStub, Kubelet, pod

A, B = "0a1b2c3d-1111-2222-3333-444455550000", "0a1b2c3d-1111-2222-3333-444455550001"


@dataclass
class Agent:
    """What a test looks at."""

    node: Node
    conductor: Conductor
    report: Reporter
    state: Path

    def met(self, uid: str) -> bool:
        """Whether the pod has a run that is put together."""
        run = self.node._runs.get(uid)
        return run is not None and run.parts is not None


@asynccontextmanager
async def agent(directory: Path, sink: Sink, api: str = "off", **settings: Any) -> AsyncIterator[Agent]:
    """The pods below ``directory/pods``, shipped to ``sink``; the state in ``directory/state``."""
    clock = SystemClock()
    report = Reporter(clock)
    raw = {
        "state_dir": str(directory / "state"),
        "endpoint": sink.url,
        "labels.host": "agent",
        "labels.environment": "test",
        "metrics.own": False,
        "node.pods_dir": str(directory / "pods"),
        "node.api": api,
        "node.name": NODE,
        "node.quiet": 0.1,
        **settings,
    }
    config = load(None, env={}, overrides=raw, role="sidecar").config

    async def flush(seconds: float) -> bool:
        return True

    conductor = Conductor(config, "sidecar", env={}, clock=clock, report=report, flush=flush)
    parts = await build(without_pods(config), "sidecar", env={}, clock=clock, report=report)
    node = make_node(config, parts, conductor, env={}, clock=clock, report=report)
    task = asyncio.create_task(node.run())
    try:
        yield Agent(node, conductor, report, directory / "state")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await parts.aclose()


def lines(sink: Sink) -> dict[str, list[str]]:
    """The lines that arrived, by the pod on their resource; each range once."""
    found: dict[str, list[str]] = defaultdict(list)
    keys: set[str] = set()
    for request in sink.kept():
        if request.key in keys:
            continue
        keys.add(request.key)
        for record in decode.records(request.signal, request.body):
            if not is_statement(str(record.body)):
                found[str(record.resource.get("k8s.pod.name"))].append(str(record.body))
    return found


def farewells(sink: Sink) -> dict[str, dict[str, Any]]:
    """The last farewell of each host."""
    return {one["host"]: one for one in statements(sink) if "ended_ns" in one}


def test_without_an_api_server_the_directories_do(tmp_path: Path) -> None:
    """Pods are met by their directories, who they are is what those say, and a removed directory ends a life."""

    async def story() -> None:
        kubelet = Kubelet(tmp_path / "pods")
        kubelet.write("a", A, "one")
        async with Sink() as sink, agent(tmp_path, sink) as found:
            await until(lambda: lines(sink)["a"] == ["one"], "the line arrives")
            kubelet.write("b", B, "two")
            await until(lambda: lines(sink)["b"] == ["two"], "a pod that comes later is met")
            kubelet.write("a", A, "last words")
            kubelet.remove("a", A)
            await until(lambda: "a" in farewells(sink), "the life ends")
            await until(lambda: not (found.state / "pods" / A).exists(), "its state is removed")
            assert lines(sink)["a"] == ["one", "last words"]
            said = farewells(sink)["a"]
            assert (said["ends_life"], said["outcome"], said["left"]) == (True, "drained", [])
            assert said["labels"]["environment"] == "test"
            assert "b" not in farewells(sink)

    asyncio.run(story())


def test_a_server_that_refuses_holds_nobody_up(tmp_path: Path) -> None:
    """After ``node.wait`` a pod is shipped as who its directory says."""

    async def story() -> None:
        kubelet = Kubelet(tmp_path / "pods")
        kubelet.write("a", A, "one")
        async with Sink() as sink, ApiStub() as api:
            api.denied = True
            async with agent(tmp_path, sink, api.url, **{"node.wait": 0.3}) as found:
                await until(lambda: lines(sink)["a"] == ["one"], "the line arrives")
                assert found.report.metrics.problems.labels("kubernetes-api")._value.get() >= 1

    asyncio.run(story())


def test_what_is_left_out(tmp_path: Path) -> None:
    """Namespaces by glob, pods by annotation, also when that comes later; the others are shipped."""

    async def story() -> None:
        kubelet = Kubelet(tmp_path / "pods")
        async with Sink() as sink, ApiStub() as api:
            await api.put(pod("secret", A, annotations={"shipper.io/exclude": "true"}))
            await api.put(pod("open", B))
            kubelet.write("secret", A, "no")
            kubelet.write("system", A.replace("0000", "0002", 1), "no", namespace="kube-system")
            kubelet.write("open", B, "yes")
            async with agent(tmp_path, sink, api.url, **{"node.exclude_namespaces": ["kube-*"]}) as found:
                await until(lambda: lines(sink)["open"] == ["yes"], "the pod that is wanted is shipped")
                await until(lambda: len(found.node.status()["left_out"]) == 2, "the others are left out")
                await api.put(pod("open", B, annotations={"shipper.io/exclude": "true"}))
                await until(lambda: "open" in farewells(sink), "it is ended when somebody asks for that")
                await until(lambda: B not in found.node._tasks, "its run is over")
                kubelet.write("open", B, "no more")
                await until(lambda: len(found.node.status()["left_out"]) == 3, "it is left out from then on")
            assert dict(lines(sink)) == {"open": ["yes"]}

    asyncio.run(story())


def test_a_pod_that_has_ended_is_reopened_by_what_it_writes(tmp_path: Path) -> None:
    """A Job that succeeded says farewell; a late line is of the same life, in another run."""

    async def story() -> None:
        kubelet = Kubelet(tmp_path / "pods")
        async with Sink() as sink, ApiStub() as api:
            await api.put(pod("a", A, phase="Succeeded"))
            kubelet.write("a", A, "one")
            async with agent(tmp_path, sink, api.url) as found:
                await until(lambda: "a" in farewells(sink), "the life ends")
                first = farewells(sink)["a"]
                assert first["reason"] == "pod succeeded"
                await until(lambda: not found.met(A), "the run is over")
                kubelet.write("a", A, "late")
                await until(lambda: farewells(sink)["a"]["run"] == 2, "the life ends once more")
                assert farewells(sink)["a"]["life"] == first["life"]
                assert lines(sink)["a"] == ["one", "late"]

    asyncio.run(story())


def test_a_stop_of_the_agent_ends_runs_and_the_nodes_end_ends_lives(tmp_path: Path) -> None:
    """Only word that the node goes makes farewells of pods final; the agent's own preStop hook is no such word."""

    async def story() -> None:
        kubelet = Kubelet(tmp_path / "pods")
        kubelet.write("a", A, "one")
        async with Sink() as sink:
            async with agent(tmp_path, sink) as found:
                await until(lambda: found.met(A), "the pod is met")
                found.conductor.board.notice(
                    Notice("prestop", NoticeKind.IMMINENT, "preStop hook", None, "kubernetes-prestop", ends_life=True)
                )
                found.node.drain(Order("SIGTERM", True, "a pod's disk goes with it", stop=True))
                await until(found.node.idle, "all runs end")
            assert farewells(sink)["a"]["ends_life"] is False
            async with agent(tmp_path, sink) as found:
                await until(lambda: found.met(A), "the pod is met again")
                found.conductor.board.notice(
                    Notice("ec2-spot", NoticeKind.IMMINENT, "terminate", None, "ec2-spot", ends_life=True)
                )
                found.node.drain(Order("SIGTERM", False, "", stop=True))
                await until(found.node.idle, "all runs end")
            said = farewells(sink)["a"]
            assert (said["ends_life"], said["run"]) == (True, 2)
            assert lines(sink)["a"] == ["one"]

    asyncio.run(story())


def test_a_drain_that_is_taken_back_leaves_pods_as_they_were(tmp_path: Path) -> None:
    """A notice's drain ends with the notice: what is written then is shipped as before."""

    async def story() -> None:
        kubelet = Kubelet(tmp_path / "pods")
        kubelet.write("a", A, "one")
        async with Sink() as sink, agent(tmp_path, sink) as found:
            await until(lambda: lines(sink)["a"] == ["one"], "the line arrives")
            order = Order("notice from ec2-spot", True, "terminate", stop=False)
            found.node.drain(order)
            await until(lambda: found.node._runs[A].ending, "it drains")
            found.node.follow(None, impatient=False)
            found.node.goes_on()
            await until(lambda: A in found.node._runs and not found.node._runs[A].ending, "it goes on")
            kubelet.write("a", A, "two")
            await until(lambda: lines(sink)["a"] == ["one", "two"], "what comes later is shipped")

    asyncio.run(story())


def test_links_to_dockers_files_are_the_pods(tmp_path: Path) -> None:
    """Where Docker is the runtime, the kubelet's directory has links; the records are the container's all the same."""

    async def story() -> None:
        kubelet = Kubelet(tmp_path / "pods")
        real = tmp_path / "docker" / ("ab" * 32) / f"{'ab' * 32}-json.log"
        real.parent.mkdir(parents=True)
        real.write_text('{"log":"one\\n","stream":"stdout","time":"2026-11-23T02:00:00.000000001Z"}\n')
        link = kubelet.home("a", A) / "proxy" / "0.log"
        link.parent.mkdir(parents=True)
        link.symlink_to(real)
        async with Sink() as sink, ApiStub() as api:
            await api.put(pod("a", A, containers={"app": "registry/web:1.0", "proxy": "registry/envoy:9"}))
            async with agent(tmp_path, sink, api.url):
                await until(lambda: lines(sink)["a"] == ["one"], "the line arrives")
            (resource,) = [
                dict(record.resource)
                for request in sink.kept()
                for record in decode.records(request.signal, request.body)
                if record.body == "one"
            ]
            assert resource["container.image.name"] == "registry/envoy"
            assert resource["service.version"] == "9"
            assert resource["container.id"] == "ab" * 32

    asyncio.run(story())
