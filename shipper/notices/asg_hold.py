"""Keeps an Auto Scaling group waiting: a heartbeat of its terminate hook while there is something to save, completion when not.

A hook gives 30 s to 2 h, and each `RecordLifecycleActionHeartbeat` gives as much again, up to 48 h or a hundred times
(EC2 Auto Scaling User Guide, "Complete a lifecycle action"). The instance may do this for itself: group, hook and instance id
are enough. A Spot interruption is not delayed by it.

The first heartbeat is sent at once, because only then the end is known: the metadata service tells neither hook nor time.
Where a group has several hooks and none is named, or called, as ours, all are kept waiting but none is completed: it may be
another program's to complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from shipper.clock import Clock
from shipper.errors import MissingExtra
from shipper.events import Problem, Reporter, Said
from shipper.labels.metadata import NoMetadata
from shipper.notice import Hold, Need, NoticeKind
from shipper.notices.asg import SOURCE, LifecycleLook
from shipper.notices.asg_api import ActionGone, AsgProblem, AsgRefused, AutoScaling, Hook
from shipper.notices.http import within
from shipper.notices.imds import META, Imds

LOOK_SECONDS = 0.25  # how often it is looked whether the group wants this instance gone
BEAT_SHARE = 0.4  # of the hook's time-out, between two heartbeats: two may fail before it runs out
RETRY_SECONDS = 1.5
SLOWEST_RETRY_SECONDS = 30.0
EARLY_TRIES = 2
RELEASE_SECONDS = 4.0  # that a release may take, its retries included
GROUP_TAG = META + "tags/instance/aws:autoscaling:groupName"

T = TypeVar("T")


class AsgHold(Hold):
    """See the module. Does nothing before the group wants the instance gone, so it costs nothing elsewhere."""

    name = "ec2-asg"
    release_when = "ended"

    def __init__(
        self,
        *,
        clock: Clock,
        report: Reporter,
        imds: Imds,
        look: LifecycleLook,
        hooks: Sequence[str] = (),
        endpoint: str = "",
        imds_endpoint: str = "",
    ) -> None:
        """``look`` is told when the group will go on. ``hooks``: names of those that are ours; none: see the module.

        ``endpoint``: of the API, instead of AWS's; ``imds_endpoint``: where botocore
        finds the instance's credentials, if not where it looks by itself.
        """
        self._clock = clock
        self._report = report
        self._imds = imds
        self._look = look
        self._named = tuple(hooks)
        self._endpoint = endpoint
        self._imds_endpoint = imds_endpoint
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shipper-asg")
        self._api: AutoScaling | None = None
        self._instance = self._group = ""
        self._hooks: dict[str, Hook] = {}  # those that still wait
        self._ours: set[str] = set()
        self._early: dict[str, int] = {}  # how often a hook may still say that there is no action
        self._found = asyncio.Event()  # the hooks are known, or it is known that there are none
        self._released = asyncio.Event()
        self._wanted = False

    @property
    def holding(self) -> bool:
        """See `Hold.holding`: also while it is still being found out what waits."""
        return self._wanted and (bool(self._hooks) or not self._found.is_set())

    async def run(self, need: Callable[[], Need]) -> None:
        """See `Hold.run`."""
        self._released.clear()
        while not self._released.is_set():
            if not _terminating(need()):
                self._wanted = False
                await self._clock.sleep(LOOK_SECONDS)
                continue
            self._wanted = True
            since = self._clock.monotonic()
            try:
                await self._find(need)
                self._found.set()
                await self._keep_beating(need, since)
            except (AsgProblem, MissingExtra) as problem:
                self._say(f"the group is not kept waiting: {problem}")
                self._hooks.clear()
            self._found.set()
            while _terminating(need()):  # nothing can be held (any more); a new wish of the group is a new try
                await self._clock.sleep(LOOK_SECONDS)
            self._found.clear()

    async def release(self, *, drained: bool) -> None:
        """See `Hold.release`."""
        self._released.set()
        if not self._wanted:
            return
        try:
            await within(self._clock, RELEASE_SECONDS, self._let_go(drained))
        except TimeoutError:
            self._say(f"the group was not told to go on within {RELEASE_SECONDS:g} s: it will when the hook times out")

    async def aclose(self) -> None:
        """See `Hold.aclose`."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._api is not None:
            self._api.close()

    # -- what there is to hold ---------------------------------------------------------------------------------------

    async def _find(self, need: Callable[[], Need]) -> None:
        """Fill in group and hooks, tried again while that may help. Raises `AsgRefused`, `ActionGone`, `MissingExtra`."""
        wait = RETRY_SECONDS
        while True:
            try:
                await self._find_once()
                return
            except (ActionGone, AsgRefused):
                raise
            except (AsgProblem, NoMetadata) as problem:
                self._say(f"the hooks of the group are not known yet: {problem}")
            if not _terminating(need()):
                raise AsgProblem("the group took its wish back")
            await self._clock.sleep(wait)
            wait = min(wait * 2, SLOWEST_RETRY_SECONDS)

    async def _find_once(self) -> None:
        self._instance = await self._imds.text(META + "instance-id")
        region = await self._imds.text(META + "placement/region")
        self._group = await self._imds.text(GROUP_TAG)
        api = self._api
        if api is None:
            made = partial(AutoScaling, region=region, endpoint=self._endpoint, imds_endpoint=self._imds_endpoint)
            api = self._api = await self._in_thread(made)
        if not self._group:
            self._group = await self._in_thread(partial(api.group_of, self._instance))
        if not self._group:
            raise AsgRefused("this instance is in no Auto Scaling group that could be asked")
        listed = await self._in_thread(partial(api.hooks_of, self._group))
        if not listed:
            raise AsgRefused(f"the group {self._group} has no hook on termination")
        self._hooks = {hook.name: hook for hook in listed if not self._named or hook.name in self._named}
        if not self._hooks:
            raise AsgRefused(f"the group {self._group} has no hook on termination called {', '.join(self._named)}")
        self._early = dict.fromkeys(self._hooks, EARLY_TRIES)
        self._ours = _ours(self._hooks, self._named)

    # -- holding -----------------------------------------------------------------------------------------------------

    async def _keep_beating(self, need: Callable[[], Need], since: float) -> None:
        end = since + max(hook.longest for hook in self._hooks.values())
        wait = RETRY_SECONDS
        while self._hooks and _terminating(need()) and not self._released.is_set():
            if self._clock.monotonic() >= end:
                self._say(
                    f"the group {self._group} waits no longer, whatever we say: the longest time of a hook is over"
                )
                return
            beaten = await self._beat_all(since)
            heartbeat = min((hook.heartbeat for hook in self._hooks.values()), default=0.0)
            wait = RETRY_SECONDS if beaten else min(wait * 2, SLOWEST_RETRY_SECONDS, heartbeat / 8)
            await self._pause(heartbeat * BEAT_SHARE if beaten else wait, need)

    async def _beat_all(self, since: float) -> bool:
        """One heartbeat for every hook; False where one should soon be tried again."""
        api, ends, fine = self._known_api(), [], True
        for hook in list(self._hooks.values()):
            if self._released.is_set():
                return True
            asked = self._clock.monotonic()
            try:
                await self._in_thread(partial(api.beat, self._group, hook.name, self._instance))
                ends.append(min(asked + hook.heartbeat, since + hook.longest))
                self._early.pop(hook.name, None)
            except ActionGone as problem:
                if self._early.get(hook.name, 0):  # never answered yet: the action may be about to begin
                    self._early[hook.name] -= 1
                    fine = False
                    continue
                self._report(Said(f"{self.name}: the hook {hook.name} does not wait (any more): {problem}"))
                del self._hooks[hook.name]
            except AsgRefused as problem:
                self._say(f"the hook {hook.name} cannot be kept waiting: {problem}")
                del self._hooks[hook.name]
            except AsgProblem as problem:
                self._say(f"a heartbeat of the hook {hook.name} failed and is tried again: {problem}")
                fine = False
        if ends and fine:
            # The group goes on when the last hook does; a hook that we hold is enough to keep it.
            self._look.ends_at(max(ends))
        elif not self._hooks:
            self._look.ends_at(None)
        return fine

    async def _pause(self, seconds: float, need: Callable[[], Need]) -> None:
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0 and _terminating(need()) and not self._released.is_set():
            await self._clock.sleep(min(left, LOOK_SECONDS))

    async def _let_go(self, drained: bool) -> None:
        await self._found.wait()
        if not self._hooks:
            return
        if not drained:
            self._report(
                Said(f"{self.name}: not all is off this host, so the group is not told to go on: its hook runs out")
            )
            return
        if not self._ours:
            names = ", ".join(self._hooks)
            self._report(
                Said(f"{self.name}: the group has several hooks ({names}) and none is named as ours: none completed")
            )
        for name in self._ours & set(self._hooks):
            await self._complete(name)

    async def _complete(self, name: str) -> None:
        api = self._known_api()
        while True:
            try:
                await self._in_thread(partial(api.complete, self._group, name, self._instance))
                self._report(
                    Said(f"{self.name}: everything is off this host, the group {self._group} may go on ({name})")
                )
                return
            except ActionGone:
                self._report(Said(f"{self.name}: the group {self._group} has gone on already ({name})"))
                return
            except AsgRefused as problem:
                self._say(f"the group cannot be told to go on: {problem}")
                return
            except AsgProblem as problem:
                self._say(f"the group was not told yet to go on, another try follows: {problem}")
            await self._clock.sleep(RETRY_SECONDS / 4)

    def _known_api(self) -> AutoScaling:
        assert self._api is not None  # hooks are known, so it was made
        return self._api

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _say(self, message: str) -> None:
        self._report(Problem("hold", f"{self.name}: {message}", f"{self.name} {message[:40]}"))


def _terminating(need: Need) -> bool:
    return any(one.source == SOURCE and one.kind is NoticeKind.IMMINENT for one in need.notices)


def _ours(hooks: dict[str, Hook], named: Sequence[str]) -> set[str]:
    """The hooks that are ours to complete: named so, called so, or the only one."""
    if named:
        return set(hooks)
    called = {name for name in hooks if "shipper" in name.lower()}
    return called or (set(hooks) if len(hooks) == 1 else set())
