"""The EC2 Auto Scaling API on loopback, as far as an instance needs it for its own lifecycle hooks.

    async with FakeAutoScaling(clock=clock) as api:
        api.add_hook("shipper", heartbeat=300)
        ... point botocore's endpoint_url at api.url ...
        api.terminate()

Speaks the AWS query protocol (form in, XML out) as botocore wants it. Time-outs of hooks run on the clock; so what a heartbeat
is good for, and that a hook ends after its global time-out whatever one does, can be seen without waiting.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from shipper.clock import Clock
from shipper.testing.platforms.loopback import Asked, Loopback, Reply

TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
_NAMESPACE = "http://autoscaling.amazonaws.com/doc/2011-01-01/"


@dataclass
class FakeHook:
    """A hook and, once the instance terminates, its lifecycle action; times in seconds."""

    name: str
    heartbeat: float = 3600.0
    transition: str = TERMINATING
    begun: float | None = None
    expires: float = 0.0
    completed: str = ""  # CONTINUE or ABANDON

    @property
    def longest(self) -> float:
        """GlobalTimeout: 48 h or a hundred heartbeat time-outs, whichever is less."""
        return min(172_800.0, 100 * self.heartbeat)

    def waits(self, now: float) -> bool:
        """Whether its action keeps the instance now."""
        return self.begun is not None and not self.completed and now < min(self.expires, self.begun + self.longest)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API: when (the clock's monotonic seconds), which action, with which parameters."""

    at: float
    action: str
    parameters: Mapping[str, str]


class FakeAutoScaling(Loopback):
    """The API of one group with one instance. ``calls`` records everything that was asked, also what failed."""

    def __init__(
        self, *, clock: Clock | None = None, group: str = "checkout-asg", instance_id: str = "i-1234567890abcdef0"
    ) -> None:
        super().__init__(clock=clock)
        self.group = group
        self.instance_id = instance_id
        self.state = "InService"
        self.hooks: dict[str, FakeHook] = {}
        self.calls: list[Call] = []
        self._failures: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._broken: dict[str, Reply] = {}

    def add_hook(self, name: str, heartbeat: float = 3600.0, transition: str = TERMINATING) -> FakeHook:
        """Give the group a hook; ``heartbeat``: HeartbeatTimeout in seconds (30 to 7200)."""
        self.hooks[name] = FakeHook(name, heartbeat, transition)
        return self.hooks[name]

    def terminate(self) -> None:
        """The group wants the instance gone: the actions of its terminate hooks begin now."""
        now = self.clock.monotonic()
        self.state = "Terminating:Wait"
        for hook in self.hooks.values():
            if hook.transition == TERMINATING:
                hook.begun, hook.expires = now, now + hook.heartbeat

    def waiting(self) -> list[str]:
        """Names of the hooks that keep the instance now; none: EC2 ends it."""
        now = self.clock.monotonic()
        return [hook.name for hook in self.hooks.values() if hook.waits(now)]

    def called(self, action: str) -> list[Call]:
        """The calls of one action, e.g. ``RecordLifecycleActionHeartbeat``."""
        return [call for call in self.calls if call.action == action]

    def fail(self, action: str, code: str, message: str = "", *, times: int = 1, status: int = 400) -> None:
        """The next calls of ``action`` get this error, e.g. Throttling, ValidationError, AccessDenied; times 0: all of them,
        until `mend`."""
        if times:
            self._failures[action].extend([_error(code, message or code, status)] * times)
        else:
            self._broken[action] = _error(code, message or code, status)

    def mend(self, action: str) -> None:
        """No more errors for ``action``."""
        self._failures.pop(action, None)
        self._broken.pop(action, None)

    def reply(self, asked: Asked) -> Reply:
        """See `Loopback.reply`."""
        parameters = dict(parse_qsl(asked.body.decode("utf-8", "replace"), keep_blank_values=True))
        action = parameters.pop("Action", "")
        self.calls.append(Call(asked.at, action, parameters))
        if self._failures[action]:
            return self._failures[action].popleft()
        if action in self._broken:
            return self._broken[action]
        if "Authorization" not in asked.headers:
            return _error("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        match action:
            case "DescribeAutoScalingInstances":
                return self._describe_instances(parameters)
            case "DescribeLifecycleHooks":
                return self._describe_hooks(parameters)
            case "RecordLifecycleActionHeartbeat" | "CompleteLifecycleAction":
                return self._act(action, parameters)
        return _error("InvalidAction", f"Could not find operation {action}")

    def _describe_instances(self, parameters: Mapping[str, str]) -> Reply:
        known = parameters.get("InstanceIds.member.1") == self.instance_id and self.group
        member = {
            "InstanceId": self.instance_id,
            "AutoScalingGroupName": self.group,
            "LifecycleState": self.state,
            "HealthStatus": "HEALTHY",
            "AvailabilityZone": "us-east-1a",
            "ProtectedFromScaleIn": "false",
        }
        return _answer("DescribeAutoScalingInstances", _members("AutoScalingInstances", [member] if known else []))

    def _describe_hooks(self, parameters: Mapping[str, str]) -> Reply:
        if parameters.get("AutoScalingGroupName") != self.group:
            return _error("ValidationError", f"Group {parameters.get('AutoScalingGroupName')} not found")
        members = [
            {
                "LifecycleHookName": hook.name,
                "AutoScalingGroupName": self.group,
                "LifecycleTransition": hook.transition,
                "HeartbeatTimeout": f"{hook.heartbeat:.0f}",
                "GlobalTimeout": f"{hook.longest:.0f}",
                "DefaultResult": "ABANDON",
            }
            for hook in self.hooks.values()
        ]
        return _answer("DescribeLifecycleHooks", _members("LifecycleHooks", members))

    def _act(self, action: str, parameters: Mapping[str, str]) -> Reply:
        hook = self.hooks.get(parameters.get("LifecycleHookName", ""))
        mine = (parameters.get("AutoScalingGroupName"), parameters.get("InstanceId")) == (self.group, self.instance_id)
        now = self.clock.monotonic()
        if hook is None or not mine or not hook.waits(now):
            return _error("ValidationError", f"No active Lifecycle Action found with instance ID {self.instance_id}")
        if action == "CompleteLifecycleAction":
            result = parameters.get("LifecycleActionResult", "")
            if result not in ("CONTINUE", "ABANDON"):
                return _error("ValidationError", "Lifecycle action result must be CONTINUE or ABANDON")
            hook.completed = result
        else:
            hook.expires = now + hook.heartbeat
        return _answer(action, "")


def _members(name: str, members: list[dict[str, str]]) -> str:
    listed = "".join(
        f"<member>{''.join(f'<{key}>{escape(value)}</{key}>' for key, value in member.items())}</member>"
        for member in members
    )
    return f"<{name}>{listed}</{name}>"


def _answer(action: str, content: str) -> Reply:
    metadata = "<ResponseMetadata><RequestId>7c6e177f-f082-11e1-ac58-3714bEXAMPLE</RequestId></ResponseMetadata>"
    return _xml(
        200,
        f'<{action}Response xmlns="{_NAMESPACE}"><{action}Result>{content}</{action}Result>{metadata}</{action}Response>',
    )


def _error(code: str, message: str, status: int = 400) -> Reply:
    said = f"<Error><Type>Sender</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    return _xml(status, f'<ErrorResponse xmlns="{_NAMESPACE}">{said}<RequestId>7c6e177f</RequestId></ErrorResponse>')


def _xml(status: int, body: str) -> Reply:
    return Reply(status, body.encode(), "text/xml")
