"""What the API server says of the pods of one node, kept up to date by a watch. Not being able to ask is never "there is none".

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes: a list, then a watch from the
list's resource version on. Bookmarks move that version, so that a watch is taken up again where it ended; 410 Gone, as an
answer or as an event, says that it is too old, and everything is listed again. A list is asked for without a version: one out
of a cache that lags behind would tell of pods that are gone, and not of some that are there.
"""

from __future__ import annotations

from contextlib import aclosing
from random import Random
from typing import Any

from shipper.clock import Clock
from shipper.events import Problem, Reporter, Said
from shipper.node.api import ApiError, ApiServer, namespace_path, pod_path
from shipper.node.pod import Pod, parse_pod

PODS = "/api/v1/pods"
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
NAMESPACE_SECONDS = 300.0  # what a namespace says counts for so long
GONE = 410


class PodWatch:
    """The pods of ``node``, by the uid of their log directory."""

    def __init__(
        self,
        api: ApiServer,
        node: str,
        *,
        clock: Clock,
        report: Reporter,
        random: Random | None = None,
    ) -> None:
        self.pods: dict[str, Pod] = {}
        self.synced = False  # everything was listed once
        self._api = api
        self._node = node
        self._clock = clock
        self._report = report
        self._random = random or Random()
        self._version = ""
        self._namespaces: dict[str, tuple[float, dict[str, str]]] = {}

    async def run(self) -> None:
        """Keep up to date until cancelled; never raises for what the server does."""
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    if not self._version:
                        await self._list()
                    pause = FIRST_PAUSE
                    await self._watch()
                except ApiError as problem:
                    if problem.status == GONE:
                        self._version = ""
                        continue
                    self._report(Problem("kubernetes-api", f"{problem}; what is known of pods stays", "watch"))
                await self._clock.sleep(pause * self._random.uniform(0.5, 1.0))
                pause = min(LONGEST_PAUSE, 2 * pause)
        finally:
            await self._api.aclose()

    async def look_up(self, namespace: str, name: str, uid: str, seconds: float) -> Pod | None:
        """Ask for one pod, which the watch has not told of yet; None where there is none of that uid. Raises `ApiError`."""
        try:
            pod = parse_pod(await self._api.get(pod_path(namespace, name), seconds=seconds))
        except ApiError as problem:
            if problem.status == 404:
                return None
            raise
        if pod is None or pod.uid != uid:
            return None
        self.pods[uid] = pod
        return pod

    async def labels_of(self, namespace: str, seconds: float) -> dict[str, str]:
        """The labels of a namespace; what was known of it where it cannot be asked now, or nothing."""
        asked, known = self._namespaces.get(namespace, (float("-inf"), {}))
        now = self._clock.monotonic()
        if now - asked < NAMESPACE_SECONDS:
            return known
        try:
            found = await self._api.get(namespace_path(namespace), seconds=seconds)
            labels = found["metadata"].get("labels") or {}
            known = {key: value for key, value in labels.items() if isinstance(value, str)}
        except ApiError as problem:
            self._report(Problem("kubernetes-api", str(problem), "namespace"))
        except (KeyError, TypeError, AttributeError):
            known = {}
        self._namespaces[namespace] = (now, known)
        return known

    async def _list(self) -> None:
        answer = await self._api.get(PODS, fieldSelector=f"spec.nodeName={self._node}")
        try:
            version = str(answer["metadata"]["resourceVersion"])
            items = list(answer["items"] or [])
        except (KeyError, TypeError) as problem:
            raise ApiError(f"{PODS} did not answer with a list of pods") from problem
        found = [pod for pod in map(parse_pod, items) if pod is not None]
        self.pods = {pod.uid: pod for pod in found}
        if not self.synced:
            self._report(Said(f"the API server tells of {len(found)} pods on {self._node}"))
        self._version, self.synced = version, True

    async def _watch(self) -> None:
        query = {"fieldSelector": f"spec.nodeName={self._node}", "resourceVersion": self._version}
        async with aclosing(self._api.watch(PODS, **query)) as events:
            async for event in events:
                self._take(event.get("type"), event.get("object"))

    def _take(self, kind: Any, raw: Any) -> None:
        if kind == "ERROR":
            code = raw.get("code") if isinstance(raw, dict) else 0
            raise ApiError(f"the watch of pods ended: {raw}"[:300], code if isinstance(code, int) else 0)
        try:
            self._version = str(raw["metadata"]["resourceVersion"])
        except (KeyError, TypeError):
            return
        pod = parse_pod(raw) if kind != "BOOKMARK" else None
        if pod is None:
            return
        if kind == "DELETED":
            self.pods.pop(pod.uid, None)
        else:
            self.pods[pod.uid] = pod


async def told(watch: PodWatch, namespace: str, name: str, uid: str, seconds: float) -> bool | None:
    """Whether the server says that a pod is gone; None where it cannot be asked."""
    if uid in watch.pods:
        return False
    try:
        return await watch.look_up(namespace, name, uid, seconds) is None
    except ApiError:
        return None


async def wait_for(watch: PodWatch, namespace: str, name: str, uid: str, clock: Clock, seconds: float) -> Pod | None:
    """The pod with its image, or what is known of it after ``seconds``. The watch is asked first, the server if that lags."""
    until = clock.monotonic() + seconds
    asked = False
    while (left := until - clock.monotonic()) > 0:
        pod = watch.pods.get(uid)
        if pod is not None and pod.complete:
            return pod
        if pod is None and watch.synced and not asked:
            asked = True
            await told(watch, namespace, name, uid, left)
            continue
        await clock.sleep(min(0.05, left))
    return watch.pods.get(uid)
