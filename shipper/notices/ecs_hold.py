"""Task scale-in protection: ECS does not choose this task to be stopped while much is not yet sent.

It works ahead only: against scale-in and deployments, for tasks of a service; not against Spot or StopTask, and it is refused
once the task is stopping. So it is taken while the backlog is above a threshold, renewed, and taken off as soon as the backlog is gone
(Amazon ECS Developer Guide, "Task scale-in protection endpoint"). A failure comes with status 200, an error with its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from shipper.clock import Clock
from shipper.events import Problem, Reporter, Said
from shipper.labels.metadata import Answer, NoMetadata, json_object, text_of
from shipper.notice import Hold, Need
from shipper.notices.http import Asker

PATH = "/task-protection/v1/state"
LOOK_SECONDS = 1.0
TIMEOUT_SECONDS = 5.0  # the agent asks the ECS API, and gives up after four seconds
RELEASE_SECONDS = 3.0
MINUTES = 10  # of a protection: what a host that died with it costs a deployment at most
RENEW_SHARE = 0.5
EMPTY_SHARE = 0.1  # of the threshold: below, protection goes; the distance keeps it from flapping
THRESHOLD_BYTES = 1 << 20
RETRY_SECONDS = 15.0
SLOWEST_RETRY_SECONDS = 300.0
REFUSED_SECONDS = 3600.0  # after an answer that will hardly change: no role, no service


class EcsHold(Hold):
    """Protects the task by ``agent_uri`` (ECS_AGENT_URI) while more than ``threshold`` bytes are not acknowledged."""

    name = "ecs-protection"
    release_when = "empty"

    def __init__(
        self,
        *,
        clock: Clock,
        report: Reporter,
        agent_uri: str,
        threshold: int = THRESHOLD_BYTES,
        minutes: int = MINUTES,
    ) -> None:
        """``minutes``: of each protection, 1 to 2880."""
        if not 1 <= minutes <= 2880:
            raise ValueError(f"a protection lasts 1 to 2880 minutes, not {minutes}")
        self._clock = clock
        self._report = report
        self._threshold = threshold
        self._minutes = minutes
        self._asker = Asker(agent_uri, clock=clock)
        self._protected = False
        self._renew_at = 0.0
        self._retry_at = 0.0
        self._failures = 0
        self._released = False

    @property
    def holding(self) -> bool:
        """See `Hold.holding`."""
        return self._protected

    async def run(self, need: Callable[[], Need]) -> None:
        """See `Hold.run`."""
        self._released = False
        while not self._released:
            await self._look(need())
            await self._clock.sleep(LOOK_SECONDS)

    async def release(self, *, drained: bool) -> None:
        """See `Hold.release`: what protects a task that has nothing left, or no time left, protects nothing."""
        self._released = True
        if self._protected:
            await self._set(False, RELEASE_SECONDS)

    async def aclose(self) -> None:
        """See `Hold.aclose`."""
        await self._asker.aclose()

    async def _look(self, need: Need) -> None:
        now = self._clock.monotonic()
        if now < self._retry_at:
            return
        if self._protected and need.backlog <= self._threshold * EMPTY_SHARE:
            await self._set(False, TIMEOUT_SECONDS)
        elif (self._protected and now >= self._renew_at) or (
            not self._protected and need.backlog > self._threshold and not need.draining
        ):
            await self._set(True, TIMEOUT_SECONDS)

    async def _set(self, on: bool, timeout: float) -> None:
        wanted: dict[str, object] = {"ProtectionEnabled": on}
        if on:
            wanted["ExpiresInMinutes"] = self._minutes
        try:
            answer = await self._asker.ask(
                "PUT",
                PATH,
                timeout=timeout,
                headers={"Content-Type": "application/json"},
                body=json.dumps(wanted).encode(),
            )
            final, problem = _problem(answer, on)
        except NoMetadata as unreachable:
            final, problem = False, f"the agent {unreachable}"
        if problem:
            self._failed(on, final, problem)
        else:
            self._done(on)

    def _done(self, on: bool) -> None:
        if on != self._protected:
            how = "protected from scale-in while it sends its backlog" if on else "no longer protected from scale-in"
            self._report(Said(f"{self.name}: the task is {how}"))
        self._protected = on
        self._failures = 0
        self._renew_at = self._clock.monotonic() + self._minutes * 60 * RENEW_SHARE

    def _failed(self, on: bool, final: bool, problem: str) -> None:
        self._failures += 1
        later = min(RETRY_SECONDS * 2.0 ** min(self._failures - 1, 10), SLOWEST_RETRY_SECONDS)
        self._retry_at = self._clock.monotonic() + (REFUSED_SECONDS if final else later)
        self._report(
            Problem("hold", f"{self.name}: cannot {'' if on else 'un'}protect the task: {problem}", f"{self.name} {on}")
        )


def _problem(answer: Answer, on: bool) -> tuple[bool, str]:
    """Whether it will stay so, and what is wrong; empty when the agent did as it was told."""
    try:
        content = json_object(answer)
    except NoMetadata as nonsense:
        return False, f"the agent {nonsense} ({answer.status})"
    code = text_of(content, "error", "Code")
    if code:
        message = text_of(content, "error", "Message")[:200]
        return code in ("AccessDeniedException", "InvalidParameterException"), f"{code}: {message}"
    reason = text_of(content, "failure", "Reason")
    if reason:
        return reason == "TASK_NOT_VALID", f"{reason} (only tasks of a service can be protected)"
    protection = content.get("protection")
    if answer.status != 200 or not isinstance(protection, dict) or protection.get("ProtectionEnabled") is not on:
        return False, f"the agent answered {answer.status} without the protection asked for"
    return False, ""
