"""Whether a pod is over: its logs are removed, or the API server says so and it is quiet.

A watch may lag, and never tells of a static pod whose mirror is missing; so a pod that it does not know is asked for by name,
and only an answer counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from shipper.clock import Clock
from shipper.node.places import Place, sizes_differ
from shipper.node.watch import PodWatch, told

ASK_SECONDS = 5.0  # for the API server to say whether a pod is gone
EXCLUDE = "shipper.io/exclude"


class Ends:
    """Of all pods. ``watch``: None where the API server is not asked; ``quiet``: seconds without a word."""

    def __init__(self, watch: PodWatch | None, quiet: float, clock: Clock) -> None:
        self._watch = watch
        self._quiet = quiet
        self._clock = clock
        self._growth: dict[str, tuple[float, Mapping[str, int]]] = {}

    def excluded(self, uid: str) -> str:
        """Why somebody does not want the pod to be shipped; empty: nobody said so."""
        pod = self._watch.pods.get(uid) if self._watch is not None else None
        return f"its annotation {EXCLUDE}" if pod is not None and pod.annotations.get(EXCLUDE) == "true" else ""

    def surely_lives(self, uid: str) -> bool:
        """Whether nothing says that the pod may be over; then nothing of it has to be looked at while its logs are there."""
        if self._watch is None or not self._watch.synced:
            return True
        pod = self._watch.pods.get(uid)
        return pod is not None and not pod.ended and not self.excluded(uid)

    async def over(self, place: Place, sizes: Mapping[str, int] | None) -> tuple[str, str] | None:
        """Reason and evidence for the end of a pod's life; None while it may still write. ``sizes``: None, its logs are gone."""
        uid = place.uid
        if sizes is None:
            return "pod deleted", "the kubelet has removed its logs"
        if why := self.excluded(uid):
            return "pod excluded", why
        if self._watch is None or not self._is_quiet(uid, sizes):
            return None
        pod = self._watch.pods.get(uid)
        if pod is not None:
            return (f"pod {pod.phase.lower()}", "none of its containers will run again") if pod.ended else None
        self._growth[uid] = (self._clock.monotonic(), sizes)  # asked again after as long a quiet
        if await told(self._watch, place.namespace, place.name, uid, ASK_SECONDS):
            return "pod deleted", "the API server knows it no more, and it is quiet"
        return None

    def forget(self, uid: str) -> None:
        """Its run is over."""
        self._growth.pop(uid, None)

    def _is_quiet(self, uid: str, sizes: Mapping[str, int]) -> bool:
        since, before = self._growth.get(uid, (0.0, None))
        now = self._clock.monotonic()
        if before is None or sizes_differ(before, sizes):
            self._growth[uid] = (now, sizes)
            return False
        return now - since >= self._quiet
