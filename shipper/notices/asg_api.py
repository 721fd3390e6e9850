"""The calls to the EC2 Auto Scaling API that a host makes for itself; the only file that knows botocore.

Blocking, one at a time, in a thread that `asg_hold` owns. Credentials, region and endpoint are found as every AWS program
finds them. Each failure becomes one of three sentences: the action is gone, it is worth another try, it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shipper.errors import MissingExtra

CONNECT_SECONDS = 2.0
READ_SECONDS = 3.0
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
LONGEST_HOLD = 172_800.0  # 48 h, whatever the hook says
MOST_BEATS = 100  # a hold lasts at most this many heartbeat time-outs
PERMISSIONS = "autoscaling:DescribeLifecycleHooks, RecordLifecycleActionHeartbeat and CompleteLifecycleAction"
_REFUSED = ("AccessDenied", "UnauthorizedOperation", "InvalidClientTokenId", "SignatureDoesNotMatch", "OptInRequired")
# what botocore's parser raises for XML that is well-formed and something else, such as a web page
_UNFORESEEN = (KeyError, IndexError, AttributeError, TypeError, ValueError)


class AsgProblem(Exception):
    """Why a call was of no use, in words for a person; the same may work later."""


class AsgRefused(AsgProblem):
    """It will not work later either: no credentials, no permission, no such group."""


class ActionGone(AsgProblem):
    """The lifecycle action exists no more (or not yet): it was completed, or has timed out."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook that keeps a terminating instance waiting; times in seconds. ``longest``: GlobalTimeout."""

    name: str
    heartbeat: float
    longest: float


class AutoScaling:
    """A client for one instance. Constructing it reads files and may ask the metadata service for credentials."""

    def __init__(self, *, region: str, endpoint: str = "", imds_endpoint: str = "") -> None:
        """``endpoint``: instead of AWS's own. Raises `MissingExtra`, `AsgRefused`."""
        try:
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
            from botocore.session import Session
        except ImportError:
            raise MissingExtra("keeping an Auto Scaling group waiting", "aws") from None
        session = Session()
        if imds_endpoint:
            session.set_config_variable("ec2_metadata_service_endpoint", imds_endpoint)
        session.set_config_variable("metadata_service_num_attempts", 2)
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={
                "mode": "standard",
                "total_max_attempts": 1,
            },  # when to try again is decided where the need is known
        )
        try:
            self._client: Any = session.create_client(
                "autoscaling", region_name=region or None, endpoint_url=endpoint or None, config=config
            )
        except (BotoCoreError, ValueError) as problem:
            raise AsgRefused(f"no client for the Auto Scaling API: {problem}") from None

    def group_of(self, instance: str) -> str:
        """The group that the instance belongs to; empty for none. Raises `AsgProblem`."""
        answer = _call(lambda: self._client.describe_auto_scaling_instances(InstanceIds=[instance]))
        listed = answer.get("AutoScalingInstances") or [{}]
        return str(listed[0].get("AutoScalingGroupName", ""))

    def hooks_of(self, group: str) -> list[Hook]:
        """The group's hooks on termination. Raises `AsgProblem`."""
        answer = _call(lambda: self._client.describe_lifecycle_hooks(AutoScalingGroupName=group))
        hooks = [hook for hook in answer.get("LifecycleHooks", []) if hook.get("LifecycleTransition") == TERMINATING]
        return [_hook(hook) for hook in hooks]

    def beat(self, group: str, hook: str, instance: str) -> None:
        """RecordLifecycleActionHeartbeat: the hook's time-out begins anew. Raises `AsgProblem`."""
        names = {"AutoScalingGroupName": group, "LifecycleHookName": hook, "InstanceId": instance}
        _call(lambda: self._client.record_lifecycle_action_heartbeat(**names))

    def complete(self, group: str, hook: str, instance: str) -> None:
        """CompleteLifecycleAction CONTINUE: the group may go on. Raises `AsgProblem`."""
        names = {"AutoScalingGroupName": group, "LifecycleHookName": hook, "InstanceId": instance}
        _call(lambda: self._client.complete_lifecycle_action(**names, LifecycleActionResult="CONTINUE"))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _hook(stated: dict[str, Any]) -> Hook:
    heartbeat = float(stated.get("HeartbeatTimeout") or 3600)
    longest = min(LONGEST_HOLD, MOST_BEATS * heartbeat, float(stated.get("GlobalTimeout") or LONGEST_HOLD))
    return Hook(str(stated.get("LifecycleHookName", "")), heartbeat, longest)


def _call(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
    from botocore.parsers import ResponseParserError

    try:
        return work()
    except ClientError as problem:
        raise _meaning(problem.response) from None
    except (NoCredentialsError, PartialCredentialsError) as problem:
        raise AsgRefused(f"no credentials for the Auto Scaling API ({problem})") from None
    except BotoCoreError as problem:  # no connection, time-outs
        raise AsgProblem(f"the Auto Scaling API gave no answer: {str(problem)[:200]}") from None
    except (ResponseParserError, *_UNFORESEEN):
        raise AsgProblem("what answered is not the Auto Scaling API") from None


def _meaning(response: dict[str, Any]) -> AsgProblem:
    error = response.get("Error", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))[:200]
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "an error")
    said = f"the Auto Scaling API answered {code or status}: {message}".rstrip(": ")
    if code == "ValidationError":
        return ActionGone(said)
    if code.startswith(_REFUSED):
        return AsgRefused(f"{said}; the instance's role needs {PERMISSIONS}")
    return AsgProblem(said)
