"""The ECS task metadata endpoint (version 4) and the agent's task protection endpoint on loopback, with their traps.

    async with FakeEcs(clock=clock) as ecs:
        ... give the process under test ecs.env() ...
        ecs.stop_task()

Shapes and status codes follow the Amazon ECS developer guide ("Task metadata endpoint version 4", "Task scale-in protection
endpoint") and, for errors, the agent's source (ecs-agent/tmds/handlers/taskprotection): a *failure* comes with 200, an *error*
with the status of the exception.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from shipper.clock import Clock
from shipper.testing.platforms.loopback import Asked, Loopback, Reply, Trap

CONTAINER_ID = "cb2c5f0e8a6b4b1e8a1b7d4c3f2e1d0c-527074092"
LEAST_MINUTES, MOST_MINUTES, USUAL_MINUTES = 1, 2_880, 120


class FakeEcs(Loopback):
    """The endpoints that one container of one task sees.

    ``service`` empty: the task belongs to no service, and protection is refused for it. ``task_role`` False: it has no role, so
    the agent refuses with 403. ``labels`` are added to those that ECS itself sets.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        cluster: str = "arn:aws:ecs:us-west-2:123456789012:cluster/default",
        task_arn: str = "arn:aws:ecs:us-west-2:123456789012:task/default/158d1c8083dd49d6b527399fd6414f5c",
        family: str = "checkout",
        revision: str = "26",
        service: str = "checkout",
        image: str = "123456789012.dkr.ecr.us-west-2.amazonaws.com/checkout:1.2.3",
        image_id: str = "sha256:5db0b7b3e7d4f8d2b0a1c6e5f4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1",
        zone: str = "us-west-2d",
        launch_type: str = "FARGATE",
        labels: Mapping[str, str] | None = None,
        task_role: bool = True,
    ) -> None:
        super().__init__(clock=clock)
        self.service = service
        self.task_role = task_role
        self.protected_until: int | None = None  # nanoseconds since the epoch
        self.protections: list[int | None] = []  # minutes of every granted request, None: taken off
        self.container: dict[str, object] = {
            "DockerId": CONTAINER_ID.split("-")[0],
            "Name": "shipper",
            "DockerName": "ecs-checkout-26-shipper-cc92a1c6dcfab4f4b101",
            "Image": image,
            "ImageID": image_id,
            "Labels": {
                "com.amazonaws.ecs.cluster": cluster,
                "com.amazonaws.ecs.container-name": "shipper",
                "com.amazonaws.ecs.task-arn": task_arn,
                "com.amazonaws.ecs.task-definition-family": family,
                "com.amazonaws.ecs.task-definition-version": revision,
                **(labels or {}),
            },
            "DesiredStatus": "RUNNING",
            "KnownStatus": "RUNNING",
            "Limits": {"CPU": 2},
            "CreatedAt": "2026-10-02T00:15:07.620912337Z",
            "StartedAt": "2026-10-02T00:15:08.062559351Z",
            "Type": "NORMAL",
            "ContainerARN": task_arn.replace(":task/", ":container/") + "/05966557-f16c-49cb-9352-24b3a0dcd0e1",
            "LogDriver": "awslogs",
            "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.2.100"]}],
        }
        self.task: dict[str, object] = {
            "Cluster": cluster,
            "TaskARN": task_arn,
            "Family": family,
            "Revision": revision,
            "DesiredStatus": "RUNNING",
            "KnownStatus": "RUNNING",
            "PullStartedAt": "2026-10-02T00:15:06.620912337Z",
            "PullStoppedAt": "2026-10-02T00:15:07.520912337Z",
            "AvailabilityZone": zone,
            "LaunchType": launch_type,
        }
        if service:
            self.task["ServiceName"] = service

    @property
    def metadata_uri(self) -> str:
        """The value of ECS_CONTAINER_METADATA_URI_V4."""
        return f"{self.url}{self.container_path}"

    @property
    def agent_uri(self) -> str:
        """The value of ECS_AGENT_URI."""
        return f"{self.url}/api/{CONTAINER_ID}"

    @property
    def container_path(self) -> str:
        """Where the container's metadata is."""
        return f"/v4/{CONTAINER_ID}"

    @property
    def task_path(self) -> str:
        """Where the task's metadata is."""
        return f"{self.container_path}/task"

    @property
    def protection_path(self) -> str:
        """Where protection is read and set."""
        return f"/api/{CONTAINER_ID}/task-protection/v1/state"

    def env(self) -> dict[str, str]:
        """What the agent puts into the container's environment."""
        return {
            "ECS_CONTAINER_METADATA_URI_V4": self.metadata_uri,
            "ECS_AGENT_URI": self.agent_uri,
            "AWS_EXECUTION_ENV": f"AWS_ECS_{self.task['LaunchType']}",
        }

    def stop_task(self) -> None:
        """The task shall stop: DesiredStatus says so, some time before the stop signal comes."""
        self.task["DesiredStatus"] = self.container["DesiredStatus"] = "STOPPED"

    def protected(self) -> bool:
        """Whether protection holds now, by the clock."""
        return self.protected_until is not None and self.protected_until > self.clock.wall_ns()

    def reply(self, asked: Asked) -> Reply:
        """See `Loopback.reply`."""
        if asked.path == self.container_path:
            return _json(200, self.container)
        if asked.path == self.task_path:
            return _json(200, {**self.task, "Containers": [self.container]})
        if asked.path != self.protection_path:
            return Reply(404, b"404 page not found\n")
        if asked.method == "GET":
            return self._protection()
        return self._protect(asked.body) if asked.method == "PUT" else Reply(405)

    def _protect(self, body: bytes) -> Reply:
        try:
            wanted = json.loads(body)
        except ValueError:
            wanted = None
        if not isinstance(wanted, dict) or not set(wanted) <= {"ProtectionEnabled", "ExpiresInMinutes"}:
            return self._error(400, "InvalidParameterException", "UpdateTaskProtection: failed to decode request")
        on, minutes = wanted.get("ProtectionEnabled"), wanted.get("ExpiresInMinutes", USUAL_MINUTES)
        if not isinstance(on, bool):
            problem = "Invalid request: does not contain 'ProtectionEnabled' field"
            return self._error(400, "InvalidParameterException", problem)
        if not self.task_role:
            problem = "Invalid Request: no task IAM role credentials available for task"
            return self._error(403, "AccessDeniedException", problem)
        if type(minutes) is not int or not LEAST_MINUTES <= minutes <= MOST_MINUTES:
            problem = f"expiresInMinutes must be between {LEAST_MINUTES} and {MOST_MINUTES}."
            return self._error(400, "InvalidParameterException", problem)
        if not self.service or (on and self.task["DesiredStatus"] == "STOPPED"):
            return _json(200, {"failure": {"Arn": self.task["TaskARN"], "Detail": None, "Reason": "TASK_NOT_VALID"}})
        self.protections.append(minutes if on else None)
        self.protected_until = self.clock.wall_ns() + minutes * 60 * 1_000_000_000 if on else None
        return self._protection()

    def _protection(self) -> Reply:
        until = self.protected_until
        stated = None
        if self.protected() and until is not None:
            stated = f"{datetime.fromtimestamp(until / 1e9, UTC):%Y-%m-%dT%H:%M:%S.000Z}"
        answer = {"ExpirationDate": stated, "ProtectionEnabled": self.protected(), "TaskArn": self.task["TaskARN"]}
        return _json(200, {"protection": answer})

    def _error(self, status: int, code: str, message: str) -> Reply:
        return _error_reply(status, code, message, str(self.task["TaskARN"]))


def exception(status: int, code: str, message: str = "") -> Trap:
    """The agent hands on an exception of the ECS API, e.g. ``exception(400, "ThrottlingException", "Rate exceeded")``."""
    return Trap(_error_reply(status, code, message, "arn:aws:ecs:us-west-2:123456789012:task/default/any"))


def failure(reason: str) -> Trap:
    """The ECS API answered, with a failure instead of a protection, e.g. ``failure("DEPLOYMENT_BLOCKED")``: status 200."""
    return Trap(_json(200, {"failure": {"Arn": "arn:aws:ecs:any", "Detail": None, "Reason": reason}}))


def _error_reply(status: int, code: str, message: str, arn: str) -> Reply:
    error = {"Arn": arn, "Code": code, "Message": message}
    return _json(status, {"requestID": "5d3f8c9b-any", "error": error})


def _json(status: int, content: object) -> Reply:
    return Reply(status, json.dumps(content).encode(), "application/json")
